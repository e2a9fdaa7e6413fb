// What a run leaves behind besides its outputs: routing, statistics.
#ifndef MOE_RUN_OUTPUTS_H
#define MOE_RUN_OUTPUTS_H

#include "tensors.h"

namespace moert {

// Writes layers.L.expert_ids, layers.L.expert_weights and layers.L.counts.
Status writeRouting(const std::string &path, const Function &function,
                    const OwnedTensor &ids, const OwnedTensor &weights);

// Memory of one process that is in use, now and at most so far: all that it
// has touched, mapped files and libraries included.
struct Resident {
  int64_t bytes = 0;
  int64_t peak = 0;
};
Resident residentNow();

struct RunFacts {
  int64_t tokens = 0;
  std::vector<double> seconds;            // of each run
  std::vector<Counters> counters;         // by rank; of all of them at rank 0
  std::vector<std::vector<Sent>> traffic; // the same, by call of the program
  std::vector<Resident> resident;         // of each process, after the runs
};

// An exchange, where ranks are processes.
Result<std::vector<Counters>> gatherCounters(const Session &session);
// What each rank sent, call by call; as gatherCounters.
Result<std::vector<std::vector<Sent>>> gatherTraffic(const Session &session);

// Of each process at rank 0; as gatherCounters.
Result<std::vector<Resident>> gatherResident(const Session &session,
                                             Resident mine);

void printStats(const Session &session, const RunFacts &facts);
Status writeStats(const std::string &path, const Session &session,
                  const RunFacts &facts);

} // namespace moert

#endif
