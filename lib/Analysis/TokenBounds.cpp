#include "moe/Analysis/TokenBounds.h"
#include "dialects/Coll/CollDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

// The linear form of an expression in the one symbol M, if it is one.
static FailureOr<TokenBytes> linearInTokens(AffineExpr expr, int64_t shares) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return TokenBytes{0, 0, constant.getValue()};
  if (isa<AffineSymbolExpr>(expr))
    return TokenBytes{1, 0, 0};
  auto binary = cast<AffineBinaryOpExpr>(expr);
  FailureOr<TokenBytes> lhs = linearInTokens(binary.getLHS(), shares),
                        rhs = linearInTokens(binary.getRHS(), shares);
  if (failed(lhs) || failed(rhs))
    return failure();
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return *lhs + *rhs;
  case AffineExprKind::Mul:
    if (rhs->isConstant())
      return *lhs * rhs->constant;
    return failure();
  case AffineExprKind::CeilDiv:
    if (rhs->isConstant() && rhs->constant == shares && lhs->perShare == 0 &&
        lhs->constant == 0)
      return TokenBytes{0, lhs->perToken, 0};
    return failure();
  case AffineExprKind::FloorDiv:
    // How ceil(M / n) prints: (M + n - 1) floordiv n.
    if (rhs->isConstant() && rhs->constant == shares && lhs->perToken == 1 &&
        lhs->perShare == 0 && lhs->constant == shares - 1)
      return TokenBytes{0, 1, 0};
    return failure();
  default:
    return failure();
  }
}

AffineExpr moe::toExpression(const TokenBytes &bytes, int64_t shares,
                             MLIRContext *context) {
  AffineExpr tokens = getAffineSymbolExpr(0, context);
  return tokens * bytes.perToken + tokens.ceilDiv(shares) * bytes.perShare +
         bytes.constant;
}

// Into how many parts tokens that are split over `axes` fall; 0 if the module
// has no grid that says.
static int64_t partsOf(Operation *function, DenseI64ArrayAttr axes) {
  for (auto grid :
       function->getParentOfType<ModuleOp>().getOps<shard::GridOp>())
    if (llvm::all_of(axes.asArrayRef(),
                     [&](int64_t axis) { return axis < grid.getRank(); }))
      return coll::groupSize(grid, axes.asArrayRef());
  return 0;
}

FailureOr<TokenBytes> moe::boundDimInTokens(Value source, int64_t dim,
                                            int64_t shares) {
  auto type = cast<MemRefType>(source.getType());
  if (!type.isDynamicDim(dim))
    return TokenBytes{0, 0, type.getDimSize(dim)};
  if (auto argument = dyn_cast<BlockArgument>(source)) {
    auto function =
        dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
    if (!function || dim != 0)
      return failure();
    auto split = function.getArgAttrOfType<DenseI64ArrayAttr>(
        argument.getArgNumber(), "moe.split");
    if (!split || split.empty())
      return TokenBytes{1, 0, 0};
    // ceil(M / parts) <= shares / parts * ceil(M / shares)
    int64_t parts = partsOf(function, split);
    if (parts == 0)
      return failure();
    return TokenBytes{0, shares / parts, 0};
  }
  if (auto alloc = source.getDefiningOp<memref::AllocOp>())
    return boundInTokens(alloc.getDynamicSizes()[type.getDynamicDimIndex(dim)],
                         shares);
  if (auto view = source.getDefiningOp<memref::ViewOp>())
    return boundInTokens(view.getSizes()[type.getDynamicDimIndex(dim)], shares);
  if (auto cast = source.getDefiningOp<memref::CastOp>())
    return boundDimInTokens(cast.getSource(), dim, shares);
  return failure();
}

FailureOr<TokenBytes> moe::boundInTokens(Value value, int64_t shares) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return TokenBytes{0, 0, *constant};
  Operation *op = value.getDefiningOp();
  if (!op)
    return failure();
  if (auto rows = dyn_cast<coll::RowsOp>(op))
    return linearInTokens(rows.getBound().getResult(0), shares);
  if (auto dim = dyn_cast<memref::DimOp>(op))
    if (std::optional<int64_t> index = dim.getConstantIndex())
      return boundDimInTokens(dim.getSource(), *index, shares);
  if (auto mul = dyn_cast<arith::MulIOp>(op)) {
    FailureOr<TokenBytes> lhs = boundInTokens(mul.getLhs(), shares),
                          rhs = boundInTokens(mul.getRhs(), shares);
    if (failed(lhs) || failed(rhs) ||
        (!lhs->isConstant() && !rhs->isConstant()))
      return failure();
    return lhs->isConstant() ? *rhs * lhs->constant : *lhs * rhs->constant;
  }
  if (auto add = dyn_cast<arith::AddIOp>(op)) {
    FailureOr<TokenBytes> lhs = boundInTokens(add.getLhs(), shares),
                          rhs = boundInTokens(add.getRhs(), shares);
    if (failed(lhs) || failed(rhs))
      return failure();
    return *lhs + *rhs;
  }
  // What is subtracted in shapes is never negative: a rank's number.
  if (auto sub = dyn_cast<arith::SubIOp>(op))
    if (sub.getRhs().getDefiningOp<coll::IndexOp>())
      return boundInTokens(sub.getLhs(), shares);
  if (auto div = dyn_cast<arith::DivUIOp>(op)) {
    FailureOr<TokenBytes> lhs = boundInTokens(div.getLhs(), shares);
    std::optional<int64_t> divisor = getConstantIntValue(div.getRhs());
    if (succeeded(lhs) && divisor == shares && lhs->perToken == 1 &&
        lhs->perShare == 0 && lhs->constant < shares)
      return TokenBytes{0, 1, 0};
    if (succeeded(lhs) && divisor && *divisor > 0 && lhs->perToken == 0 &&
        lhs->perShare % *divisor == 0 && lhs->constant < *divisor)
      return TokenBytes{0, lhs->perShare / *divisor, 0};
    return failure();
  }
  return failure();
}
