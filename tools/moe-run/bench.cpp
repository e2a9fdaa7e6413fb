#include "bench.h"

#include "cuda/graph.h"
#include "input_sets.h"
#include "launch.h"
#include "launch/rendezvous.h"
#include "whole_file.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

using namespace moert;

namespace {

struct Measurement {
  int64_t tokens = 0;
  Routing routing = Routing::Balanced;
  // "graph": the device alone, all sets in one CUDA graph; "stream": the
  // device, launches included; "host": calls with tensors in host memory.
  std::string how;
  int64_t repetitions = 0;
  double median = 0, least = 0, most = 0; // seconds a call
};

class Bench {
public:
  explicit Bench(const BenchPlan &plan) : plan(plan), job(plan) {}

  Status perform();
  double firstMedian() const { return results.front().median; }
  int fail(const Status &status) const {
    return job.fail(session ? session->rendezvous() : nullptr, status);
  }

private:
  Status open();
  Status measure(int64_t tokens, Routing routing);
  Result<std::vector<double>> timeOnHost(Measurement &result);
  Result<std::vector<double>> timeOnStream(Measurement &result);
  // What this rank has of the first set's outputs on the device, which are
  // zeroed.
  Result<std::vector<std::string>> takeOutputs(int64_t tokens);
  Result<int64_t> agree(int64_t count) const;
  Status takeSlowest(Measurement &result) const;
  Status writeJson() const;

  const BenchPlan &plan;
  Job job;
  std::shared_ptr<Artifact> artifact;
  const Function *function = nullptr;
  std::unique_ptr<Session> session;
  std::vector<InputSet> sets;
  std::vector<Measurement> results;
};

} // namespace

Status Bench::open() {
  MOERT_TRY(openFunction(plan.artifact, plan.function, artifact, function));
  MOERT_TRY(job.join(plan.device.name.empty() ? artifact->manifest().target.kind
                                              : plan.device.name));
  SessionOptions options;
  job.fill(options);
  options.function = function->name;
  options.maxTokens = *std::max_element(plan.tokens.begin(), plan.tokens.end());
  options.threads = plan.threads;
  options.device = plan.device;
  // Runs outside of graphs have ended before a graph is launched, and the other
  // way round. What NCCL does where they overlap was seen to lose messages
  // (docs/Running.md).
  setenv("NCCL_GRAPH_MIXING_SUPPORT", "0", /*overwrite=*/0);
  Result<std::unique_ptr<Session>> made = Session::open(artifact, options);
  if (!made.ok())
    return made.status();
  session = std::move(*made);
  if (!plan.weights.empty())
    return session->loadWeights(plan.weights).in("--weights");
  return makeRandomWeights(*session, plan.seed);
}

// All processes must run as often: rank 0 says how often.
Result<int64_t> Bench::agree(int64_t count) const {
  if (!session->rendezvous())
    return count;
  Result<std::string> said =
      session->rendezvous()->broadcast("repetitions", concat(count));
  if (!said.ok())
    return said.status();
  return static_cast<int64_t>(std::strtoll(said->c_str(), nullptr, 10));
}

// A call takes as long as on the rank that needs longest.
Status Bench::takeSlowest(Measurement &result) const {
  if (!session->rendezvous())
    return {};
  std::array<double, 3> mine = {result.least, result.median, result.most};
  Result<std::vector<std::string>> all = session->rendezvous()->gather(
      "times", {reinterpret_cast<const char *>(mine.data()), sizeof(mine)});
  if (!all.ok())
    return all.status();
  for (const std::string &bytes : *all) {
    std::array<double, 3> theirs = {};
    if (bytes.size() != sizeof(theirs))
      continue;
    std::memcpy(theirs.data(), bytes.data(), sizeof(theirs));
    result.least = std::max(result.least, theirs[0]);
    result.median = std::max(result.median, theirs[1]);
    result.most = std::max(result.most, theirs[2]);
  }
  return {};
}

// How often to repeat what takes so long.
static int64_t repetitionsFor(double seconds, double budget) {
  return std::clamp<int64_t>(
      static_cast<int64_t>(budget / std::max(seconds, 1e-6)), 5, 60);
}

// A sample is one call for each set.
Result<std::vector<double>> Bench::timeOnHost(Measurement &result) {
  result.how = "host";
  auto once = [&](double &seconds) -> Status {
    auto begin = std::chrono::steady_clock::now();
    for (InputSet &set : sets)
      MOERT_TRY(session->run(set.in, set.out));
    std::chrono::duration<double> passed =
        std::chrono::steady_clock::now() - begin;
    seconds = passed.count();
    return {};
  };
  double seconds = 0;
  MOERT_TRY(once(seconds)); // the first makes what later ones use
  MOERT_TRY(once(seconds));
  Result<int64_t> count = agree(repetitionsFor(seconds, 1.0));
  if (!count.ok())
    return count.status();
  std::vector<double> samples(static_cast<size_t>(*count));
  for (double &sample : samples)
    MOERT_TRY(once(sample));
  return samples;
}

Result<std::vector<std::string>> Bench::takeOutputs(int64_t tokens) {
  int rank = session->ranksHere().front();
  Queue &queue = *session->queue(rank);
  std::vector<std::string> taken;
  for (size_t i = 0; i < function->outputs.size(); ++i) {
    const TensorSpec &spec = function->outputs[i];
    int64_t bytes = session->shareSize(spec, rank, tokens) * spec.rowBytes();
    std::string &copy = taken.emplace_back(static_cast<size_t>(bytes), '\0');
    void *data = sets.front().out[i].data;
    MOERT_TRY(queue.download(copy.data(), data, bytes));
    MOERT_TRY(queue.fill(data, 0, bytes));
  }
  MOERT_TRY(queue.finish());
  return taken;
}

Result<std::vector<double>> Bench::timeOnStream(Measurement &result) {
  int rank = session->ranksHere().front();
  MOERT_TRY(session->queue(rank)->enter());
  MOERT_TRY(moveToDevice(*session, result.tokens, sets));
  auto &queue = static_cast<cuda::StreamQueue &>(*session->queue(rank));
  void *stream = queue.stream();
  auto calls = [&]() -> Status {
    for (InputSet &set : sets)
      MOERT_TRY(session->enqueue(stream, set.in, set.out));
    return {};
  };
  MOERT_TRY(calls());
  MOERT_TRY(session->wait());
  Result<std::vector<std::string>> once = takeOutputs(result.tokens);
  if (!once.ok())
    return once.status();
  result.how = "graph";
  Result<cuda::Graph> graph = cuda::Graph::capture(queue, calls);
  std::function<Status()> repeat = calls;
  if (graph.ok()) {
    repeat = [&]() { return graph->launch(queue); };
  } else if (graph.status().code() == MOERT_ERROR_UNSUPPORTED) {
    if (!plan.quiet && job.isFirst())
      note(concat("no CUDA graph: ", graph.status().message()));
    result.how = "stream";
  } else {
    return graph.status();
  }
  Result<std::vector<double>> first = cuda::timeOnDevice(queue, 2, repeat);
  if (!first.ok())
    return first.status();
  // The chip is warm, and limited by its power, before it is measured.
  double seconds = first->back();
  Result<int64_t> warm =
      agree(std::clamp<int64_t>(static_cast<int64_t>(0.02 / seconds), 1, 2000));
  if (!warm.ok())
    return warm.status();
  for (int64_t i = 0; i < *warm; ++i)
    MOERT_TRY(repeat());
  Result<int64_t> count = agree(repetitionsFor(seconds, 0.1));
  if (!count.ok())
    return count.status();
  Result<std::vector<double>> times = cuda::timeOnDevice(queue, *count, repeat);
  if (!times.ok())
    return times;
  Result<std::vector<std::string>> last = takeOutputs(result.tokens);
  if (!last.ok())
    return last.status();
  for (size_t i = 0; i < once->size(); ++i)
    if ((*once)[i] != (*last)[i])
      return Status::error(MOERT_ERROR_PROGRAM, "output `",
                           function->outputs[i].name,
                           "` has other bits after runs in a ", result.how,
                           " than after the first run");
  return times;
}

Status Bench::measure(int64_t tokens, Routing routing) {
  Result<std::vector<InputSet>> made =
      makeSets(*function, tokens, routing, plan.seed, plan.sets);
  if (!made.ok())
    return made.status();
  sets = std::move(*made);
  Measurement result;
  result.tokens = tokens;
  result.routing = routing;
  bool onStream = !session->isOnHost() && session->ranksHere().size() == 1;
  Result<std::vector<double>> samples =
      onStream ? timeOnStream(result) : timeOnHost(result);
  if (!samples.ok())
    return samples.status().in(
        concat(tokens, " tokens, ", routingName(routing)));
  std::sort(samples->begin(), samples->end());
  double calls = static_cast<double>(sets.size());
  result.repetitions = static_cast<int64_t>(samples->size());
  result.least = samples->front() / calls;
  result.median = (*samples)[samples->size() / 2] / calls;
  result.most = samples->back() / calls;
  MOERT_TRY(takeSlowest(result));
  results.push_back(result);
  if (!job.isFirst() || plan.quiet)
    return {};
  std::printf("%8lld  %-9s %-7s %12.2f %12.2f %12.2f\n",
              static_cast<long long>(tokens), routingName(routing),
              result.how.c_str(), result.median * 1e6, result.least * 1e6,
              result.most * 1e6);
  std::fflush(stdout);
  return {};
}

Status Bench::writeJson() const {
  nlohmann::ordered_json cases = nlohmann::ordered_json::array();
  for (const Measurement &result : results)
    cases.push_back({{"tokens", result.tokens},
                     {"routing", routingName(result.routing)},
                     {"how", result.how},
                     {"repetitions", result.repetitions},
                     {"seconds", result.median},
                     {"least_seconds", result.least},
                     {"most_seconds", result.most}});
  nlohmann::ordered_json json = {
      {"artifact", plan.artifact},
      {"function", function->name},
      {"producer", artifact->manifest().producer},
      {"device", session->deviceName()},
      {"ranks", session->ranks()},
      {"threads", session->threads()},
      {"sets", plan.sets},
      {"seed", plan.seed},
      {"weights", plan.weights.empty() ? "random" : plan.weights},
      {"cases", cases}};
  return writeWhole(plan.json, json.dump(1) + "\n");
}

Status Bench::perform() {
  MOERT_TRY(open());
  Watchdog watchdog(*session, job.prefix());
  if (job.isFirst() && !plan.quiet) {
    std::printf("`%s` on %s, %d ranks%s; microseconds a call\n",
                function->name.c_str(), session->deviceName().c_str(),
                session->ranks(),
                job.isProcess() ? " (the slowest counts)" : "");
    std::printf("%8s  %-9s %-7s %12s %12s %12s\n", "tokens", "routing", "how",
                "median", "least", "most");
  }
  for (int64_t tokens : plan.tokens)
    for (Routing routing : plan.routings)
      MOERT_TRY(measure(tokens, routing));
  if (job.isFirst() && !plan.json.empty())
    MOERT_TRY(writeJson());
  // Nobody goes before rank 0 has written all.
  return session->rendezvous()
             ? session->rendezvous()->broadcast("the end", "").status()
             : Status();
}

Result<double> moert::timeLayer(const BenchPlan &plan) {
  Bench bench(plan);
  if (Status status = bench.perform(); !status.ok())
    return status;
  return bench.firstMedian();
}

int moert::benchArtifact(const BenchPlan &plan) {
  Bench bench(plan);
  Status status = bench.perform();
  return status.ok() ? ExitOk : bench.fail(status);
}
