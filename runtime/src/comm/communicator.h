// One rank's way to the others. What each collective means stands in
// entry_points.def; how data moves is the implementation's.
#ifndef MOERT_COMM_COMMUNICATOR_H
#define MOERT_COMM_COMMUNICATOR_H

#include "moert/abi.h"
#include "status.h"
#include "topology.h"

#include <array>
#include <cstdint>

namespace moert {

enum class CollectiveKind {
  AllReduce,
  AllGather,
  ReduceScatter,
  AllToAll,
  AllGatherV,
  ReduceScatterV,
  AllToAllV,
  Send,
  Recv,
};
inline constexpr int CollectiveKinds = 9;
// "all_reduce", ...
const char *collectiveName(CollectiveKind kind);

// A call as the program made it. Fields that a kind does not have stay zero.
struct Collective {
  CollectiveKind kind = CollectiveKind::AllReduce;
  int32_t group = 0;
  moert_dtype dtype = MOERT_F32;
  int64_t row = 1;   // elements a row
  int64_t count = 0; // rows, of the kinds without counts
  const void *send = nullptr;
  void *recv = nullptr;
  const int32_t *sendCounts =
      nullptr; // of all_gather_v and reduce_scatter_v too
  const int32_t *recvCounts = nullptr;
  int64_t inner = 1;
  int32_t peer = 0;
};

struct Counter {
  int64_t calls = 0;
  int64_t bytesSent = 0;
  int64_t bytesReceived = 0;
};
using Counters = std::array<Counter, CollectiveKinds>;

class Communicator {
public:
  virtual ~Communicator() = default;

  // Blocks until this rank's part is done: its result is there and its buffers
  // are its own again. On error the rank has failed, as by `abort`,
  // and others may read its buffers until they have failed as well. One thread
  // of a rank at a time.
  virtual Status collective(const Collective &call) = 0;
  // This rank has failed: whoever waits for it, now or later, is released with
  // MOERT_ERROR_ABORTED. Any thread.
  virtual void abort(const Status &why) = 0;
  // This rank's program has ended: nobody waits for it in vain. Called by the
  // thread that calls `collective`.
  virtual void leave() = 0;

  const Counters &counters() const { return moved; }

protected:
  Counters moved;
};

// Refuses calls that no communicator could make sense of.
Status checkCollective(const Topology &topology, int rank,
                       const Collective &call);

} // namespace moert

#endif
