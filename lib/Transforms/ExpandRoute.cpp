// moe.route is one op as long as the layer is a description; scheduled code
// computes the logits and the selection apart, because the product wants packed
// weights and the selection wants a token at a time.
#include "dialects/Moe/MoeDialect.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_EXPANDROUTEPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

struct ExpandRoute : OpRewritePattern<RouteOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RouteOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getResults().empty())
      return rewriter.notifyMatchFailure(op, "buffer form");
    auto x = cast<RankedTensorType>(op.getX().getType());
    auto weight = cast<RankedTensorType>(op.getWeight().getType());
    auto logitsType = RankedTensorType::get(
        {x.getDimSize(0), weight.getDimSize(0)}, rewriter.getF32Type());
    bool f32 = op.getRouter().getMatmul() == MatmulType::F32;
    auto logits =
        RouterLogitsOp::create(rewriter, op.getLoc(), logitsType, op.getX(),
                               op.getWeight(), op.getBias(), Value(), f32);
    rewriter.replaceOpWithNewOp<SelectExpertsOp>(
        op, op.getResultTypes(), logits.getResult(), op.getSelectionBias(),
        ValueRange(), op.getRouter());
    return success();
  }
};

struct ExpandRoutePass : moe::impl::ExpandRoutePassBase<ExpandRoutePass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandRoute>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
