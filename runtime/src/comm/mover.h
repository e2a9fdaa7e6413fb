// How the data of one rank moves between ranks of one process.
#ifndef MOERT_COMM_MOVER_H
#define MOERT_COMM_MOVER_H

#include "moert/abi.h"
#include "status.h"

#include <cstdint>
#include <span>

namespace moert {

class Queue;

// How the data of one rank moves once the ranks have met. What is asked for may
// be done later, in this order.
class Mover {
public:
  virtual ~Mover() = default;

  // Before a meeting: whoever awaits this rank after it sees what was done so
  // far.
  virtual Status publish() = 0;
  // What comes next sees what `rank` had published.
  virtual Status await(int rank) = 0;
  // From memory of the rank `from`.
  virtual Status copy(void *target, const void *source, int64_t size,
                      int from) = 0;
  // As sumInOrder (comm/sum.h); `sources` are memory of these ranks.
  virtual Status sum(moert_dtype dtype, std::span<const void *const> sources,
                     std::span<const int> ranks, void *target,
                     int64_t count) = 0;
  // Where it puts its work; null on the host.
  virtual Queue *queue() { return nullptr; }
};

} // namespace moert

#endif
