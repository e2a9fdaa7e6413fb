// One rank's state behind the context that its program gets.
#ifndef MOERT_RANK_H
#define MOERT_RANK_H

#include "comm/communicator.h"
#include "comm/traffic.h"
#include "device.h"
#include "team.h"
#include "trace.h"

#include <memory>

namespace moert {

struct Rank;

// What a compiled program holds a pointer to: its own part, then the runtime's.
struct RankContext {
  moert_context head;
  Rank *rank;
};
static_assert(offsetof(RankContext, head) == 0);

struct Rank {
  // `queue` is null on the device cpu.
  Rank(int number, const Topology &topology, std::vector<int> nodeAxes,
       int threads, std::unique_ptr<Queue> queue,
       std::unique_ptr<Communicator> communicator, bool threadsLook = false);

  // Ends the rank's program and releases everybody who waits for it, if `why`
  // is an error. Returns its code.
  moert_status fail(const Status &why);
  moert_context *context() { return &head.head; }

  int number;
  RankContext head;
  Team team;
  std::unique_ptr<Queue> queue;
  std::unique_ptr<Communicator> communicator; // may use the queue
  Traffic traffic;
  std::unique_ptr<Trace> trace;                    // null: nobody asks
  const std::vector<std::string> *steps = nullptr; // names of marks
  std::vector<int32_t> variants;                   // wanted, by choice
};

// The table that contexts point to.
const moert_entry_table &entryTable();

} // namespace moert

#endif
