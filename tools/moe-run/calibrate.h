// moe-run calibrate: a machine file of the machine that it runs on.
#ifndef MOE_RUN_CALIBRATE_H
#define MOE_RUN_CALIBRATE_H

#include "bench.h"

namespace moert {

// The command line, as text; parseCalibrateFlags makes a CalibratePlan of it.
struct CalibrateFlags : JobFlags {
  std::string output, ranks, base, name, device;
  std::vector<std::string> artifacts;
};

struct CalibratePlan : JobPlan {
  std::string output, base = "cpu-8", name = "calibrated";
  std::vector<std::string> artifacts;
  DeviceChoice device = {.name = "cpu", .numbers = {}};
  int ranks = 0; // 0: those of the launcher, or 8 threads
};

Result<CalibratePlan> parseCalibrateFlags(const CalibrateFlags &flags);

// What products of one element type reach.
struct ProductRate {
  std::string type, artifact; // "bf16", ...
  double flopsPerSecond = 0;
};
// Times a layer compiled for one rank, with random weights and growing numbers
// of tokens; everything that the layer does counts.
Result<ProductRate> measureProducts(const CalibratePlan &plan,
                                    const std::string &artifact);

// Measures memory bandwidth and the collectives of the chosen communicator,
// and products of the artifacts that are given; rank 0 writes the file and
// prints what was measured and what was left out. Returns the exit code.
int calibrateMachine(const CalibratePlan &plan);

} // namespace moert

#endif
