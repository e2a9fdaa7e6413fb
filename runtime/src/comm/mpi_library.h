// An MPI, by way of its plug-in, which is opened at run time.
#ifndef MOERT_COMM_MPI_LIBRARY_H
#define MOERT_COMM_MPI_LIBRARY_H

#include "comm/mpi_plugin.h"
#include "status.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace moert {

class MpiLibrary {
public:
  // `name` is "openmpi", "mpich" or a plug-in's path; empty: the first that is
  // there. Initializes MPI. All of a process share one.
  static Result<std::shared_ptr<MpiLibrary>> open(const std::string &name);
  // Ends MPI, unless it was abandoned.
  ~MpiLibrary();

  int rank() const { return own; }
  int size() const { return world; }
  std::string description() const { return plugin->library(); }
  // A process has failed: MPI's end would wait for it forever.
  void abandon() { isAbandoned = true; }
  // For tests, whose failures leave all processes alive.
  void keep() { isAbandoned = false; }

  // Of MPI's world; they block.
  Status broadcast(void *data, size_t bytes);
  Status barrier();
  // A communicator of the members alone; null elsewhere.
  Result<void *> split(bool isMember);

  // Without blocking. Messages have at most MaxBytes.
  static constexpr int64_t MaxBytes = int64_t(1) << 30;
  Status send(void *communicator, const void *data, int64_t bytes, int to,
              int tag, bool synchronous, moert_mpi_request &request);
  Status receive(void *communicator, void *data, int64_t bytes, int from,
                 int tag, moert_mpi_request &request);
  Result<bool> test(moert_mpi_request &request);
  // Bytes of the next message; -1 if there is none yet.
  Result<int> probe(void *communicator, int from, int tag);

private:
  MpiLibrary(const moert_mpi_plugin *plugin) : plugin(plugin) {}
  Status check(int code, const char *what) const;

  const moert_mpi_plugin *plugin;
  std::mutex mutex; // MPI is used by one thread at a time
  int own = 0;
  int world = 1;
  bool isAbandoned = false;
};

// Where plug-ins are looked for: beside this code, in the build and installed.
std::vector<std::string> mpiPluginPaths(const std::string &name);

} // namespace moert

#endif
