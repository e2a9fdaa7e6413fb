// What the ranks of this process share: who they are, and how they fail.
#ifndef MOERT_COMM_WORLD_H
#define MOERT_COMM_WORLD_H

#include "comm/communicator.h"
#include "comm/mover.h"
#include "device.h"
#include "launch/discovery.h"

#include <memory>
#include <vector>

namespace moert {

class Rendezvous;

class World {
public:
  virtual ~World() = default;

  // The ranks whose programs run in this process.
  virtual const std::vector<int> &ranksHere() const = 0;
  // Of all processes, those that share this process's processors.
  virtual int ranksOnProcessors() const = 0;
  // One for each of them; the world must outlive it. Without a mover the data
  // is host memory and moves at once.
  virtual std::unique_ptr<Communicator>
  endpoint(int rank, std::unique_ptr<Mover> mover = nullptr) = 0;
  // Before each job, when no rank is inside a collective. Fails where an
  // earlier failure cannot be undone: of a job of several processes.
  virtual Status reset() = 0;
  // What made the first failed rank fail, "rank 3: ..."; ok if none has.
  virtual Status failure() const = 0;
  // The way to other processes; null if there are none.
  virtual Rendezvous *rendezvous() { return nullptr; }
};

struct WorldOptions {
  std::string communicator = "local"; // "local", "mpi", "nccl"
  std::optional<Launch> launch;       // who started this process
  std::string mpi; // see MpiLibrary::open; empty: what the launcher is
  double timeoutSeconds = 300;                        // of one collective
  std::function<void(const std::string &)> onFailure; // see Rendezvous
  // Makes the device of a rank of this process that of the calling thread.
  std::function<Status(int rank)> enter;
};

// Whether ranks are in other processes as well.
bool isOneOfSeveral(const std::string &communicator,
                    const std::optional<Launch> &launch);

// What devices the ranks of this process are to have.
DeviceUse deviceUse(int ranks, const std::string &communicator,
                    const std::optional<Launch> &launch);

// By all processes of the job.
Result<std::unique_ptr<World>> openWorld(const Topology &topology,
                                         WorldOptions options);

} // namespace moert

#endif
