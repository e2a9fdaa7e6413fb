// Exhaustive over ep x etp x edp = ranks of a stage, dispatchers, and
// attention's TP x DP where it is not pinned. A program depends on the experts'
// layout alone: it is made and simulated once for each and reused for every
// attention layout. Ties go to the candidate that is made first, which has the
// larger ep.
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Analysis/StableOrder.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

namespace {

struct AttentionLayout {
  int64_t tp, dp, cp;
};

class Search {
public:
  Search(ModuleOp module, const PlanRequest &request, const ModelConfig *model,
         MakeProgram makeProgram)
      : module(module), request(request), model(model),
        makeProgram(makeProgram) {}
  FailureOr<Plan> run();

private:
  LogicalResult readModule();
  SmallVector<PlacementWords> expertLayouts() const;
  SmallVector<AttentionLayout> attentionLayouts() const;
  LogicalResult price(const PlacementWords &words, double tokens,
                      std::vector<Candidate> &all);
  FailureOr<LayerCost> simulate(ModuleOp program, const PlacementWords &words,
                                double tokens);
  std::string refusal(const PlacementWords &words);
  double tokensOf(const AttentionLayout &attention, double tokens) const;
  Boundary boundaryOf(const AttentionLayout &attention) const;
  ExpertShape shapeOf(const PlacementWords &words) const;

  ModuleOp module;
  const PlanRequest &request;
  const ModelConfig *model;
  MakeProgram makeProgram;
  int64_t stage = 1, layers = 0, topK = 1;
  double parameters = 0, sharedParameters = 0;
  GemmType gemm = GemmType::BF16;
};

} // namespace

LogicalResult Search::readModule() {
  stage = request.resolvedRanks() / request.step.pp;
  ExpertsOp first;
  module.walk([&](Operation *op) {
    if (auto experts = dyn_cast<ExpertsOp>(op)) {
      ++layers;
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
  for (Value weight : {first.getUp(), first.getDown()})
    parameters += cast<ShapedType>(weight.getType()).getNumElements();
  sharedParameters /= layers;
  topK = expertSizes(first).topK;
  Type element = cast<ShapedType>(first.getUp().getType()).getElementType();
  gemm = request.gemm.value_or(
      first.getWeightFormat() == WeightFormat::Fp8Block ? GemmType::FP8
      : first.getWeightFormat() == WeightFormat::Mxfp4  ? GemmType::FP4
      : element.isF32()                                 ? GemmType::F32
                                                        : GemmType::BF16);
  if (model)
    layers = model->moeLayers;
  return success();
}

SmallVector<PlacementWords> Search::expertLayouts() const {
  SmallVector<PlacementWords> layouts;
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
      words.shared = request.shared;
      words.phase = request.phase;
      bool alone = ep == 1 && etp == 1;
      for (Dispatcher dispatcher :
           {Dispatcher::AllToAll, Dispatcher::AllGather})
        for (bool dedup : {false, true}) {
          if (request.dispatcher ? *request.dispatcher != dispatcher
                                 : alone && dispatcher != Dispatcher::AllToAll)
            continue;
          if (dedup && (dispatcher != Dispatcher::AllToAll || ep == 1 ||
                        topK == 1 || !request.dedup.value_or(false)))
            continue;
          if (request.dedup && *request.dedup && !dedup && ep > 1 && topK > 1 &&
              dispatcher == Dispatcher::AllToAll)
            continue;
          words.dispatcher = dispatcher;
          words.dedup = dedup;
          layouts.push_back(words);
        }
    }
  }
  return layouts;
}

SmallVector<AttentionLayout> Search::attentionLayouts() const {
  SmallVector<AttentionLayout> layouts;
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
    layouts.push_back({tp, dp, cp});
  }
  return layouts;
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

// The mean over the functions of the module, each with one routed layer.
FailureOr<LayerCost>
Search::simulate(ModuleOp program, const PlacementWords &words, double tokens) {
  LayerRun run;
  run.tokens = tokens;
  run.gemm = gemm;
  run.routing = &request.routing;
  run.overlap = request.step.overlap.value_or(false);
  LayerCost sum;
  SmallVector<func::FuncOp> functions(program.getOps<func::FuncOp>());
  for (func::FuncOp function : functions) {
    run.placement = function->getAttrOfType<PlacementAttr>("moe.placement");
    FailureOr<LayerCost> one = simulateLayer(function, request.machine, run);
    if (failed(one))
      return failure();
    accumulate(sum, *one, 1.0 / functions.size());
  }
  return sum;
}

LogicalResult Search::price(const PlacementWords &layout, double tokens,
                            std::vector<Candidate> &all) {
  std::map<std::pair<Boundary, double>, LayerCost> known;
  std::map<Boundary, OwningOpRef<ModuleOp>> programs;
  std::string refused = refusal(layout);
  for (const AttentionLayout &attention : attentionLayouts()) {
    Candidate candidate;
    candidate.words = layout;
    candidate.words.boundary = boundaryOf(attention);
    candidate.attnTp = attention.tp;
    candidate.attnDp = attention.dp;
    candidate.cp = attention.cp;
    candidate.pp = request.step.pp;
    candidate.tokens = tokensOf(attention, tokens);
    if (model && model->heads % attention.tp != 0 && refused.empty())
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
    if (!refused.empty())
      candidate.reason = refused;
    if (!candidate.reason.empty()) {
      candidate.legal = false;
      all.push_back(std::move(candidate));
      continue;
    }
    Boundary boundary = candidate.words.boundary;
    OwningOpRef<ModuleOp> &program = programs[boundary];
    if (!program && !(program = makeProgram(candidate.words)))
      return failure();
    LayerCost &layer = known[{boundary, candidate.tokens}];
    if (layer.us == 0) {
      FailureOr<LayerCost> cost =
          simulate(*program, candidate.words, candidate.tokens);
      if (failed(cost))
        return failure();
      layer = std::move(*cost);
    }
    StepShape step = request.step;
    step.tokens = candidate.tokens;
    step.attnTp = attention.tp;
    step.attnDp = attention.dp;
    step.cp = attention.cp;
    StepCost cost =
        stepCost(layer, layers, model, step, shapeOf(layout), request.machine);
    candidate.us = cost.us;
    candidate.p95Us = cost.us * (layer.us > 0 ? layer.p95Us / layer.us : 1);
    candidate.terms = std::move(cost.terms);
    candidate.layer = layer;
    candidate.memory = memoryLedger(*program->getOps<func::FuncOp>().begin(),
                                    layers, model, step, shapeOf(layout));
    double needed = 0;
    for (const LedgerEntry &entry : candidate.memory.entries)
      if (entry.name != "activations")
        needed += entry.bytes;
    if (needed > request.machine.memoryBytes) {
      std::vector<LedgerEntry> largest = candidate.memory.entries;
      sortStably(largest, [](const auto &a, const auto &b) {
        return a.bytes > b.bytes;
      });
      candidate.legal = false;
      candidate.reason =
          llvm::formatv("needs {0:F1} GB on each rank, but a device of '{1}' "
                        "has {2:F1} GB; the largest: {3} {4:F1} GB",
                        needed / 1e9, request.machine.name,
                        request.machine.memoryBytes / 1e9, largest[0].name,
                        largest[0].bytes / 1e9)
              .str();
      if (largest.size() > 1)
        candidate.reason += llvm::formatv(", {0} {1:F1} GB", largest[1].name,
                                          largest[1].bytes / 1e9)
                                .str();
    }
    all.push_back(std::move(candidate));
  }
  return success();
}

FailureOr<Plan> Search::run() {
  if (failed(readModule()))
    return failure();
  Plan plan;
  plan.request = request;
  plan.layers = layers;
  std::vector<double> counts = request.tokens;
  if (counts.empty())
    counts.push_back(0);
  for (double tokens : counts) {
    std::vector<Candidate> all;
    for (const PlacementWords &layout : expertLayouts())
      if (failed(price(layout, tokens, all)))
        return failure();
    sortStably(all, [](const Candidate &a, const Candidate &b) {
      return a.legal != b.legal ? a.legal : a.legal && a.us < b.us;
    });
    if (!all.empty() && all.front().legal)
      plan.sweep.emplace_back(all.front().tokens, all.front());
    plan.candidates = std::move(all);
  }
  return plan;
}

FailureOr<Plan> moe::searchPlacement(ModuleOp module,
                                     const PlanRequest &request,
                                     const ModelConfig *model,
                                     MakeProgram makeProgram) {
  return Search(module, request, model, makeProgram).run();
}
