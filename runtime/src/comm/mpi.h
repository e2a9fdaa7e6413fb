// Ranks are processes, one each, and MPI moves the data: messages between pairs
// of members, so that sums are ours (comm/sum.h) and nothing blocks that others
// could fail in. A rendezvous beside it carries failures.
#ifndef MOERT_COMM_MPI_H
#define MOERT_COMM_MPI_H

#include "comm/mpi_library.h"
#include "comm/world.h"
#include "launch/rendezvous.h"

#include <atomic>
#include <deque>
#include <optional>

namespace moert {

struct MpiOptions {
  std::string library; // see MpiLibrary::open
  double timeoutSeconds = 300;
  std::function<void(const std::string &)> onFailure; // see Rendezvous
  // Processes of MPI's world from the number of ranks on take no part; they get
  // no world. Refused otherwise.
  bool allowMore = false;
};

// Where a rank is, as it tells others that ask.
struct Position {
  uint64_t run = 0;
  bool hasLeft = false; // its program, in that run
  std::string text;     // "rank 3 waits in all_reduce on group 1"

  std::string encode() const;
  static std::optional<Position> decode(const std::string &bytes);
};

class MpiWorld final : public World {
public:
  // Called by all processes of MPI's world.
  static Result<std::unique_ptr<MpiWorld>> join(const Topology &topology,
                                                MpiOptions options);
  ~MpiWorld() override;

  const std::vector<int> &ranksHere() const override { return here; }
  int ranksOnProcessors() const override { return sharers; }
  std::unique_ptr<Communicator>
  endpoint(int rank, std::unique_ptr<Mover> mover = nullptr) override;
  Status reset() override;
  Status failure() const override;
  Rendezvous *rendezvous() override { return meeting.get(); }

private:
  friend class MpiEndpoint;
  friend class MpiExchange;

  MpiWorld(const Topology &topology, double timeoutSeconds,
           std::shared_ptr<MpiLibrary> library, void *communicator);
  Position position() const;
  void setCurrent(const Collective *call);

  const Topology topology;
  const double timeoutSeconds;
  std::shared_ptr<MpiLibrary> library;
  void *const communicator;
  const std::vector<int> here;
  std::unique_ptr<Rendezvous> meeting;
  int sharers = 1;
  // What others learn when they ask.
  mutable std::mutex mutex;
  std::optional<Collective> current;
  bool hasLeft = false;
  uint64_t run = 0;
  // Calls sent in collectives that failed: MPI may still look at them.
  std::deque<std::string> abandoned;
};

} // namespace moert

#endif
