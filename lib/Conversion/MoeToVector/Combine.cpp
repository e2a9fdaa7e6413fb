// Each thread sums a consecutive part of the tokens: per vector of columns,
// the rows in ascending order of pairs (without positions the token's own row),
// then the addend, rounded once.
#include "RowVectors.h"
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/TeamLoops.h"

using namespace mlir;
using namespace moe;

namespace {

struct LowerCombine : OpRewritePattern<CombineOp> {
  LowerCombine(MLIRContext *context, const CpuTile &tile)
      : OpRewritePattern(context), tile(tile) {}

  LogicalResult matchAndRewrite(CombineOp op,
                                PatternRewriter &rewriter) const override {
    auto rows = dyn_cast<MemRefType>(op.getRows().getType());
    Value positions = op.getPositions();
    if (!op.getOuts() || !rows || rows.isDynamicDim(1) ||
        (positions && cast<ShapedType>(positions.getType()).isDynamicDim(1)) ||
        !hasIdentityLayouts(op))
      return rewriter.notifyMatchFailure(
          op, "outs, static widths and identity layouts are expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value tokens = b.createOrFold<memref::DimOp>(op.getOuts(), 0);
    auto [begin, end] = team::slice(b, tokens);
    team::forLoop(b, begin, end, 1, [&](ImplicitLocOpBuilder &, Value token) {
      forColumns(b, rows.getDimSize(1), tile.lanes,
                 [&](Value column, int64_t elements) {
                   Value sum = sumRows(b, op, token, column, elements);
                   sum = addAddend(b, op, sum, token, column, elements);
                   storeRowF32(b, sum, op.getOuts(), token, column);
                 });
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  // sum + weights[token, pair] * rows[row]
  Value addWeighted(ImplicitLocOpBuilder &b, CombineOp op, Value sum, Value row,
                    Value token, Value pair, Value column,
                    int64_t elements) const {
    Value value = loadRowF32(b, op.getRows(), row, column, elements);
    if (Value weights = op.getWeights()) {
      Value weight =
          memref::LoadOp::create(b, weights, ValueRange{token, pair});
      value =
          arith::MulFOp::create(b, broadcastF32(b, weight, elements), value);
    }
    return arith::AddFOp::create(b, sum, value);
  }

  // sum + weight * the row at positions[token, pair], where there is one.
  Value addRow(ImplicitLocOpBuilder &b, CombineOp op, Value sum, Value token,
               Value pair, Value column, int64_t elements) const {
    Value position =
        memref::LoadOp::create(b, op.getPositions(), ValueRange{token, pair});
    Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
    Value kept =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sge, position, zero);
    auto branch = scf::IfOp::create(b, sum.getType(), kept, /*withElse=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, sum);
    b.setInsertionPointToStart(branch.thenBlock());
    Value row = arith::IndexCastOp::create(b, b.getIndexType(), position);
    Value next = addWeighted(b, op, sum, row, token, pair, column, elements);
    scf::YieldOp::create(b, next);
    return branch.getResult(0);
  }

  Value sumRows(ImplicitLocOpBuilder &b, CombineOp op, Value token,
                Value column, int64_t elements) const {
    auto type = VectorType::get(elements, b.getF32Type());
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
    if (!op.getPositions()) // the token's own row
      return addWeighted(b, op, zero, token, token, team::constant(b, 0),
                         column, elements);
    int64_t k = cast<ShapedType>(op.getPositions().getType()).getDimSize(1);
    auto step = [&](ImplicitLocOpBuilder &, Value pair,
                    ValueRange sum) -> SmallVector<Value> {
      return {addRow(b, op, sum.front(), token, pair, column, elements)};
    };
    return team::forLoop(b, team::constant(b, 0), team::constant(b, k), 1, zero,
                         step)
        .front();
  }

  Value addAddend(ImplicitLocOpBuilder &b, CombineOp op, Value sum, Value token,
                  Value column, int64_t elements) const {
    if (!op.getAddend())
      return sum;
    Value value = loadRowF32(b, op.getAddend(), token, column, elements);
    if (Value gates = op.getAddendGate()) {
      Value gate = memref::LoadOp::create(
          b, gates, ValueRange{token, team::constant(b, 0)});
      value = arith::MulFOp::create(b, broadcastF32(b, gate, elements), value);
    }
    return arith::AddFOp::create(b, sum, value);
  }

  CpuTile tile;
};

} // namespace

void moe::populateCombineToVector(RewritePatternSet &patterns,
                                  const CpuTile &tile) {
  patterns.add<LowerCombine>(patterns.getContext(), tile);
}
