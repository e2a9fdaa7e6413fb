// Inputs that a layer is timed with, in turn, and room for what comes of each.
#ifndef MOE_RUN_INPUT_SETS_H
#define MOE_RUN_INPUT_SETS_H

#include "bench_inputs.h"

namespace moert {

struct InputSet {
  std::vector<OwnedTensor> inputs, outputs;
  std::vector<HostTensor> in, out; // what a run takes
  std::vector<Memory> memory;      // of a device
};

Result<std::vector<InputSet>> makeSets(const Function &function, int64_t tokens,
                                       Routing routing, uint64_t seed,
                                       int64_t count);

// The tensors of the process's only rank move to the device's memory, its rows
// of them alone.
Status moveToDevice(Session &session, int64_t tokens,
                    std::vector<InputSet> &sets);

} // namespace moert

#endif
