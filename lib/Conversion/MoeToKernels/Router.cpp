// A router's logits and selection, and the gate of a shared expert.
#include "Conversions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moe/Codegen/RowDots.h"
#include "moe/Codegen/SelectExperts.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

static LogicalResult launchRowDots(Operation *op, KernelOpBuilder &b,
                                   DeviceFunction &function, RowDotsSpec spec,
                                   Value x, Value weight, Value bias,
                                   Value out) {
  if (failed(expectBF16(op, "tokens", x)) ||
      failed(expectBF16(op, "a weight", weight)) ||
      failed(verifyRowDots(spec, [&] { return op->emitOpError(); })))
    return failure();
  spec.name =
      llvm::formatv("row_dots_{0}x{1}{2}{3}{4}", spec.rows, spec.columns,
                    spec.bias ? "_bias" : "", spec.round ? "_rounded" : "",
                    spec.sigmoid ? "_sigmoid" : "");
  FailureOr<Value> kept = function.unpacked(op, weight);
  if (failed(kept))
    return failure();
  KernelInterface interface = getRowDotsInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildRowDots(module, spec); });
  return function.launchRows(
      b, op, interface, number, rowCount(b, x),
      {{"x", x}, {"w", *kept}, {"bias", bias}, {"y", out}});
}

PackRowsSpec moe::logitBiasForm(RouterLogitsOp op) {
  auto bias = cast<MemRefType>(op.getBias().getType());
  PackRowsSpec form;
  form.rows = form.paddedRows = bias.getDimSize(0);
  form.sourceF32 = bias.getElementType().isF32();
  form.targetF32 = true;
  return form;
}

LogicalResult moe::convertToKernels(RouterLogitsOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  auto weight = cast<MemRefType>(op.getWeight().getType());
  if (weight.getRank() != 2)
    return op.emitOpError() << "has a weight of type " << weight
                            << ", but one that is not packed is expected";
  RowDotsSpec spec;
  spec.rows = weight.getDimSize(0);
  spec.columns = weight.getDimSize(1);
  spec.bias = static_cast<bool>(op.getBias());
  spec.round = !op.getMatmulF32();
  Value bias;
  if (spec.bias) {
    FailureOr<Value> packed =
        function.packed(op, op.getBias(), logitBiasForm(op));
    if (failed(packed))
      return failure();
    bias = *packed;
  }
  return launchRowDots(op, b, function, spec, op.getX(), op.getWeight(), bias,
                       op.getOuts());
}

LogicalResult moe::convertToKernels(TokenGateOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  RowDotsSpec spec;
  spec.rows = 1;
  spec.columns = cast<MemRefType>(op.getX().getType()).getDimSize(1);
  spec.sigmoid = true;
  return launchRowDots(op, b, function, spec, op.getX(), op.getWeight(),
                       Value(), op.getOuts());
}

// What no kernel computes of a router; empty if there is nothing.
static std::string unsupported(RouterAttr router) {
  if (router.getScore() == Score::SparseMixer)
    return "scores by sparsemixer, but on a device softmax or sigmoid is "
           "expected; compile for --target=cpu";
  if (router.getNormalize() == Normalize::AfterDrop ||
      router.getCapacity() != Capacity::None)
    return "drops tokens over a capacity, which is not computed on a device; "
           "compile for --target=cpu without it";
  if (router.getWeightOn() == WeightOn::Input)
    return {}; // the weights are applied elsewhere
  return {};
}

FailureOr<SelectExpertsSpec> moe::readSelection(SelectExpertsOp op) {
  RouterAttr router = op.getRouter();
  if (std::string why = unsupported(router); !why.empty())
    return op.emitOpError() << why;
  SelectExpertsSpec spec;
  spec.experts = cast<MemRefType>(op.getLogits().getType()).getDimSize(1);
  spec.topK = router.getTopK();
  spec.score = router.getScore() == Score::Sigmoid ? SelectScore::Sigmoid
                                                   : SelectScore::Softmax;
  spec.scoreAfter = router.getScoreAfterTopK();
  spec.bias = static_cast<bool>(op.getSelectionBias());
  // Scores are positive: their 1-norm is their sum.
  spec.normalize = router.getNormalize() != Normalize::None;
  spec.groupScore =
      router.getGroupScore() == GroupScore::Max       ? SelectGroups::Max
      : router.getGroupScore() == GroupScore::Top2Sum ? SelectGroups::Top2Sum
                                                      : SelectGroups::None;
  spec.groups = router.getNGroup();
  spec.keptGroups = router.getTopkGroup();
  spec.maskZero = router.getMaskedFill() == MaskedFill::Zero;
  spec.epsilon = router.getNormalizeEpsilon();
  spec.scale = router.getScale();
  if (failed(verifySelectExperts(spec, [&] { return op.emitOpError(); })))
    return failure();
  auto number = [](double value) {
    return llvm::utohexstr(llvm::bit_cast<uint64_t>(value));
  };
  spec.name = llvm::formatv(
      "select_{0}of{1}_{2}{3}{4}{5}_g{6}of{7}_{8}{9}_{10}_{11}", spec.topK,
      spec.experts, spec.score == SelectScore::Sigmoid ? "sigmoid" : "softmax",
      spec.scoreAfter ? "_after" : "", spec.bias ? "_bias" : "",
      spec.normalize ? "_normalized" : "", spec.keptGroups, spec.groups,
      static_cast<int>(spec.groupScore), spec.maskZero ? "_zero" : "_inf",
      number(spec.epsilon), number(spec.scale));
  return spec;
}

LogicalResult moe::convertToKernels(SelectExpertsOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  FailureOr<SelectExpertsSpec> spec = readSelection(op);
  if (failed(spec))
    return failure();
  Value bias;
  if (spec->bias) {
    FailureOr<Value> kept = function.unpacked(op, op.getSelectionBias());
    if (failed(kept))
      return failure();
    bias = *kept;
  }
  KernelInterface interface = getSelectExpertsInterface(*spec);
  int32_t number =
      function.kernels().add(interface, [&](gpu::GPUModuleOp module) {
        buildSelectExperts(module, *spec);
      });
  Value tokens = rowCount(b, op.getLogits());
  return function.launchRows(b, op, interface, number, tokens,
                             {{"logits", op.getLogits()},
                              {"bias", bias},
                              {"weights", op.getOuts()[0]},
                              {"ids", op.getOuts()[1]},
                              {"tokens", tokens}});
}
