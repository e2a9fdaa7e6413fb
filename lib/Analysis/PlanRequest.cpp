// The words of `--place` that ask for a plan.
#include "moe/Analysis/KeyWords.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Analysis/PlacementSearch.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe;

static constexpr StringRef kPlanWords[] = {
    "machine", "nodes",      "ranks",        "ep",       "etp",
    "edp",     "dispatcher", "dedup",        "boundary", "shared",
    "tokens",  "phase",      "routing",      "gemm",     "attn_tp",
    "attn_dp", "cp",         "pp",           "vpp",      "micro_batch",
    "seq",     "context",    "global_batch", "sharding", "recompute",
    "overlap", "receive"};
static constexpr int64_t kMostRanks = 65536;
static constexpr int64_t kMostTokens = int64_t(1) << 31;

ArrayRef<StringRef> moe::planWords() { return kPlanWords; }

bool moe::asksForPlan(StringRef text) {
  SmallVector<StringRef> words;
  llvm::SplitString(text, words, " \t\n;");
  return llvm::any_of(
      words, [](StringRef word) { return word.starts_with("machine="); });
}

namespace {

class RequestReader {
public:
  explicit RequestReader(function_ref<InFlightDiagnostic()> emitError)
      : emitError(emitError), words(emitError) {}
  FailureOr<PlanRequest> resolve(StringRef text);

private:
  LogicalResult tokens(PlanRequest &request);
  LogicalResult machine(PlanRequest &request);
  LogicalResult layout(PlanRequest &request);
  LogicalResult step(PlanRequest &request);
  LogicalResult splitNodes(PlanRequest &request);

  function_ref<InFlightDiagnostic()> emitError;
  KeyWords words;
};

} // namespace

// One number, or FROM..TO: powers of two between both.
LogicalResult RequestReader::tokens(PlanRequest &request) {
  std::optional<StringRef> given = words.find("tokens");
  if (!given)
    return success();
  auto [from, to] = given->split("..");
  int64_t low = 0, high = 0;
  bool bad = from.getAsInteger(10, low) || low < 1 || low > kMostTokens;
  high = low;
  if (!to.empty())
    bad |= to.getAsInteger(10, high) || high < low || high > kMostTokens;
  if (bad)
    return emitError() << "`tokens=" << *given
                       << "` is given, but a number from 1 to " << kMostTokens
                       << ", or two as in `16..65536`, are expected";
  for (int64_t count = low; count < high; count *= 2)
    request.tokens.push_back(count);
  request.tokens.push_back(high);
  return success();
}

LogicalResult RequestReader::machine(PlanRequest &request) {
  std::optional<StringRef> name = words.find("machine");
  if (!name)
    return emitError() << "`machine` is missing in one alternative, but all of "
                          "them are expected to have one, or none";
  std::string error;
  FailureOr<Machine> machine = loadMachine(*name, error);
  if (failed(machine))
    return emitError() << error;
  request.machineName = name->str();
  request.machine = std::move(*machine);
  int64_t nodes = 0;
  if (failed(words.number("nodes", kMostRanks, nodes)))
    return failure();
  if (nodes > 0) {
    request.machine.nodes = nodes;
    if (nodes > 1 && request.machine.network.bandwidth == 0 &&
        request.machine.devices() > request.machine.domainDevices)
      return emitError() << "`nodes=" << nodes << "` is given, but '" << *name
                         << "' has no network between nodes";
  }
  std::optional<StringRef> routing = words.find("routing");
  if (!routing)
    return success();
  FailureOr<RoutingModel> model = parseRoutingModel(*routing, error);
  if (failed(model))
    return emitError() << error;
  request.routing = std::move(*model);
  return success();
}

LogicalResult RequestReader::layout(PlanRequest &request) {
  StringRef dispatcher, boundary, shared, dedup, gemm;
  if (failed(words.number("ranks", kMostRanks, request.ranks)) ||
      failed(words.number("ep", kMostRanks, request.ep)) ||
      failed(words.number("etp", kMostRanks, request.etp)) ||
      failed(words.number("edp", kMostRanks, request.edp)) ||
      failed(words.choice("dispatcher",
                          {"all_to_all", "all_gather", "two_level"},
                          dispatcher)) ||
      failed(words.choice("dedup", {"true", "false"}, dedup)) ||
      failed(words.choice("boundary", {"split", "replicated"}, boundary)) ||
      failed(words.choice("shared", {"replicated", "split"}, shared)) ||
      failed(words.choice("gemm", {"f32", "bf16", "fp8", "fp4"}, gemm)))
    return failure();
  if (!dispatcher.empty())
    request.dispatcher = symbolizeDispatcher(dispatcher);
  if (!boundary.empty())
    request.boundary = symbolizeBoundary(boundary);
  if (!shared.empty())
    request.shared = symbolizeSharedLayout(shared);
  if (!dedup.empty())
    request.dedup = dedup == "true";
  if (!gemm.empty())
    request.gemm = parseGemmType(gemm);
  return success();
}

LogicalResult RequestReader::step(PlanRequest &request) {
  StepShape &step = request.step;
  StringRef phase = "prefill", sharding = "none", recompute = "false", overlap,
            receive = "worst";
  if (failed(words.choice("phase", {"prefill", "decode", "train"}, phase)) ||
      failed(words.choice("sharding", {"none", "zero1", "fsdp"}, sharding)) ||
      failed(words.choice("recompute", {"true", "false"}, recompute)) ||
      failed(words.choice("overlap", {"true", "false"}, overlap)) ||
      failed(words.choice("receive", {"worst", "expected"}, receive)) ||
      failed(words.number("attn_tp", kMostRanks, request.attnTp)) ||
      failed(words.number("attn_dp", kMostRanks, request.attnDp)) ||
      failed(words.number("cp", kMostRanks, request.cp)) ||
      failed(words.number("pp", kMostRanks, step.pp)) ||
      failed(words.number("vpp", kMostRanks, step.vpp)) ||
      failed(words.number("micro_batch", kMostTokens, step.microBatch)) ||
      failed(words.number("seq", kMostTokens, step.seq)) ||
      failed(words.number("context", kMostTokens, step.context)) ||
      failed(words.number("global_batch", kMostTokens, step.globalBatch)))
    return failure();
  request.phase = phase.str();
  step.phase = phase == "train"    ? PlanPhase::Train
               : phase == "decode" ? PlanPhase::Decode
                                   : PlanPhase::Prefill;
  step.sharding = sharding == "fsdp"    ? WeightSharding::Fsdp
                  : sharding == "zero1" ? WeightSharding::Zero1
                                        : WeightSharding::None;
  step.recompute = recompute == "true";
  step.worstReceive = receive == "worst";
  if (!overlap.empty())
    step.overlap = overlap == "true";
  return success();
}

int64_t PlanRequest::resolvedRanks() const {
  return ranks.value_or(machine.devices());
}

// With both words, each of the nodes holds an equal part of the ranks.
LogicalResult RequestReader::splitNodes(PlanRequest &request) {
  Machine &machine = request.machine;
  if (!words.find("nodes") || !request.ranks)
    return success();
  int64_t nodes = machine.nodes, ranks = *request.ranks,
          most = machine.nodeDevices;
  if (ranks % nodes != 0 || ranks / nodes > most)
    return emitError() << "ranks=" << ranks << " over nodes=" << nodes
                       << " is not one number up to " << most
                       << " on each node of '" << request.machineName
                       << "'; nearest legal choice: "
                       << nearestChoices("nodes", nodes, ranks, [&](int64_t n) {
                            return ranks % n == 0 && ranks / n <= most;
                          });
  if (machine.domainDevices <= most)
    machine.domainDevices = std::min(machine.domainDevices, ranks / nodes);
  machine.nodeDevices = ranks / nodes;
  return success();
}

FailureOr<PlanRequest> RequestReader::resolve(StringRef text) {
  PlanRequest request;
  if (failed(words.read(text, kPlanWords)) || failed(machine(request)) ||
      failed(layout(request)) || failed(step(request)) ||
      failed(tokens(request)))
    return failure();
  if (failed(splitNodes(request)))
    return failure();
  int64_t ranks = request.resolvedRanks(), pp = request.step.pp;
  if (ranks > request.machine.devices())
    return emitError() << "ranks=" << ranks << " is given, but machine '"
                       << request.machineName << "' has "
                       << request.machine.devices()
                       << " devices; nearest legal choice: ranks="
                       << request.machine.devices();
  if (ranks % pp != 0)
    return emitError() << "pp=" << pp << " does not divide ranks=" << ranks
                       << "; nearest legal choice: "
                       << nearestChoices("pp", pp, ranks, [&](int64_t n) {
                            return ranks % n == 0;
                          });
  auto product =
      [&](std::initializer_list<std::pair<StringRef, std::optional<int64_t>>>
              factors) -> LogicalResult {
    int64_t known = 1, open = 0;
    StringRef last;
    std::string text;
    for (auto [key, value] : factors) {
      if (!value) {
        ++open;
        continue;
      }
      known *= *value;
      last = key;
      text += (text.empty() ? "" : " x ") + key.str() + "=" +
              std::to_string(*value);
    }
    int64_t stage = ranks / pp;
    if (stage % known == 0 && (open || known == stage))
      return success();
    InFlightDiagnostic diag =
        emitError() << text << " is " << known << ", but the " << stage
                    << " ranks of a pipeline stage are expected to be "
                    << (open ? "a multiple of it" : "that many");
    if (open + 1 == int64_t(factors.size()))
      diag << "; nearest legal choice: "
           << nearestChoices(last, known, stage,
                             [&](int64_t n) { return stage % n == 0; });
    return diag;
  };
  if (failed(product(
          {{"ep", request.ep}, {"etp", request.etp}, {"edp", request.edp}})) ||
      failed(product({{"attn_tp", request.attnTp},
                      {"attn_dp", request.attnDp},
                      {"cp", request.cp}})))
    return failure();
  return request;
}

FailureOr<std::vector<PlanRequest>>
moe::parsePlanRequests(StringRef text,
                       function_ref<InFlightDiagnostic()> emitError) {
  std::vector<PlanRequest> requests;
  SmallVector<StringRef> alternatives;
  text.split(alternatives, ';');
  for (StringRef alternative : alternatives) {
    FailureOr<PlanRequest> request =
        RequestReader(emitError).resolve(alternative);
    if (failed(request))
      return failure();
    requests.push_back(std::move(*request));
  }
  return requests;
}

LogicalResult moe::checkRouting(const PlanRequest &request, ExpertsOp layer) {
  ExpertSizes sizes = expertSizes(layer);
  std::string misfit = request.routing.misfit(sizes.topK, sizes.experts);
  if (misfit.empty())
    return success();
  return mlir::emitError(layer->getParentOfType<ModuleOp>().getLoc(),
                         "--place: ")
         << misfit;
}
