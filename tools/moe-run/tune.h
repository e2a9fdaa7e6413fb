// moe-run tune: which kernels of an artifact of all variants are the fastest.
#ifndef MOE_RUN_TUNE_H
#define MOE_RUN_TUNE_H

#include "run.h"

namespace moert {

// The command line, as text; parseTuneFlags makes a TunePlan of it.
struct TuneFlags {
  std::string artifact, function, device, tokens, table, keep, json;
  std::string warm, seed;
};

struct TunePlan {
  std::string artifact, function;
  DeviceChoice device;
  std::vector<int64_t> tokens = {1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16384};
  std::string table;        // to write
  std::string keep;         // whose entries stay where nothing is measured
  std::string json;         // all times
  double warmSeconds = 0.1; // of the same work, before it is timed
  uint64_t seed = 0;
};

Result<TunePlan> parseTuneFlags(const TuneFlags &flags);

// Prints what is chosen to stdout and returns the exit code.
int tuneArtifact(const TunePlan &plan);

} // namespace moert

#endif
