#include "PanelProduct.h"
#include "Team.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/VectorMath.h"

using namespace mlir;
using namespace moe;

static Value mul(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::MulFOp::create(b, x, y);
}
static Value add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddFOp::create(b, x, y);
}

// f of the activation's description.
static Value nonlinearity(ImplicitLocOpBuilder &b, ActivationAttr activation,
                          Value x) {
  switch (activation.getKind()) {
  case ActivationKind::Silu: {
    // x / (1 + e^(-alpha x))
    Value scaled =
        mul(b, x, splatF32(b, x, -static_cast<float>(activation.getAlpha())));
    return arith::DivFOp::create(
        b, x, add(b, splatF32(b, x, 1.0f), expF32(b, scaled)));
  }
  case ActivationKind::Relu: {
    Value zero = splatF32(b, x, 0.0f);
    Value negative =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, zero);
    return arith::SelectOp::create(b, negative, zero, x);
  }
  case ActivationKind::Gelu: {
    // x times the normal distribution up to x: erfc(-x / sqrt 2) / 2.
    return mul(b, x, halfErfcF32(b, mul(b, x, splatF32(b, x, -0.70710678f))));
  }
  case ActivationKind::GeluTanh: {
    // (1 + tanh u) / 2 = sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
    Value cubic = mul(b, mul(b, mul(b, x, x), x), splatF32(b, x, 0.044715f));
    Value doubled = mul(b, add(b, x, cubic), splatF32(b, x, 1.5957691f));
    return mul(b, x, sigmoidF32(b, doubled));
  }
  }
  llvm_unreachable("all kinds are handled");
}

static Value activate(ImplicitLocOpBuilder &b, ActivationAttr activation,
                      ArrayRef<Value> parts) {
  if (!activation.getGated())
    return nonlinearity(b, activation, parts[0]);
  Value gate = parts[0], up = parts[1];
  float limit = static_cast<float>(activation.getLimit());
  if (limit != 0) {
    gate = clampF32(b, gate, -std::numeric_limits<float>::infinity(), limit);
    up = clampF32(b, up, -limit, limit);
  }
  if (activation.getUpOffset() != 0.0)
    up = add(b, up,
             splatF32(b, up, static_cast<float>(activation.getUpOffset())));
  return mul(b, up, nonlinearity(b, activation, gate));
}

namespace {

struct LowerGroupedMatmul : OpRewritePattern<GroupedMatmulOp> {
  LowerGroupedMatmul(MLIRContext *context, const CpuTile &tile)
      : OpRewritePattern(context), tile(tile) {}

  LogicalResult matchAndRewrite(GroupedMatmulOp op,
                                PatternRewriter &rewriter) const override {
    std::optional<PanelsAttr> panels = op.getPacked();
    if (failed(matchPanels(rewriter, op, tile, panels, op.getLhs(), op.getRhs(),
                           op.getOuts())))
      return failure();
    PanelProduct product{tile,
                         *panels,
                         op.getLhs(),
                         op.getRhs(),
                         op.getRows(),
                         op.getOffsets(),
                         op.getGather(),
                         op.getRowWeights(),
                         static_cast<int64_t>(op.getGatherDivisor())};
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto module = op->getParentOfType<ModuleOp>();
    emitPanelProduct(b, module, product,
                     [&](const PanelSums &sums) { finish(b, op, sums); });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  void finish(ImplicitLocOpBuilder &b, GroupedMatmulOp op,
              const PanelSums &sums) const {
    SmallVector<Value, 2> parts = sums.parts;
    if (Value bias = op.getBias())
      for (auto [part, value] : llvm::enumerate(parts)) {
        SmallVector<Value> position = {sums.group};
        if (op.getActivation())
          position.push_back(indexConstant(b, part));
        position.push_back(sums.column);
        value = add(
            b, value,
            toF32(b, loadColumns(b, bias, position, sums.mask, tile.lanes)));
      }
    Value result =
        op.getActivation() ? activate(b, *op.getActivation(), parts) : parts[0];
    Value row =
        op.getScatter() ? loadIndex(b, op.getScatter(), sums.row) : sums.row;
    Type element = cast<MemRefType>(op.getOuts().getType()).getElementType();
    storeColumns(b, fromF32(b, result, element), op.getOuts(),
                 {row, sums.column}, sums.mask);
  }

  CpuTile tile;
};

} // namespace

void moe::populateGroupedMatmulToVector(RewritePatternSet &patterns,
                                        const CpuTile &tile) {
  patterns.add<LowerGroupedMatmul>(patterns.getContext(), tile);
}
