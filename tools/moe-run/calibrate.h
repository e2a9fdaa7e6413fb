// moe-run calibrate: a machine file of the machine that it runs on.
#ifndef MOE_RUN_CALIBRATE_H
#define MOE_RUN_CALIBRATE_H

#include "status.h"

#include <string>

namespace moert {

// The command line, as text.
struct CalibrateFlags {
  std::string output, ranks, base, name;
};

// Measures memory bandwidth and the collectives of ranks that are threads of
// this process, writes the file, prints what was measured and what was left
// out, and returns the exit code.
int calibrateMachine(const CalibrateFlags &flags);

} // namespace moert

#endif
