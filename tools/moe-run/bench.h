// moe-run bench: how long a layer takes, by number of tokens.
#ifndef MOE_RUN_BENCH_H
#define MOE_RUN_BENCH_H

#include "bench_inputs.h"
#include "run.h"

namespace moert {

// The command line, as text; parseBenchFlags makes a BenchPlan of it.
struct BenchFlags : JobFlags {
  std::string artifact, weights, function, json, device;
  std::string tokens, routing, threads, sets, seed;
};

struct BenchPlan : JobPlan {
  std::string artifact, weights, function, json;
  DeviceChoice device;
  std::vector<int64_t> tokens = {1, 16, 64, 256, 4096, 16384};
  std::vector<Routing> routings = {Routing::Balanced};
  int threads = 0;
  int64_t sets = 4; // of inputs, in turn
  uint64_t seed = 0;
  bool quiet = false; // no table
};

Result<BenchPlan> parseBenchFlags(const BenchFlags &flags);

// Median seconds of a call with the first number of tokens and the first
// routing.
Result<double> timeLayer(const BenchPlan &plan);

// Prints a table to stdout and returns the exit code.
int benchArtifact(const BenchPlan &plan);

} // namespace moert

#endif
