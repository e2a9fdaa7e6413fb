// Exhaustive over ep x etp x edp = ranks of a stage, dispatchers, and
// attention's TP x DP where it is not pinned. A program depends on the experts'
// layout alone: it is made and simulated once for each and reused for every
// attention layout. Ties go to the candidate that is made first, which has the
// larger ep.
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Analysis/MatmulCost.h"
#include "moe/Analysis/MeshLayout.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Analysis/StableOrder.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

namespace {

struct AttentionLayout {
  int64_t tp, dp, cp;
};

// The program of a layout at one boundary.
struct Program {
  OwningOpRef<ModuleOp> module;
  HeldBytes held;
  std::string refused;               // by the layer
  std::map<double, LayerCost> known; // by tokens
};

// What the target makes of a program, or why it cannot.
struct Lowered {
  OwningOpRef<ModuleOp> program; // sharded
  HeldBytes held;
  std::string refused;
};

class Search {
public:
  Search(ModuleOp module, const PlanRequest &request, const ModelConfig *model,
         LayoutPrograms &programs)
      : module(module), request(request), model(model), programs(programs) {}
  FailureOr<Plan> run();

private:
  LogicalResult readModule();
  void listExpertLayouts();
  void listAttentionLayouts();
  bool isOpen(const PlacementWords &words, Dispatcher dispatcher,
              bool dedup) const;
  // Link domains that a stage's ranks fill; 1 where they fill none whole.
  int64_t nodes() const {
    int64_t perNode = request.machine.domainDevices;
    return stage % perNode == 0 ? stage / perNode : 1;
  }
  LogicalResult price(const PlacementWords &words,
                      std::vector<TokenPoint> &points);
  LogicalResult price(Candidate &candidate, Program &program);
  LogicalResult make(Program &program, const PlacementWords &words);
  MemoryLedger ledger(const Candidate &candidate, ModuleOp program,
                      const HeldBytes &held) const;
  StepShape stepOf(const Candidate &candidate) const;
  const Lowered &lowered(const PlacementWords &words);
  bool judge(Candidate &candidate);
  void settle(TokenPoint &point);
  void splitShared(PlacementWords &words, const AttentionLayout &attention);
  const Candidate *pick(Plan &plan) const;
  std::vector<double> countsOf(Plan &plan) const;
  LogicalResult choose(Plan &plan);
  FailureOr<LayerCost> simulate(ModuleOp program, double tokens, bool record);
  std::string refusal(const PlacementWords &words);
  double tokensOf(const AttentionLayout &attention, double tokens) const;
  Boundary boundaryOf(const AttentionLayout &attention) const;
  ExpertShape shapeOf(const PlacementWords &words) const;

  ModuleOp module;
  const PlanRequest &request;
  const ModelConfig *model;
  LayoutPrograms &programs;
  int64_t stage = 1, layers = 0, topK = 1;
  SmallVector<PlacementWords> layouts;
  SmallVector<AttentionLayout> attentions;
  std::map<std::string, Lowered> targets; // by the words of a program
  DrawnLoads drawn;                       // of the first layer's sizes
  double parameters = 0, sharedParameters = 0;
  GemmType gemm = GemmType::BF16;
  bool stored = true; // weights are in that format
};

} // namespace

LogicalResult Search::readModule() {
  stage = request.resolvedRanks() / request.step.pp;
  ExpertsOp first;
  module.walk([&](Operation *op) {
    if (auto experts = dyn_cast<ExpertsOp>(op)) {
      ++layers;
      for (Value weight : {experts.getUp(), experts.getDown()})
        parameters += cast<ShapedType>(weight.getType()).getNumElements();
      if (!first)
        first = experts;
    } else if (auto shared = dyn_cast<SharedExpertOp>(op)) {
      for (Value weight : {shared.getUp(), shared.getDown()})
        sharedParameters += cast<ShapedType>(weight.getType()).getNumElements();
    }
  });
  if (!first)
    return mlir::emitError(module.getLoc(),
                           "the module has no moe.experts, but a layer to plan "
                           "for is expected");
  parameters /= layers;
  sharedParameters /= layers;
  topK = expertSizes(first).topK;
  if (failed(checkRouting(request, first)))
    return failure();
  GemmType own = gemmOfBits(
      cast<ShapedType>(first.getUp().getType()).getElementTypeBitWidth());
  gemm = request.gemm.value_or(own);
  stored = gemm == own;
  if (model)
    layers = model->moeLayers;
  return success();
}

void Search::listExpertLayouts() {
  for (int64_t ep = stage; ep >= 1; --ep) {
    if (stage % ep != 0 || (request.ep && *request.ep != ep))
      continue;
    for (int64_t etp = 1; etp <= stage / ep; ++etp) {
      int64_t edp = stage / ep / etp;
      if (ep * etp * edp != stage || (request.etp && *request.etp != etp) ||
          (request.edp && *request.edp != edp))
        continue;
      PlacementWords words;
      words.ranks = stage;
      words.ep = ep;
      words.etp = etp;
      words.edp = edp;
      words.shared = request.shared.value_or(SharedLayout::Replicated);
      words.phase = request.phase;
      for (Dispatcher dispatcher :
           {Dispatcher::AllToAll, Dispatcher::AllGather, Dispatcher::TwoLevel})
        for (bool dedup : {false, true}) {
          if (!isOpen(words, dispatcher, dedup))
            continue;
          words.dispatcher = dispatcher;
          words.dedup = dedup;
          words.nodes = dispatcher == Dispatcher::TwoLevel ? nodes() : 1;
          layouts.push_back(words);
        }
    }
  }
}

// Whether the request leaves the dispatcher open, and it differs from others on
// this layout: nothing to exchange, no second expert of a token to meet on a
// rank, no node to cross.
bool Search::isOpen(const PlacementWords &words, Dispatcher dispatcher,
                    bool dedup) const {
  bool alone = words.ep == 1 && words.etp == 1,
       exchanges = words.ep > 1 && topK > 1;
  if (request.dispatcher ? *request.dispatcher != dispatcher
                         : alone && dispatcher != Dispatcher::AllToAll)
    return false;
  if (dispatcher == Dispatcher::AllGather)
    return !dedup &&
           (request.dispatcher || alone || !request.dedup.value_or(false));
  int64_t perNode = stage / nodes();
  if (dispatcher == Dispatcher::TwoLevel &&
      (perNode >= words.ep * words.etp || perNode <= words.etp))
    return false;
  if (request.dedup && exchanges)
    return dedup == *request.dedup;
  return !dedup || exchanges;
}

void Search::listAttentionLayouts() {
  bool open = model && !request.attnTp && !request.attnDp;
  int64_t cp = request.cp.value_or(1);
  for (int64_t tp = 1; tp <= stage / cp; ++tp) {
    if (stage % (tp * cp) != 0)
      continue;
    int64_t dp = stage / tp / cp;
    if ((request.attnTp && *request.attnTp != tp) ||
        (request.attnDp && *request.attnDp != dp))
      continue;
    if (!request.attnTp && !request.attnDp && !open && tp != 1)
      continue;
    if (open && (model->heads % tp != 0 || tp > request.machine.domainDevices))
      continue;
    attentions.push_back({tp, dp, cp});
  }
}

double Search::tokensOf(const AttentionLayout &attention, double tokens) const {
  if (tokens > 0)
    return tokens;
  if (request.step.phase == PlanPhase::Decode)
    return 64.0 * stage;
  int64_t seq = request.step.seq ? request.step.seq : 4096;
  return double(request.step.microBatch) * seq * attention.dp;
}

// Attention that is split over all ranks leaves the whole result on each.
Boundary Search::boundaryOf(const AttentionLayout &attention) const {
  if (request.boundary)
    return *request.boundary;
  return stage > 1 && attention.dp * attention.cp == 1 &&
                 request.step.phase != PlanPhase::Train
             ? Boundary::Replicated
             : Boundary::Split;
}

ExpertShape Search::shapeOf(const PlacementWords &words) const {
  ExpertShape shape;
  shape.ep = words.ep;
  shape.etp = words.etp;
  shape.edp = words.edp;
  shape.parameters = parameters;
  shape.shared = sharedParameters;
  shape.gemm = gemm;
  shape.stored = stored;
  return shape;
}

// The rules that pinning applies; their text is the reason.
std::string Search::refusal(const PlacementWords &words) {
  std::string reason;
  ScopedDiagnosticHandler handler(module.getContext(),
                                  [&](Diagnostic &diagnostic) {
                                    if (reason.empty())
                                      reason = diagnostic.str();
                                    return success();
                                  });
  auto emit = [&] { return mlir::emitError(module.getLoc()); };
  if (failed(MeshLayout::of(words, emit)))
    return reason;
  Layout layout{words.ranks, words.ep, words.etp, words.shared};
  module.walk([&](Operation *op) {
    LogicalResult legal = success();
    if (auto experts = dyn_cast<ExpertsOp>(op))
      legal = checkExperts(experts, layout);
    else if (auto shared = dyn_cast<SharedExpertOp>(op))
      legal = checkSharedExpert(shared, layout);
    return failed(legal) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return reason;
}

static void accumulate(LayerCost &sum, const LayerCost &one, double weight) {
  sum.us += one.us * weight;
  sum.p95Us += one.p95Us * weight;
  sum.skewUs += one.skewUs * weight;
  sum.flops += one.flops * weight;
  sum.weightBytes += one.weightBytes * weight;
  sum.domainBytes += one.domainBytes * weight;
  sum.networkBytes += one.networkBytes * weight;
  sum.meanRows += one.meanRows * weight;
  sum.maxRows += one.maxRows * weight;
  sum.p95Rows += one.p95Rows * weight;
  for (const auto &[term, us] : one.terms)
    sum.terms[term] += us * weight;
  if (sum.timeline.empty())
    sum.timeline = one.timeline;
  if (sum.loads.empty())
    sum.loads = one.loads;
}

// The mean over the layers of the module, each in a function; those that are
// alike stand once.
FailureOr<LayerCost> Search::simulate(ModuleOp program, double tokens,
                                      bool record) {
  LayerRun run;
  run.record = record;
  run.tokens = tokens;
  if (!stored)
    run.gemm = gemm;
  run.routing = &request.routing;
  run.overlap = request.step.overlap.value_or(false);
  LayerCost sum;
  SmallVector<func::FuncOp> functions(program.getOps<func::FuncOp>());
  double all = 0;
  for (func::FuncOp function : functions)
    all += copiesOf(function);
  for (func::FuncOp function : functions) {
    run.placement = function->getAttrOfType<PlacementAttr>("moe.placement");
    run.drawn = functions.size() == 1 ? &drawn : nullptr;
    FailureOr<LayerCost> one = simulateLayer(function, request.machine, run);
    if (failed(one))
      return failure();
    accumulate(sum, *one, copiesOf(function) / all);
  }
  return sum;
}

// What does not fit, and the two largest reasons.
static std::string overflow(const MemoryLedger &ledger,
                            const Machine &machine) {
  double needed = leastBytes(ledger);
  if (needed <= machine.memoryBytes)
    return "";
  std::vector<LedgerEntry> largest = ledger.entries;
  for (LedgerEntry &entry : largest)
    entry.bytes = leastBytes(entry);
  sortStably(largest, [](const LedgerEntry &a, const LedgerEntry &b) {
    return a.bytes > b.bytes;
  });
  std::string text =
      llvm::formatv("needs {0:F1} GB on each rank, but a device of '{1}' has "
                    "{2:F1} GB; the largest: {3} {4:F1} GB",
                    needed / 1e9, machine.name, machine.memoryBytes / 1e9,
                    largest[0].name, largest[0].bytes / 1e9)
          .str();
  if (largest.size() > 1)
    text += llvm::formatv(", {0} {1:F1} GB", largest[1].name,
                          largest[1].bytes / 1e9)
                .str();
  return text;
}

StepShape Search::stepOf(const Candidate &candidate) const {
  StepShape step = request.step;
  step.tokens = candidate.tokens;
  step.attnTp = candidate.attnTp;
  step.attnDp = candidate.attnDp;
  step.cp = candidate.cp;
  return step;
}

MemoryLedger Search::ledger(const Candidate &candidate, ModuleOp program,
                            const HeldBytes &held) const {
  return memoryLedger(program, held, candidate.layer, layers, model,
                      stepOf(candidate), shapeOf(candidate.words));
}

LogicalResult Search::price(Candidate &candidate, Program &program) {
  auto [entry, isNew] = program.known.try_emplace(candidate.tokens);
  if (isNew) {
    FailureOr<LayerCost> cost =
        simulate(*program.module, candidate.tokens, /*record=*/false);
    if (failed(cost))
      return failure();
    entry->second = std::move(*cost);
  }
  const LayerCost &layer = entry->second;
  StepCost cost = stepCost(layer, layers, model, stepOf(candidate),
                           shapeOf(candidate.words), request.machine);
  candidate.us = cost.us;
  candidate.p95Us = cost.us * (layer.us > 0 ? layer.p95Us / layer.us : 1);
  candidate.terms = std::move(cost.terms);
  candidate.layer = layer;
  candidate.memory = ledger(candidate, *program.module, program.held);
  candidate.reason = overflow(candidate.memory, request.machine);
  candidate.legal = candidate.reason.empty();
  return success();
}

LogicalResult Search::make(Program &program, const PlacementWords &words) {
  program.refused = refusal(words);
  if (!program.refused.empty())
    return success();
  program.module = programs.shard(words);
  if (!program.module)
    return failure();
  FailureOr<HeldBytes> held = programs.schedule(*program.module);
  if (failed(held))
    return failure();
  program.held = *held;
  return success();
}

// Where all ranks hold the same tokens and add up partial sums anyway, a shared
// expert is split over them, if its width allows it.
void Search::splitShared(PlacementWords &words,
                         const AttentionLayout &attention) {
  if (request.shared || sharedParameters == 0 || words.edp > 1 ||
      words.boundary != Boundary::Replicated || attention.tp != stage ||
      words.dispatcher != Dispatcher::AllGather)
    return;
  words.shared = SharedLayout::Split;
  if (!refusal(words).empty())
    words.shared = SharedLayout::Replicated;
}

LogicalResult Search::price(const PlacementWords &layout,
                            std::vector<TokenPoint> &points) {
  std::map<std::string, Program> known;
  for (const AttentionLayout &attention : attentions) {
    Candidate candidate;
    candidate.words = layout;
    candidate.words.boundary = boundaryOf(attention);
    bool saysAttention = model || request.attnTp || request.attnDp;
    if (candidate.words.boundary == Boundary::Replicated && saysAttention) {
      // Neighbours hold the same tokens: the program must know which.
      candidate.words.hasAttention = true;
      candidate.words.attnTp = attention.tp;
      candidate.words.attnDp = attention.dp;
      candidate.words.cp = attention.cp;
    }
    splitShared(candidate.words, attention);
    candidate.attnTp = attention.tp;
    candidate.attnDp = attention.dp;
    candidate.cp = attention.cp;
    candidate.pp = request.step.pp;
    auto [entry, isNew] = known.try_emplace(candidate.words.spell());
    Program &program = entry->second;
    if (isNew && failed(make(program, candidate.words)))
      return failure();
    candidate.reason = program.refused;
    if (model && model->heads % attention.tp != 0 && candidate.reason.empty())
      candidate.reason =
          llvm::formatv("{0} attention heads are not divided by attn_tp={1}; "
                        "nearest legal choice: {2}",
                        model->heads, attention.tp,
                        nearestChoices("attn_tp", attention.tp, stage,
                                       [&](int64_t n) {
                                         return model->heads % n == 0 &&
                                                stage % n == 0;
                                       }))
              .str();
    candidate.legal = candidate.reason.empty();
    for (TokenPoint &point : points) {
      Candidate priced = candidate;
      priced.tokens = tokensOf(attention, point.tokens);
      if (candidate.legal && failed(price(priced, program)))
        return failure();
      point.candidates.push_back(std::move(priced));
    }
  }
  return success();
}

// The number asked for and, where layouts are to be told apart, powers of two
// on both sides.
std::vector<double> Search::countsOf(Plan &plan) const {
  std::vector<double> counts = request.tokens;
  plan.asked = counts.size() > 1;
  if (counts.empty())
    counts.push_back(0);
  if (plan.asked || counts.front() == 0 ||
      request.step.phase == PlanPhase::Train || layouts.size() < 2)
    return counts;
  // Coarser where there are many layouts.
  double step = layouts.size() > 64 ? 8 : 2;
  for (double count = 16; count <= 65536; count *= step)
    if (!llvm::is_contained(counts, count))
      counts.push_back(count);
  llvm::sort(counts);
  return counts;
}

static void sortByTime(std::vector<Candidate> &candidates) {
  sortStably(candidates, [](const Candidate &a, const Candidate &b) {
    return a.legal != b.legal ? a.legal : a.legal && a.us < b.us;
  });
}

const Lowered &Search::lowered(const PlacementWords &words) {
  auto [entry, isNew] = targets.try_emplace(words.spell());
  Lowered &result = entry->second;
  if (!isNew)
    return result;
  ScopedDiagnosticHandler handler(
      module.getContext(), [&](Diagnostic &diagnostic) {
        if (result.refused.empty() &&
            diagnostic.getSeverity() == DiagnosticSeverity::Error)
          result.refused = diagnostic.str();
        return success();
      });
  result.program = programs.shard(words);
  FailureOr<HeldBytes> held =
      result.program ? programs.lower(*result.program) : FailureOr<HeldBytes>();
  if (succeeded(held))
    result.held = *held;
  else if (result.refused.empty())
    result.refused = "the target cannot compile it";
  return result;
}

// Whether the target compiles it and it fits with what the target adds.
bool Search::judge(Candidate &candidate) {
  const Lowered &target = lowered(candidate.words);
  candidate.reason = target.refused;
  if (candidate.reason.empty()) {
    candidate.memory = ledger(candidate, *target.program, target.held);
    candidate.reason = overflow(candidate.memory, request.machine);
  }
  candidate.legal = candidate.reason.empty();
  return candidate.legal;
}

// The fastest candidate must be one that the target takes; others are judged
// when they come to the front.
void Search::settle(TokenPoint &point) {
  std::vector<Candidate> &candidates = point.candidates;
  while (!candidates.empty() && candidates.front().legal) {
    if (judge(candidates.front()))
      return;
    sortByTime(candidates);
  }
}

// Of one number of tokens the fastest; of a range the layout that loses least,
// in the mean of logarithms, against the fastest of each number, among those
// that are legal at most numbers. Numbers at which none is are left out.
const Candidate *Search::pick(Plan &plan) const {
  SmallVector<size_t> open;
  size_t at = plan.sweep.size() / 2;
  for (auto [index, point] : llvm::enumerate(plan.sweep)) {
    if (!point.candidates.empty() && point.candidates.front().legal)
      open.push_back(index);
    if (!plan.asked && !request.tokens.empty() &&
        point.tokens == request.tokens.front())
      at = index;
  }
  if (plan.asked && !open.empty())
    at = open[open.size() / 2];
  plan.candidates = plan.sweep[at].candidates;
  if (plan.candidates.empty() || !plan.candidates.front().legal)
    return nullptr;
  if (!plan.asked)
    return &plan.candidates.front();
  std::map<std::string, std::pair<double, size_t>> losses;
  for (size_t index : open)
    for (const Candidate &candidate : plan.sweep[index].candidates)
      if (candidate.legal) {
        auto &[loss, seen] = losses[candidate.layout()];
        loss +=
            std::log(candidate.us / plan.sweep[index].candidates.front().us);
        ++seen;
      }
  const Candidate *best = nullptr;
  double least = 0;
  size_t most = 0;
  for (const Candidate &candidate : plan.candidates) {
    if (!candidate.legal)
      continue;
    auto [loss, seen] = losses[candidate.layout()];
    double mean = loss / seen;
    if (best && (seen < most || (seen == most && mean >= least)))
      continue;
    best = &candidate;
    least = mean;
    most = seen;
  }
  return best;
}

LogicalResult Search::choose(Plan &plan) {
  if (programs.hasTarget())
    for (TokenPoint &point : plan.sweep)
      settle(point);
  const Candidate *best = pick(plan);
  while (best) {
    plan.best = *best;
    if (!programs.hasTarget() || judge(plan.best))
      break;
    // Good over the range, but first nowhere. What does not compile does so for
    // no number of tokens, what does not fit may for fewer.
    bool compiles = lowered(plan.best.words).refused.empty();
    for (TokenPoint &point : plan.sweep) {
      for (Candidate &candidate : point.candidates)
        if (candidate.layout() == plan.best.layout() &&
            (!compiles || candidate.tokens == plan.best.tokens)) {
          candidate.legal = false;
          candidate.reason = plan.best.reason;
        }
      sortByTime(point.candidates);
    }
    best = pick(plan);
  }
  if (!best)
    return success();
  plan.hasBest = true;
  OwningOpRef<ModuleOp> program = programs.shard(plan.best.words);
  if (!program)
    return failure();
  FailureOr<LayerCost> recorded =
      simulate(*program, plan.best.tokens, /*record=*/true);
  if (failed(recorded))
    return failure();
  plan.best.layer = std::move(*recorded);
  return success();
}

FailureOr<Plan> Search::run() {
  if (failed(readModule()))
    return failure();
  listExpertLayouts();
  listAttentionLayouts();
  Plan plan;
  plan.request = request;
  plan.layers = layers;
  plan.wholeModel = model != nullptr;
  for (double count : countsOf(plan))
    plan.sweep.push_back({count, {}});
  for (const PlacementWords &layout : layouts)
    if (failed(price(layout, plan.sweep)))
      return failure();
  for (TokenPoint &point : plan.sweep) {
    sortByTime(point.candidates);
    if (!point.candidates.empty())
      point.tokens = point.candidates.front().tokens;
  }
  if (failed(choose(plan)))
    return failure();
  return plan;
}

std::string Candidate::layout() const {
  std::string text =
      llvm::formatv("ep={0} etp={1} edp={2} dispatcher={3}", words.ep,
                    words.etp, words.edp, stringifyDispatcher(words.dispatcher))
          .str();
  if (words.dedup)
    text += " dedup=true";
  if (attnTp > 1)
    text += llvm::formatv(" attn_tp={0}", attnTp).str();
  if (cp > 1)
    text += llvm::formatv(" cp={0}", cp).str();
  return text;
}

FailureOr<Plan> moe::searchPlacement(ModuleOp module,
                                     const PlanRequest &request,
                                     const ModelConfig *model,
                                     LayoutPrograms &programs) {
  return Search(module, request, model, programs).run();
}
