#include "moe/Analysis/MemoryLedger.h"
#include "dialects/Coll/CollDialect.h"
#include "mlir/IR/AffineMap.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static double bytesOf(ShapedType type, double rows) {
  double bytes = type.getElementTypeBitWidth() / 8.0;
  for (auto [index, size] : llvm::enumerate(type.getShape()))
    bytes *= ShapedType::isDynamic(size) ? rows : size;
  return bytes;
}

WeightBytes moe::weightBytes(func::FuncOp function) {
  WeightBytes sum;
  for (BlockArgument argument : function.getArguments()) {
    if (!function.getArgAttr(argument.getArgNumber(), "moe.slice"))
      continue;
    auto type = cast<ShapedType>(argument.getType());
    bool routed = llvm::any_of(argument.getUsers(), [&](Operation *user) {
      auto product = dyn_cast<GroupedMatmulOp>(user);
      return product && product.getOffsets() && product.getRhs() == argument;
    });
    (routed ? sum.routed : sum.other) += bytesOf(type, 1);
  }
  return sum;
}

// Rows that `value` can have at most.
static double boundOf(Value value, double tokens, double local,
                      llvm::DenseMap<Value, double> &known) {
  if (auto found = known.find(value); found != known.end())
    return found->second;
  return known[value] = local;
}

double moe::bufferBytes(func::FuncOp function, double tokens) {
  llvm::DenseMap<Value, double> rows;
  double local = tokens;
  for (BlockArgument argument : function.getArguments())
    if (auto split = function.getArgAttrOfType<DenseI64ArrayAttr>(
            argument.getArgNumber(), "moe.split")) {
      Operation *any = nullptr;
      function.walk([&](coll::RowsOp op) { any = op; });
      double ranks = 1;
      if (any && !split.empty())
        ranks = coll::groupSize(
            coll::lookupGrid(any, cast<coll::RowsOp>(any).getGridAttr()),
            split);
      local = std::ceil(tokens / ranks);
      rows[argument] = local;
    }
  double most = 0, previous = 0;
  function.walk([&](Operation *op) {
    if (auto sum = dyn_cast<coll::RowsOp>(op)) {
      SmallVector<int64_t> result;
      AffineMap map = sum.getBound();
      auto expr = map.getResult(0);
      Builder builder(op->getContext());
      AffineExpr value = expr.replaceSymbols(
          {builder.getAffineConstantExpr(std::llround(tokens))});
      if (auto constant =
              dyn_cast<AffineConstantExpr>(simplifyAffineExpr(value, 0, 0)))
        rows[sum.getResult()] = constant.getValue();
      return;
    }
    if (op->getNumResults() == 1 && op->getResult(0).getType().isIndex() &&
        op->getNumOperands() == 2) {
      APInt factor;
      if (matchPattern(op->getOperand(1), m_ConstantInt(&factor)))
        rows[op->getResult(0)] =
            boundOf(op->getOperand(0), tokens, local, rows) *
            factor.getSExtValue();
      return;
    }
    double held = 0;
    for (Value result : op->getResults()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (!type || !type.hasRank() || type.getNumDynamicDims() == 0)
        continue;
      double bound = local;
      for (Value operand : op->getOperands())
        if (operand.getType().isIndex())
          bound = boundOf(operand, tokens, local, rows);
      rows[result] = bound;
      held += bytesOf(type, bound);
    }
    most = std::max(most, previous + held);
    if (held > 0)
      previous = held;
  });
  return most;
}

double moe::leastBytes(const MemoryLedger &ledger) {
  double sum = 0;
  for (const LedgerEntry &entry : ledger.entries)
    sum += entry.name == "activations" ? 0
           : entry.name == "gradients" || entry.name == "optimizer"
               ? entry.bytes / 2
               : entry.bytes;
  return sum;
}

MemoryLedger moe::memoryLedger(func::FuncOp function, const LayerCost &layer,
                               int64_t layers, const ModelConfig *model,
                               const StepShape &step,
                               const ExpertShape &experts) {
  MemoryLedger ledger;
  auto add = [&](const char *name, double bytes) {
    if (bytes > 0)
      ledger.entries.push_back({name, bytes});
  };
  bool train = step.phase == PlanPhase::Train,
       fsdp = step.sharding == WeightSharding::Fsdp;
  double stage = double(layers) / step.pp;
  double routed = experts.parameters / (experts.ep * experts.etp) * stage;
  double other = weightBytes(function).other / 2 * stage; // elements
  double width = train ? 2 : gemmBytes(experts.gemm);
  double edp = fsdp ? experts.edp : 1, dp = step.attnDp * step.cp;
  add("expert_weights", routed * width / edp);
  add("other_layer_weights", other * 2 / (fsdp ? dp : 1));
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
  double hidden = 1;
  for (Type type : function.getResultTypes())
    if (auto shape = dyn_cast<ShapedType>(type); shape && shape.getRank() == 2)
      hidden = std::max<double>(hidden, shape.getDimSize(1));
  // Rows that came and rows that go back.
  add("layer_buffers", step.worstReceive ? bufferBytes(function, step.tokens)
                                         : 2 * layer.p95Rows * hidden * 2);
  return ledger;
}
