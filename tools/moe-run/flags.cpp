// From the text of the command line and the environment to a plan.
#include "bench.h"
#include "calibrate.h"
#include "run.h"
#include "tune.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>

using namespace moert;

template <typename... Args> static Status invalid(const Args &...args) {
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
}

// Leaves `value` alone if the flag was not given.
template <typename T>
static Status parseInteger(std::string_view flag, const std::string &text,
                           int64_t least, int64_t most, T &value) {
  if (text.empty())
    return {};
  char *end = nullptr;
  errno = 0;
  long long number = std::strtoll(text.c_str(), &end, 10);
  if (*end != '\0' || errno != 0 || std::isspace(text[0]) || number < least ||
      number > most)
    return invalid(flag, " is '", printable(text), "', an integer from ", least,
                   " to ", most, " is expected");
  value = static_cast<int64_t>(number);
  return {};
}

static Status parseNumber(std::string_view flag, const std::string &text,
                          double least, double most, double &value) {
  if (text.empty())
    return {};
  char *end = nullptr;
  double number = std::strtod(text.c_str(), &end);
  if (*end != '\0' || std::isspace(text[0]) ||
      !(number >= least && number <= most))
    return invalid(flag, " is '", printable(text), "', a number from ", least,
                   " to ", most, " is expected");
  value = number;
  return {};
}

static Status parseSources(std::string_view flag,
                           const std::vector<std::string> &texts,
                           std::vector<TensorSource> &sources) {
  std::set<std::string> names;
  for (const std::string &text : texts) {
    Result<TensorSource> source = parseTensorSource(flag, text);
    if (!source.ok())
      return source.status();
    if (!names.insert(source->name).second)
      return invalid(flag, " names `", printable(source->name), "` twice");
    sources.push_back(*source);
  }
  return {};
}

static Status parseOutputs(const std::vector<std::string> &texts,
                           RunPlan &plan) {
  std::set<std::string> names, paths;
  for (const std::string &text : texts) {
    size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 ||
        !text.ends_with(".safetensors"))
      return invalid("--output=", printable(text),
                     ": expected name=file.safetensors");
    std::string name = text.substr(0, equals), path = text.substr(equals + 1);
    if (!names.insert(name).second)
      return invalid("--output names `", printable(name), "` twice");
    if (!paths.insert(path).second)
      return invalid("--output writes '", printable(path), "' twice");
    plan.outputs.emplace_back(name, path);
  }
  return {};
}

// Variables of ours: one that is misspelt would be ignored silently.
static Status readEnvironment(const Variables &variables,
                              double &timeoutSeconds, std::string &mpi) {
  for (const auto &[name, value] : variables) {
    if (!name.starts_with("MOERT_"))
      continue;
    static const std::vector<std::string> known = {
        "MOERT_CUDA_LIB", // read where the library is opened
#ifdef MOERT_FAULT_INJECTION
        "MOERT_FAULT",
#endif
        "MOERT_MPI",      "MOERT_NCCL_LIB", "MOERT_TIMEOUT",
    };
    if (std::find(known.begin(), known.end(), name) == known.end())
      return invalid("the environment variable ", printable(name),
                     " is unknown", suggest(name, known));
    if (value.empty())
      return invalid("the environment variable ", name, " is empty");
    if (name == "MOERT_MPI")
      mpi = value;
    if (name == "MOERT_TIMEOUT")
      MOERT_TRY(parseNumber("the environment variable MOERT_TIMEOUT", value,
                            1e-3, 1e6, timeoutSeconds));
  }
  return {};
}

static Status fillJob(const JobFlags &flags, JobPlan &plan) {
  Variables variables = environmentVariables();
  MOERT_TRY(readEnvironment(variables, plan.timeoutSeconds, plan.mpi));
  MOERT_TRY(
      parseNumber("--timeout", flags.timeout, 1e-3, 1e6, plan.timeoutSeconds));
  plan.communicator = flags.communicator;
  std::string ignored;
  Result<std::optional<Launch>> launch =
      discoverLaunch(flags.launch, variables,
                     [&](const std::string &line) { ignored = line; });
  if (!launch.ok())
    return launch.status();
  plan.launch = *launch;
  if (!ignored.empty() && (!plan.launch || plan.launch->rank == 0))
    note(ignored);
  if (!plan.mpi.empty() && plan.mpi != "openmpi" && plan.mpi != "mpich" &&
      plan.mpi.find('/') == std::string::npos)
    return invalid("the environment variable MOERT_MPI is '",
                   printable(plan.mpi),
                   "', openmpi, mpich or the path of a plug-in is expected");
  return {};
}

// The parts between commas.
static std::vector<std::string> partsOf(const std::string &text) {
  std::vector<std::string> parts;
  std::istringstream in(text + ",");
  for (std::string part; std::getline(in, part, ',');)
    parts.push_back(part);
  return parts;
}

// "cuda:1" is a device and which of several; "cuda:0,1" and "cuda:all" several.
static Status parseDevice(const std::string &text, DeviceChoice &device) {
  size_t colon = text.find(':');
  device.name = text.substr(0, colon);
  if (!text.empty() && device.name != "cpu" && device.name != "cuda")
    return invalid("--device is '", printable(text), "'",
                   suggest(device.name, {"cpu", "cuda"}));
  if (colon == std::string::npos)
    return {};
  std::string list = text.substr(colon + 1);
  device.all = list == "all";
  if (device.name == "cuda" && device.all)
    return {};
  for (const std::string &part : partsOf(list)) {
    if (device.name == "cpu" || part.empty())
      return invalid("--device is '", printable(text),
                     "', expected cpu, cuda, cuda:N, several such as cuda:0,1 "
                     "or cuda:all");
    int number = 0;
    MOERT_TRY(parseInteger("--device=cuda:", part, 0, 1023, number));
    device.numbers.push_back(number);
  }
  return {};
}

static Status fillPlan(const RunFlags &flags, RunPlan &plan) {
  if (flags.artifact.empty())
    return invalid("no artifact is given; usage: moe-run layer.moe --input "
                   "x=@file.safetensors:tensor ...");
  MOERT_TRY(fillJob(flags, plan));
  MOERT_TRY(parseSources("--input", flags.inputs, plan.inputs));
  MOERT_TRY(parseSources("--expect", flags.expects, plan.expects));
  MOERT_TRY(parseOutputs(flags.outputs, plan));
  MOERT_TRY(parseNumber("--rtol", flags.rtol, 0, 1e6, plan.rtol));
  MOERT_TRY(parseInteger("--threads", flags.threads, 1, 1024, plan.threads));
  MOERT_TRY(parseInteger("--max-tokens", flags.maxTokens, 0, int64_t(1) << 32,
                         plan.maxTokens));
  MOERT_TRY(parseInteger("--repeat", flags.repeat, 1, 1000000, plan.repeat));
  if (!flags.rtol.empty() && flags.expects.empty())
    return invalid("--rtol needs --expect");
  if (flags.equalNan && flags.expects.empty())
    return invalid("--equal-nan needs --expect");
  MOERT_TRY(parseDevice(flags.device, plan.device));
  plan.artifact = flags.artifact;
  plan.weights = flags.weights;
  plan.function = flags.function;
  plan.recordRouting = flags.recordRouting;
  plan.json = flags.json;
  plan.trace = flags.trace;
  plan.equalNan = flags.equalNan;
  plan.stats = flags.stats;
  return {};
}

Result<RunPlan> moert::parseFlags(const RunFlags &flags) {
  RunPlan plan;
  MOERT_TRY(fillPlan(flags, plan));
  return plan;
}

static Status parseRoutings(const std::string &text,
                            std::vector<Routing> &routings) {
  if (text.empty())
    return {};
  routings.clear();
  for (const std::string &part : partsOf(text)) {
    if (part != "balanced" && part != "zipf")
      return invalid("--routing has '", printable(part), "'",
                     suggest(part, {"balanced", "zipf"}));
    routings.push_back(part == "zipf" ? Routing::Zipf : Routing::Balanced);
  }
  return {};
}

// Leaves `numbers` alone if the flag was not given.
static Status parseTokens(const std::string &text, int64_t least,
                          std::vector<int64_t> &numbers) {
  if (text.empty())
    return {};
  numbers.clear();
  for (const std::string &part : partsOf(text)) {
    int64_t tokens = -1;
    MOERT_TRY(parseInteger("--tokens", part, least, int64_t(1) << 32, tokens));
    if (tokens < 0)
      return invalid("--tokens is '", printable(text),
                     "', expected numbers such as 1,16,256");
    numbers.push_back(tokens);
  }
  return {};
}

Result<TunePlan> moert::parseTuneFlags(const TuneFlags &flags) {
  TunePlan plan;
  MOERT_TRY(parseDevice(flags.device, plan.device));
  if (plan.device.name == "cpu")
    return invalid("--device is 'cpu', but kernels of a GPU are tuned: cuda or "
                   "cuda:N is expected");
  MOERT_TRY(parseTokens(flags.tokens, 1, plan.tokens));
  double milliseconds = plan.warmSeconds * 1e3;
  MOERT_TRY(parseNumber("--warm", flags.warm, 0, 1e5, milliseconds));
  plan.warmSeconds = milliseconds * 1e-3;
  MOERT_TRY(parseInteger("--seed", flags.seed, 0, INT64_MAX, plan.seed));
  plan.artifact = flags.artifact;
  plan.function = flags.function;
  plan.table = flags.table;
  plan.keep = flags.keep;
  plan.json = flags.json;
  return plan;
}

Result<BenchPlan> moert::parseBenchFlags(const BenchFlags &flags) {
  BenchPlan plan;
  MOERT_TRY(fillJob(flags, plan));
  MOERT_TRY(parseDevice(flags.device, plan.device));
  MOERT_TRY(parseRoutings(flags.routing, plan.routings));
  MOERT_TRY(parseTokens(flags.tokens, 0, plan.tokens));
  MOERT_TRY(parseInteger("--threads", flags.threads, 1, 1024, plan.threads));
  MOERT_TRY(parseInteger("--sets", flags.sets, 1, 1024, plan.sets));
  MOERT_TRY(parseInteger("--seed", flags.seed, 0, INT64_MAX, plan.seed));
  plan.artifact = flags.artifact;
  plan.weights = flags.weights;
  plan.function = flags.function;
  plan.json = flags.json;
  return plan;
}

Result<CalibratePlan> moert::parseCalibrateFlags(const CalibrateFlags &flags) {
  CalibratePlan plan;
  MOERT_TRY(fillJob(flags, plan));
  MOERT_TRY(parseDevice(flags.device, plan.device));
  if (plan.device.name.empty())
    plan.device.name = "cpu";
  MOERT_TRY(parseInteger("--ranks", flags.ranks, 1, 256, plan.ranks));
  plan.output = flags.output;
  plan.artifacts = flags.artifacts;
  if (!flags.base.empty())
    plan.base = flags.base;
  if (!flags.name.empty())
    plan.name = flags.name;
  return plan;
}
