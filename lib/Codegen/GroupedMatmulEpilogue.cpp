#include "GroupedMatmulEpilogue.h"

#include "moe/Codegen/ScalarMath.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

Value moe::createEpilogue(DeviceBuilder &b, const GroupedMatmulSpec &spec,
                          Value values, Value bias,
                          function_ref<Value(SliceType)> loadWeights) {
  Axis tokens = spec.swap ? Axis::Columns : Axis::Rows;
  Axis weights = spec.swap ? Axis::Rows : Axis::Columns;
  auto elementwise = [&](Value slice, bool multiply) {
    auto type = cast<FragmentType>(values.getType());
    auto op = EpilogueOp::create(b, type, values, slice, AxisAttr());
    OpBuilder::InsertionGuard guard(b);
    Block *body =
        b.createBlock(&op.getBody(), {}, {b.getF32Type(), b.getF32Type()},
                      {b.getLoc(), b.getLoc()});
    Value x = body->getArgument(0), y = body->getArgument(1);
    Value result = multiply ? arith::MulFOp::create(b, x, y).getResult()
                            : arith::AddFOp::create(b, x, y).getResult();
    YieldOp::create(b, result);
    values = op;
  };
  if (bias)
    elementwise(bias, /*multiply=*/false);
  if (spec.isPaired()) {
    auto type = cast<FragmentType>(values.getType());
    bool rows = weights == Axis::Rows;
    auto paired =
        FragmentType::get(b.getContext(), type.getRows() / (rows ? 2 : 1),
                          type.getColumns() / (rows ? 1 : 2));
    auto op = EpilogueOp::create(b, paired, values, ValueRange(),
                                 AxisAttr::get(b.getContext(), weights));
    OpBuilder::InsertionGuard guard(b);
    Block *body =
        b.createBlock(&op.getBody(), {}, {b.getF32Type(), b.getF32Type()},
                      {b.getLoc(), b.getLoc()});
    Value gate = body->getArgument(0), up = body->getArgument(1);
    YieldOp::create(
        b, spec.epilogue == GroupedEpilogue::Swiglu
               ? createSwiglu(b, gate, up)
               : createClampedSwiglu(b, gate, up, spec.alpha, spec.limit));
    values = op;
  }
  if (spec.rowScale) {
    auto type = cast<FragmentType>(values.getType());
    auto slice = SliceType::get(b.getContext(), tokens, type.getRows(),
                                type.getColumns());
    elementwise(loadWeights(slice), /*multiply=*/true);
  }
  return values;
}
