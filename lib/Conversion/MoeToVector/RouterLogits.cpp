#include "PanelProduct.h"
#include "Team.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/VectorMath.h"

using namespace mlir;
using namespace moe;

namespace {

struct LowerRouterLogits : OpRewritePattern<RouterLogitsOp> {
  LowerRouterLogits(MLIRContext *context, const CpuTile &tile)
      : OpRewritePattern(context), tile(tile) {}

  LogicalResult matchAndRewrite(RouterLogitsOp op,
                                PatternRewriter &rewriter) const override {
    std::optional<PanelsAttr> panels = op.getPacked();
    if (failed(matchPanels(rewriter, op, tile, panels, op.getX(),
                           op.getWeight(), op.getOuts())))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    PanelProduct product;
    product.tile = tile;
    product.panels = *panels;
    product.lhs = op.getX();
    product.weight = op.getWeight();
    product.rows = memref::DimOp::create(b, op.getX(), 0);
    emitPanelProduct(b, op->getParentOfType<ModuleOp>(), product,
                     [&](const PanelSums &sums) { finish(b, op, sums); });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  void finish(ImplicitLocOpBuilder &b, RouterLogitsOp op,
              const PanelSums &sums) const {
    Value logits = sums.parts[0];
    if (Value bias = op.getBias())
      logits = arith::AddFOp::create(
          b, logits,
          toF32(b, loadColumns(b, bias, sums.column, sums.mask, tile.lanes)));
    // `matmul = model` rounds to the model's type.
    Type model = cast<MemRefType>(op.getX().getType()).getElementType();
    if (!op.getMatmulF32())
      logits = toF32(b, fromF32(b, logits, model));
    storeColumns(b, logits, op.getOuts(), {sums.row, sums.column}, sums.mask);
  }

  CpuTile tile;
};

} // namespace

void moe::populateRouterLogitsToVector(RewritePatternSet &patterns,
                                       const CpuTile &tile) {
  patterns.add<LowerRouterLogits>(patterns.getContext(), tile);
}
