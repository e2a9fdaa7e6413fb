#include "moe/Conversion/TeamLoops.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;

Value moe::team::constant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

Value moe::team::scratch(ImplicitLocOpBuilder &b, MemRefType type) {
  Operation *parent = b.getInsertionBlock()->getParentOp();
  auto function = dyn_cast<FunctionOpInterface>(parent);
  if (!function)
    function = parent->getParentOfType<FunctionOpInterface>();
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&function.getFunctionBody().front());
  return memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
}

std::pair<Value, Value> moe::team::slice(ImplicitLocOpBuilder &b, Value count) {
  Value thread = moert::ThreadOp::create(b, b.getIndexType());
  Value threads = moert::ThreadsOp::create(b, b.getIndexType());
  Value next = arith::AddIOp::create(b, thread, team::constant(b, 1));
  // count * thread / threads: the last part ends at count exactly.
  auto bound = [&](Value part) -> Value {
    Value scaled = arith::MulIOp::create(b, count, part);
    return arith::DivUIOp::create(b, scaled, threads);
  };
  Value begin = bound(thread);
  return {begin, bound(next)};
}

void moe::team::onFirstThread(ImplicitLocOpBuilder &b,
                              function_ref<void(ImplicitLocOpBuilder &)> body) {
  Value thread = moert::ThreadOp::create(b, b.getIndexType());
  Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, thread,
                                      team::constant(b, 0));
  auto branch = scf::IfOp::create(b, first, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  body(b);
}

void moe::team::forLoop(
    ImplicitLocOpBuilder &b, Value begin, Value end, int64_t step,
    function_ref<void(ImplicitLocOpBuilder &, Value)> body) {
  team::forLoop(b, begin, end, step, ValueRange(),
                [&](ImplicitLocOpBuilder &inner, Value index, ValueRange) {
                  body(inner, index);
                  return SmallVector<Value>();
                });
}

SmallVector<Value> moe::team::forLoop(
    ImplicitLocOpBuilder &b, Value begin, Value end, int64_t step,
    ValueRange inits,
    function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, Value, ValueRange)>
        body) {
  auto loop = scf::ForOp::create(b, begin, end, team::constant(b, step), inits);
  OpBuilder::InsertionGuard guard(b);
  // Without carried values the loop has its terminator already.
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> carried =
      body(b, loop.getInductionVar(), loop.getRegionIterArgs());
  if (!inits.empty())
    scf::YieldOp::create(b, carried);
  return llvm::to_vector_of<Value>(loop.getResults());
}
