// Which process of a job this is: from flags, or from what a launcher put into
// the environment.
#ifndef MOERT_LAUNCH_DISCOVERY_H
#define MOERT_LAUNCH_DISCOVERY_H

#include "status.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moert {

enum class LaunchSource { Flags, Torchrun, OpenMpi, Mpich, Slurm, Variables };
// "flags", "torchrun", "Open MPI", ...
const char *launchSourceName(LaunchSource source);

struct Launch {
  LaunchSource source = LaunchSource::Flags;
  int rank = 0;
  int world = 1;
  int localRank = -1; // among the processes of this host; -1: not told
  int localWorld = -1;
  // Where rank 0 can be met: its host, and the ports it tries in this order.
  // Empty where the launcher does not say (MPI can tell then).
  std::string host;
  std::vector<int> ports;
  // Equal in all processes of this job and in no other job.
  std::string job;
};

// As given on the command line; empty: not given.
struct LaunchFlags {
  std::string rank, world, rendezvous; // "3", "8", "host:port"
};

using Variables = std::map<std::string, std::string>;
Variables environmentVariables();

// The first complete source of flags, torchrun, Open MPI, MPICH, Slurm, plain
// variables (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT); nothing if there is
// none. `log` is told in one line which sources are ignored, and what plain
// variables lack. What a complete source says is checked.
Result<std::optional<Launch>>
discoverLaunch(const LaunchFlags &flags, const Variables &variables,
               const std::function<void(const std::string &)> &log);

} // namespace moert

#endif
