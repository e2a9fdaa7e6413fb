// What moe-run does once its command line is understood.
#ifndef MOE_RUN_RUN_H
#define MOE_RUN_RUN_H

#include "launch/discovery.h"
#include "session.h"
#include "tensors.h"

#include <optional>
#include <string>
#include <vector>

namespace moert {

// How ranks reach each other, as text.
struct JobFlags {
  std::string communicator, timeout;
  LaunchFlags launch;
};

struct JobPlan {
  std::string communicator; // empty: what fits the launcher
  std::optional<Launch> launch;
  std::string mpi;
  double timeoutSeconds = 300;
};

// The command line, as text; parseFlags makes a RunPlan of it.
struct RunFlags : JobFlags {
  std::string artifact, weights, function, recordRouting, json, trace, device;
  std::vector<std::string> inputs, expects, outputs;
  std::string rtol, threads, maxTokens, repeat;
  bool equalNan = false;
  bool stats = false;
};

struct RunPlan : JobPlan {
  std::string artifact, weights, function, recordRouting, json, trace;
  DeviceChoice device;
  std::vector<TensorSource> inputs, expects;
  std::vector<std::pair<std::string, std::string>> outputs; // name, path
  double rtol = 1e-5;
  bool equalNan = false;
  bool stats = false;
  int threads = 0;
  std::optional<int64_t> maxTokens;
  int64_t repeat = 1;
};

Result<RunPlan> parseFlags(const RunFlags &flags);

inline constexpr int ExitOk = 0;
inline constexpr int ExitCheckFailed = 1;
inline constexpr int ExitBadInput = 2;

// Opens an artifact and finds the function `name`, or the only one if it is
// empty; `function` lives as long as `artifact`.
Status openFunction(const std::string &path, const std::string &name,
                    std::shared_ptr<Artifact> &artifact,
                    const Function *&function);

// Both print to stdout and stderr and return the exit code.
int runArtifact(const RunPlan &plan);
int inspectArtifact(const std::string &path);
int reportError(const Status &status);

} // namespace moert

#endif
