// moe-run as one of several processes.
#ifndef MOE_RUN_LAUNCH_H
#define MOE_RUN_LAUNCH_H

#include "run.h"

namespace moert {

// What --comm says, or what fits whoever started this process: never all ranks
// in each of several processes by accident.
Result<std::string> chooseCommunicator(const RunPlan &plan,
                                       const std::string &device);

// A launcher ends the other processes of a job when one has failed. From now on
// its signal leaves time to say which. Before any thread is started.
void outliveLauncher(int rank);

} // namespace moert

#endif
