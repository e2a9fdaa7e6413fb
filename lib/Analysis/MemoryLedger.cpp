#include "moe/Analysis/MemoryLedger.h"
#include "moe/Analysis/Collectives.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <cmath>

using namespace mlir;
using namespace moe;

int64_t moe::copiesOf(func::FuncOp function) {
  auto copies = function->getAttrOfType<IntegerAttr>(kCopies);
  return copies ? copies.getInt() : 1;
}

namespace {
// What a rank's weights come to: the slices of the arguments of a `sharded`
// function, which are the bytes that the runtime loads. `routed` are those of
// routed experts, with biases and scales.
struct WeightBytes {
  double routed = 0, other = 0;                 // as stored
  double routedElements = 0, otherElements = 0; // of matrices and vectors
};
} // namespace

static WeightBytes weightBytes(func::FuncOp function) {
  llvm::SmallPtrSet<Value, 8> routed;
  function.walk([&](GroupedMatmulOp product) {
    if (product.getOffsets())
      for (Value weight :
           {product.getRhs(), product.getBias(), product.getScales()})
        if (weight)
          routed.insert(withoutReshapes(weight));
  });
  WeightBytes sum;
  for (BlockArgument argument : function.getArguments()) {
    if (!function.getArgAttr(argument.getArgNumber(), "moe.slice"))
      continue;
    auto type = cast<ShapedType>(argument.getType());
    double elements = type.getNumElements(),
           bytes = elements * type.getElementTypeBitWidth() / 8;
    if (routed.contains(argument)) {
      sum.routed += bytes;
      sum.routedElements += elements;
    } else {
      sum.other += bytes;
      sum.otherElements += elements;
    }
  }
  return sum;
}

double moe::leastBytes(const LedgerEntry &entry) {
  if (entry.name == "activations")
    return 0;
  bool halved = entry.name == "gradients" || entry.name == "optimizer";
  return halved ? entry.bytes / 2 : entry.bytes;
}

double moe::leastBytes(const MemoryLedger &ledger) {
  double sum = 0;
  for (const LedgerEntry &entry : ledger.entries)
    sum += leastBytes(entry);
  return sum;
}

MemoryLedger moe::memoryLedger(ModuleOp program, const HeldBytes &held,
                               const LayerCost &layer, int64_t layers,
                               const ModelConfig *model, const StepShape &step,
                               const ExpertShape &experts) {
  MemoryLedger ledger;
  auto add = [&](const char *name, double bytes) {
    if (bytes != 0)
      ledger.entries.push_back({name, bytes});
  };
  bool train = step.phase == PlanPhase::Train,
       fsdp = step.sharding == WeightSharding::Fsdp;
  WeightBytes weights;
  double count = 0, hidden = 1;
  for (func::FuncOp function : program.getOps<func::FuncOp>()) {
    WeightBytes one = weightBytes(function);
    int64_t copies = copiesOf(function);
    count += copies;
    weights.routed += copies * one.routed;
    weights.other += copies * one.other;
    weights.routedElements += copies * one.routedElements;
    weights.otherElements += copies * one.otherElements;
    for (Type type : function.getResultTypes())
      if (auto shape = dyn_cast<ShapedType>(type);
          shape && shape.getRank() == 2)
        hidden = std::max<double>(hidden, shape.getDimSize(1));
  }
  // Layers of a stage for each one of the module.
  double stage = layers / count / step.pp;
  double routed = weights.routedElements * stage,
         other = weights.otherElements * stage; // elements
  double edp = fsdp ? experts.edp : 1, dp = step.attnDp * step.cp;
  add("expert_weights", (train            ? 2 * routed
                         : experts.stored ? weights.routed * stage
                                          : routed * gemmBytes(experts.gemm)) /
                            edp);
  add("other_layer_weights",
      (train ? 2 * other : weights.other * stage) / (fsdp ? dp : 1));
  if (held.packed && experts.stored && !train && !fsdp)
    add("packing", (*held.packed - weights.routed - weights.other) * stage);
  double around = 0;
  if (model) {
    around =
        model->attentionParameters() / step.attnTp * model->layers / step.pp +
        3.0 * model->hidden * model->denseWidth / step.attnTp *
            model->denseLayers() / step.pp +
        2.0 * model->vocab * model->hidden / step.attnTp / step.pp;
    add("model_weights",
        around * (train ? 2 : gemmBytes(experts.gemm)) / (fsdp ? dp : 1));
  }
  if (train) {
    bool split = step.sharding != WeightSharding::None;
    // Gradients in 4 bytes, two moments and a master copy in 12.
    add("gradients", 4 * (routed / edp + (other + around) / (fsdp ? dp : 1)));
    add("optimizer", 12 * (routed / (split ? experts.edp : 1) +
                           (other + around) / (split ? dp : 1)));
    if (model) {
      // What a layer keeps for its backward pass, for as many micro-batches as
      // a first stage has under way; with recomputation only its input.
      double rows = step.tokens / (step.attnDp * step.cp * step.attnTp);
      double kept = step.recompute ? 2 : 34;
      add("activations", rows * model->hidden * kept * model->layers / step.pp *
                             std::min<double>(step.pp, 8));
    }
  } else if (model && step.context > 0) {
    add("cache", step.tokens / step.attnDp * step.context *
                     model->cacheElements(step.attnTp) * 2 * model->layers /
                     step.pp);
  }
  // The arena that the session allocates, or rows that came and go back.
  add("layer_buffers",
      step.worstReceive
          ? double(held.arena.at(std::llround(step.tokens), held.shares))
          : 2 * layer.p95Rows * hidden * 2);
  return ledger;
}
