#include "launch/discovery.h"

#include <charconv>
#include <cstdint>

extern char **environ;

using namespace moert;

static constexpr int MaxWorld = 65536;
static constexpr int PortTries = 16;

const char *moert::launchSourceName(LaunchSource source) {
  static constexpr const char *names[] = {"flags", "torchrun", "Open MPI",
                                          "MPICH", "Slurm",    "variables"};
  return names[static_cast<int>(source)];
}

Variables moert::environmentVariables() {
  Variables result;
  for (char **entry = environ; *entry; ++entry) {
    std::string_view text = *entry;
    size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      result.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return result;
}

namespace {

// The names under which one launcher says the same things.
struct Names {
  LaunchSource source;
  const char *rank, *world, *localRank, *localWorld;
  // Without it the other variables are somebody else's.
  const char *mark;
};

constexpr Names Launchers[] = {
    {LaunchSource::Torchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK",
     "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"},
    {LaunchSource::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", nullptr},
    {LaunchSource::Mpich, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID",
     "MPI_LOCALNRANKS", nullptr},
    // Steps only: a batch script has a rank as well, but is one process.
    {LaunchSource::Slurm, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS",
     "SLURM_LOCALID", nullptr, "SLURM_STEP_ID"},
    {LaunchSource::Variables, "RANK", "WORLD_SIZE", "LOCAL_RANK",
     "LOCAL_WORLD_SIZE", "MASTER_PORT"},
};

class Discovery {
public:
  Discovery(const Variables &variables) : variables(variables) {}

  bool has(const char *name) const { return !get(name).empty(); }
  std::string get(const char *name) const {
    auto it = name ? variables.find(name) : variables.end();
    return it == variables.end() ? std::string() : it->second;
  }
  bool isComplete(const Names &names) const {
    return has(names.rank) && has(names.world) &&
           (!names.mark || has(names.mark));
  }
  Result<Launch> read(const Names &names) const;

private:
  Status readNumbers(const Names &names, Launch &launch) const;
  Status findMeetingPoint(Launch &launch) const;
  Status readInteger(const char *name, int least, int most, int &value) const;

  const Variables &variables;
};

} // namespace

static std::optional<int> toInteger(std::string_view text) {
  int value = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

static Status checkInteger(std::string_view what, const std::string &text,
                           int least, int most, int &value) {
  std::optional<int> number = toInteger(text);
  if (!number || *number < least || *number > most)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " is '",
                         printable(text), "', an integer from ", least, " to ",
                         most, " is expected");
  value = *number;
  return {};
}

Status Discovery::readInteger(const char *name, int least, int most,
                              int &value) const {
  return checkInteger(concat("the environment variable ", name), get(name),
                      least, most, value);
}

Status Discovery::readNumbers(const Names &names, Launch &launch) const {
  MOERT_TRY(readInteger(names.world, 1, MaxWorld, launch.world));
  MOERT_TRY(readInteger(names.rank, 0, launch.world - 1, launch.rank));
  if (has(names.localRank))
    MOERT_TRY(
        readInteger(names.localRank, 0, launch.world - 1, launch.localRank));
  if (names.localWorld && has(names.localWorld))
    MOERT_TRY(
        readInteger(names.localWorld, 1, launch.world, launch.localWorld));
  return {};
}

static std::vector<int> portsFrom(int first) {
  std::vector<int> ports;
  for (int port = first; port < first + PortTries && port <= 65535; ++port)
    ports.push_back(port);
  return ports;
}

// FNV-1a: only to spread jobs over ports below those that systems hand out.
static int portOfJob(std::string_view job) {
  uint32_t hash = 2166136261u;
  for (char byte : job)
    hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619u;
  return 20000 + static_cast<int>(hash % 10000);
}

// "node[07-12,15],other3" -> "node07".
static std::string firstOfNodeList(const std::string &list) {
  size_t open = list.find('['), comma = list.find(',');
  if (open == std::string::npos || comma < open)
    return list.substr(0, comma);
  size_t end = list.find_first_of(",-]", open);
  size_t close = list.find(']', open);
  if (end == std::string::npos || close == std::string::npos)
    return {};
  size_t rest = list.find_first_of(",", close);
  return list.substr(0, open) + list.substr(open + 1, end - open - 1) +
         list.substr(close + 1,
                     rest == std::string::npos ? rest : rest - close - 1);
}

Status Discovery::findMeetingPoint(Launch &launch) const {
  bool onOneHost = launch.localWorld == launch.world;
  switch (launch.source) {
  case LaunchSource::Flags:
    return {};
  case LaunchSource::Torchrun:
    launch.job = get("TORCHELASTIC_RUN_ID") + " " +
                 get("TORCHELASTIC_RESTART_COUNT") + " " + get("MASTER_ADDR") +
                 ":" + get("MASTER_PORT");
    break;
  case LaunchSource::OpenMpi:
    launch.job = get("PMIX_NAMESPACE") + " " + get("OMPI_MCA_orte_hnp_uri");
    break;
  case LaunchSource::Mpich:
    // Hydra names its job nowhere; a port that was chosen for it does.
    break;
  case LaunchSource::Slurm:
    launch.job = get("SLURM_JOB_ID") + "." + get("SLURM_STEP_ID");
    onOneHost = get("SLURM_STEP_NUM_NODES") == "1";
    if (onOneHost)
      launch.localWorld = launch.world;
    launch.host = firstOfNodeList(get("SLURM_STEP_NODELIST"));
    break;
  case LaunchSource::Variables:
    launch.job = get("MASTER_ADDR") + ":" + get("MASTER_PORT");
    break;
  }
  if (has("MASTER_ADDR"))
    launch.host = get("MASTER_ADDR");
  else if (onOneHost)
    launch.host = "127.0.0.1";
  if (has("MASTER_PORT")) {
    int port = 0;
    MOERT_TRY(readInteger("MASTER_PORT", 1, 65535, port));
    if (launch.source == LaunchSource::Variables) {
      launch.ports = {port}; // nothing but the port tells this job from others
      return {};
    }
    if (launch.job.empty())
      launch.job = launch.host + ":" + get("MASTER_PORT");
    // torchrun's agent may be listening there itself.
    launch.ports = portsFrom(
        port + (get("TORCHELASTIC_USE_AGENT_STORE") == "True" ? 1 : 0));
  } else if (launch.job.find_first_not_of(" .") != std::string::npos) {
    launch.ports = portsFrom(portOfJob(launch.job));
  }
  if (launch.host.empty())
    launch.ports.clear();
  return {};
}

Result<Launch> Discovery::read(const Names &names) const {
  Launch launch;
  launch.source = names.source;
  MOERT_TRY(readNumbers(names, launch));
  MOERT_TRY(findMeetingPoint(launch));
  launch.job = concat(launchSourceName(launch.source), " ", launch.job);
  return launch;
}

static Result<Launch> readFlags(const LaunchFlags &flags) {
  if (flags.rank.empty() || flags.world.empty() || flags.rendezvous.empty())
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                         "--rank, --world-size and --rendezvous=HOST:PORT are "
                         "needed together");
  Launch launch;
  MOERT_TRY(
      checkInteger("--world-size", flags.world, 1, MaxWorld, launch.world));
  MOERT_TRY(
      checkInteger("--rank", flags.rank, 0, launch.world - 1, launch.rank));
  size_t colon = flags.rendezvous.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "--rendezvous is '",
                         printable(flags.rendezvous),
                         "', HOST:PORT is expected");
  MOERT_TRY(checkInteger("the port of --rendezvous",
                         flags.rendezvous.substr(colon + 1), 1, 65535, port));
  launch.host = flags.rendezvous.substr(0, colon);
  if (launch.host.front() == '[' && launch.host.back() == ']')
    launch.host = launch.host.substr(1, launch.host.size() - 2);
  launch.ports = {port};
  launch.job = concat("flags ", flags.rendezvous);
  return launch;
}

Result<std::optional<Launch>>
moert::discoverLaunch(const LaunchFlags &flags, const Variables &variables,
                      const std::function<void(const std::string &)> &log) {
  std::optional<Launch> chosen;
  std::vector<std::string> ignored;
  if (!flags.rank.empty() || !flags.world.empty() ||
      !flags.rendezvous.empty()) {
    Result<Launch> launch = readFlags(flags);
    if (!launch.ok())
      return launch.status();
    chosen = *launch;
  }
  Discovery discovery(variables);
  for (const Names &names : Launchers) {
    if (!discovery.isComplete(names))
      continue;
    // torchrun's variables are plain variables, too.
    if (chosen && names.source == LaunchSource::Variables &&
        chosen->source == LaunchSource::Torchrun)
      continue;
    if (chosen) {
      ignored.push_back(launchSourceName(names.source));
      continue;
    }
    Result<Launch> launch = discovery.read(names);
    if (!launch.ok())
      return launch.status().in(launchSourceName(names.source));
    chosen = *launch;
  }
  if (!chosen && discovery.has("RANK") && discovery.has("WORLD_SIZE") &&
      discovery.get("WORLD_SIZE") != "1")
    log("all ranks are in this process: RANK and WORLD_SIZE are set, but not "
        "MASTER_PORT, where several would meet");
  if (!ignored.empty())
    log(concat("rank ", chosen->rank, " of ", chosen->world, " by ",
               launchSourceName(chosen->source), "; ignored: ", join(ignored)));
  return chosen;
}
