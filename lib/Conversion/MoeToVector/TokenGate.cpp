// One dot product per token, by vectors of `lanes` whose lanes are summed in a
// fixed order at the end, then the columns beyond the last whole vector.
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/VectorMath.h"

using namespace mlir;
using namespace moe;

namespace {

struct LowerTokenGate : OpRewritePattern<TokenGateOp> {
  LowerTokenGate(MLIRContext *context, const CpuTile &tile)
      : OpRewritePattern(context), tile(tile) {}

  LogicalResult matchAndRewrite(TokenGateOp op,
                                PatternRewriter &rewriter) const override {
    auto x = dyn_cast<MemRefType>(op.getX().getType());
    if (!op.getOuts() || !x || x.isDynamicDim(1) || !hasIdentityLayouts(op))
      return rewriter.notifyMatchFailure(
          op, "outs, a static width and identity layouts are expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value zero = indexConstant(b, 0);
    forEachOfTeam(b, memref::DimOp::create(b, op.getX(), 0), [&](Value token) {
      Value dot = dotProduct(b, op, token, x.getDimSize(1));
      Value gate = vector::ExtractOp::create(
          b, sigmoidF32(b, vector::BroadcastOp::create(b, vectorType(b), dot)),
          0);
      memref::StoreOp::create(b, gate, op.getOuts(), ValueRange{token, zero});
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  VectorType vectorType(ImplicitLocOpBuilder &b) const {
    return VectorType::get(tile.lanes, b.getF32Type());
  }

  Value load(ImplicitLocOpBuilder &b, Value buffer, Value row, Value column,
             Value mask) const {
    auto type = VectorType::get(
        tile.lanes, cast<MemRefType>(buffer.getType()).getElementType());
    if (!mask)
      return toF32(
          b, vector::LoadOp::create(b, type, buffer, ValueRange{row, column}));
    Value pass = arith::ConstantOp::create(b, b.getZeroAttr(type));
    return toF32(b, vector::MaskedLoadOp::create(
                        b, type, buffer, ValueRange{row, column}, mask, pass));
  }

  Value dotProduct(ImplicitLocOpBuilder &b, TokenGateOp op, Value token,
                   int64_t width) const {
    Value zero = indexConstant(b, 0);
    int64_t whole = width / tile.lanes * tile.lanes;
    auto step = [&](Value column, Value sum, Value mask) -> Value {
      return vector::FMAOp::create(b, load(b, op.getX(), token, column, mask),
                                   load(b, op.getWeight(), zero, column, mask),
                                   sum);
    };
    Value sum = arith::ConstantOp::create(b, b.getZeroAttr(vectorType(b)));
    auto loop = scf::ForOp::create(b, zero, indexConstant(b, whole),
                                   indexConstant(b, tile.lanes), sum);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value next =
          step(loop.getInductionVar(), loop.getRegionIterArg(0), Value());
      scf::YieldOp::create(b, next);
    }
    sum = loop.getResult(0);
    if (whole != width) {
      Value mask = vector::CreateMaskOp::create(
          b, VectorType::get(tile.lanes, b.getI1Type()),
          indexConstant(b, width - whole));
      sum = step(indexConstant(b, whole), sum, mask);
    }
    // Halves onto halves.
    for (int64_t size = tile.lanes / 2; size >= 1; size /= 2) {
      Value low = vector::ExtractStridedSliceOp::create(
          b, sum, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{size},
          ArrayRef<int64_t>{1});
      Value high = vector::ExtractStridedSliceOp::create(
          b, sum, ArrayRef<int64_t>{size}, ArrayRef<int64_t>{size},
          ArrayRef<int64_t>{1});
      sum = arith::AddFOp::create(b, low, high);
    }
    return vector::ExtractOp::create(b, sum, 0);
  }

  CpuTile tile;
};

} // namespace

void moe::populateTokenGateToVector(RewritePatternSet &patterns,
                                    const CpuTile &tile) {
  patterns.add<LowerTokenGate>(patterns.getContext(), tile);
}
