// The default action: open, load, run, check.
#include "run.h"

#include "checked.h"
#include "compare.h"
#include "launch.h"
#include "launch/rendezvous.h"
#include "outputs.h"
#include "trace_file.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

using namespace moert;

namespace {

// One invocation, step by step; the first error ends it.
class Invocation {
public:
  explicit Invocation(const RunPlan &plan) : plan(plan), job(plan) {}

  Status perform();
  int fail(const Status &status) const {
    return job.fail(session ? session->rendezvous() : nullptr, status);
  }
  bool checksHold() const { return failures.empty(); }
  const std::vector<std::string> &failedChecks() const { return failures; }

private:
  Status checkNames() const;
  Status readInputs();
  Status readExpected();
  Status openSession();
  Status loadWeights();
  Status makeOutputs(std::vector<OwnedTensor> &tensors) const;
  Status runOnce(std::vector<OwnedTensor> &results);
  Status runAll();
  void compareRuns(const std::vector<OwnedTensor> &again, int64_t run);
  Status writeResults();
  void compareExpected();
  const OwnedTensor &output(const std::string &name) const;

  const RunPlan &plan;
  Job job;
  std::shared_ptr<Artifact> artifact;
  const Function *function = nullptr;
  std::vector<OwnedTensor> inputs, outputs;
  std::vector<FileTensor> expected;
  int64_t tokens = 0;
  std::unique_ptr<Session> session;
  RunFacts facts;
  TraceFile trace;
  std::vector<std::string> failures;
};

} // namespace

template <typename... Args> static Status invalid(const Args &...args) {
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
}

static const TensorSpec *find(const std::vector<TensorSpec> &specs,
                              const std::string &name) {
  for (const TensorSpec &spec : specs)
    if (spec.name == name)
      return &spec;
  return nullptr;
}

static std::vector<std::string> namesOf(const std::vector<TensorSpec> &specs) {
  std::vector<std::string> names;
  for (const TensorSpec &spec : specs)
    names.push_back(spec.name);
  return names;
}

Status moert::openFunction(const std::string &path, const std::string &name,
                           std::shared_ptr<Artifact> &artifact,
                           const Function *&function) {
  Result<std::shared_ptr<Artifact>> opened = Artifact::open(path);
  if (!opened.ok())
    return opened.status();
  artifact = *opened;
  Result<const Function *> chosen = artifact->function(name);
  if (!chosen.ok())
    return name.empty() ? chosen.status().in("--function") : chosen.status();
  function = *chosen;
  return {};
}

Status Invocation::checkNames() const {
  auto check = [](std::string_view flag, const std::vector<TensorSpec> &specs,
                  const std::string &name) -> Status {
    if (find(specs, name))
      return {};
    return invalid("there is no ", flag == "--input" ? "input" : "output", " `",
                   printable(name), "`", suggest(name, namesOf(specs)))
        .in(flag);
  };
  for (const TensorSource &source : plan.inputs)
    MOERT_TRY(check("--input", function->inputs, source.name));
  for (const TensorSource &source : plan.expects)
    MOERT_TRY(check("--expect", function->outputs, source.name));
  for (const auto &output : plan.outputs)
    MOERT_TRY(check("--output", function->outputs, output.first));
  for (const TensorSpec &spec : function->inputs)
    if (std::none_of(plan.inputs.begin(), plan.inputs.end(),
                     [&](const auto &s) { return s.name == spec.name; }))
      return invalid("input `", spec.name, "` is missing; give --input ",
                     spec.name, "=@file.safetensors:tensor");
  if (!plan.recordRouting.empty() && !function->routing)
    return invalid("--record-routing: function `", function->name,
                   "` has no router, its routing is an input");
  if (!function->weights.empty() && plan.weights.empty())
    return invalid("function `", function->name,
                   "` has weights; give --weights checkpoint/");
  return {};
}

Status Invocation::readInputs() {
  for (const TensorSource &source : plan.inputs) {
    const TensorSpec &spec = *find(function->inputs, source.name);
    Result<FileTensor> file = openTensor(source);
    if (!file.ok())
      return file.status().in("--input " + source.name);
    Result<OwnedTensor> tensor = convertTensor(spec.name, *file, spec.dtype);
    if (!tensor.ok())
      return tensor.status().in("--input " + source.name);
    if (file->view.dtype != fileDtype(spec.dtype) && job.isFirst())
      note(concat("input `", spec.name, "` is converted from ",
                  fileDtypeName(file->view.dtype), " to ",
                  dtypeName(spec.dtype)));
    if (spec.hasTokens() && !tensor->shape.empty())
      tokens = tensor->shape[0];
    inputs.push_back(std::move(*tensor));
  }
  return {};
}

Status Invocation::readExpected() {
  for (const TensorSource &source : plan.expects) {
    const TensorSpec &spec = *find(function->outputs, source.name);
    Result<FileTensor> file = openTensor(source);
    if (!file.ok())
      return file.status().in("--expect " + source.name);
    const TensorView &view = file->view;
    if (!canConvert(view.dtype, spec.dtype))
      return invalid("--expect ", source.name, ": the tensor has dtype ",
                     printable(view.dtypeText), ", the output ",
                     dtypeName(spec.dtype));
    std::vector<int64_t> shape = spec.shape;
    if (spec.hasTokens())
      shape[0] = tokens;
    if (view.shape != shape)
      return invalid("--expect ", source.name, ": the tensor has shape ",
                     bracketed(view.shape), ", the output ", bracketed(shape));
    if (view.dtype != fileDtype(spec.dtype) && job.isFirst())
      note(concat("expected `", spec.name, "` is ", fileDtypeName(view.dtype),
                  ", the output ", dtypeName(spec.dtype),
                  ": both are converted to f64 and compared"));
    expected.push_back(*file);
  }
  return {};
}

Status Invocation::openSession() {
  SessionOptions options;
  job.fill(options);
  options.function = function->name;
  options.maxTokens = plan.maxTokens.value_or(tokens);
  options.threads = plan.threads;
  options.device = plan.device;
  options.checkReplicas = true;
  options.trace = !plan.trace.empty();
  Result<std::unique_ptr<Session>> opened = Session::open(artifact, options);
  if (!opened.ok())
    return opened.status();
  session = std::move(*opened);
  if (plan.trace.empty())
    return {};
  Result<TraceFile> clock = TraceFile::makeClock(*session);
  if (!clock.ok())
    return clock.status();
  trace = std::move(*clock);
  return {};
}

Status Invocation::loadWeights() {
  if (function->weights.empty())
    return {};
  return session->loadWeights(plan.weights).in("--weights");
}

Status Invocation::makeOutputs(std::vector<OwnedTensor> &tensors) const {
  for (const TensorSpec &spec : function->outputs) {
    std::vector<int64_t> shape = spec.shape;
    if (spec.hasTokens())
      shape[0] = tokens;
    Result<OwnedTensor> tensor = makeTensor(spec.name, spec.dtype, shape);
    if (!tensor.ok())
      return tensor.status();
    // Rows of other processes stay as they are.
    if (job.isProcess() && tensor->buffer.size() > 0)
      std::memset(tensor->buffer.data(), 0,
                  static_cast<size_t>(tensor->buffer.size()));
    tensors.push_back(std::move(*tensor));
  }
  return {};
}

static std::vector<HostTensor>
hostTensors(const std::vector<OwnedTensor> &tensors) {
  std::vector<HostTensor> result;
  for (const OwnedTensor &tensor : tensors)
    result.push_back(tensor.host());
  return result;
}

Status Invocation::runOnce(std::vector<OwnedTensor> &results) {
  std::vector<HostTensor> in = hostTensors(inputs), out = hostTensors(results);
  auto begin = std::chrono::steady_clock::now();
  MOERT_TRY(session->run(in, out));
  std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - begin;
  facts.seconds.push_back(passed.count());
  return {};
}

void Invocation::compareRuns(const std::vector<OwnedTensor> &again,
                             int64_t run) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const char *a = static_cast<const char *>(outputs[i].buffer.data());
    const char *b = static_cast<const char *>(again[i].buffer.data());
    int64_t size = outputs[i].buffer.size();
    auto [first, second] = std::mismatch(a, a + size, b);
    if (first == a + size)
      continue;
    int64_t element =
        (first - a) / static_cast<int64_t>(dtypeSize(outputs[i].dtype));
    failures.push_back(concat("run ", run + 1, " gave other bits of `",
                              outputs[i].name, "` than run 1, from element ",
                              element, " on"));
  }
}

Status Invocation::runAll() {
  facts.tokens = tokens;
  MOERT_TRY(makeOutputs(outputs));
  MOERT_TRY(runOnce(outputs));
  std::vector<OwnedTensor> again;
  if (plan.repeat > 1)
    MOERT_TRY(makeOutputs(again));
  // All processes run as often, whatever one of them has found.
  for (int64_t run = 1; run < plan.repeat; ++run) {
    MOERT_TRY(runOnce(again));
    if (failures.empty())
      compareRuns(again, run);
  }
  if (session->rendezvous())
    MOERT_TRY(session->gatherOutputs(hostTensors(outputs)));
  if (!job.isFirst())
    return {};
  std::printf(
      "`%s`: %d ranks of %d threads, %lld tokens%s\n", function->name.c_str(),
      session->ranks(), session->threads(), static_cast<long long>(tokens),
      session->isOnHost() ? "" : (" on " + session->deviceName()).c_str());
  if (plan.repeat > 1 && failures.empty())
    std::printf("%lld runs gave the same bits\n",
                static_cast<long long>(plan.repeat));
  return {};
}

const OwnedTensor &Invocation::output(const std::string &name) const {
  return *std::find_if(outputs.begin(), outputs.end(),
                       [&](const auto &tensor) { return tensor.name == name; });
}

Status Invocation::writeResults() {
  for (const auto &[name, path] : plan.outputs) {
    const OwnedTensor &tensor = output(name);
    MOERT_TRY(writeSafetensors(
        path, {{name, tensor.dtype, tensor.shape, tensor.buffer.data()}}));
  }
  if (!plan.recordRouting.empty())
    MOERT_TRY(writeRouting(plan.recordRouting, *function,
                           outputs[function->routing->expertIds],
                           outputs[function->routing->expertWeights]));
  if (plan.stats)
    printStats(*session, facts);
  if (!plan.json.empty())
    MOERT_TRY(writeStats(plan.json, *session, facts));
  if (!plan.trace.empty())
    MOERT_TRY(trace.write(plan.trace));
  return {};
}

void Invocation::compareExpected() {
  for (size_t i = 0; i < expected.size(); ++i) {
    Comparison result = compareTensors(output(plan.expects[i].name),
                                       expected[i], plan.rtol, plan.equalNan);
    if (result.holds)
      std::printf("%s\n", result.text.c_str());
    else
      failures.push_back(result.text);
  }
}

Status Invocation::perform() {
  MOERT_TRY(openFunction(plan.artifact, plan.function, artifact, function));
  MOERT_TRY(job.join(plan.device.name.empty() ? artifact->manifest().target.kind
                                              : plan.device.name));
  MOERT_TRY(checkNames());
  MOERT_TRY(readInputs());
  MOERT_TRY(readExpected());
  MOERT_TRY(openSession());
  Watchdog watchdog(*session, job.prefix());
  MOERT_TRY(loadWeights());
  MOERT_TRY(runAll());
  Result<std::vector<Counters>> counters = gatherCounters(*session);
  if (!counters.ok())
    return counters.status();
  facts.counters = std::move(*counters);
  Result<std::vector<std::vector<Sent>>> traffic = gatherTraffic(*session);
  if (!traffic.ok())
    return traffic.status();
  facts.traffic = std::move(*traffic);
  Result<std::vector<Resident>> resident =
      gatherResident(*session, residentNow());
  if (!resident.ok())
    return resident.status();
  facts.resident = std::move(*resident);
  if (!plan.trace.empty())
    MOERT_TRY(trace.gather(*session));
  if (job.isFirst()) {
    MOERT_TRY(writeResults());
    compareExpected();
  }
  // Nobody goes before rank 0 has written all.
  return session->rendezvous()
             ? session->rendezvous()->broadcast("the end", "").status()
             : Status();
}

int moert::reportError(const Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return ExitBadInput;
}

int moert::runArtifact(const RunPlan &plan) {
  Invocation invocation(plan);
  if (Status status = invocation.perform(); !status.ok())
    return invocation.fail(status);
  std::fflush(stdout);
  for (const std::string &failure : invocation.failedChecks())
    std::fprintf(stderr, "error: %s\n", failure.c_str());
  return invocation.checksHold() ? ExitOk : ExitCheckFailed;
}
