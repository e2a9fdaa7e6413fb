#include "Team.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

Value moe::indexConstant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}
Value moe::indexAdd(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddIOp::create(b, x, y);
}
Value moe::indexMul(ImplicitLocOpBuilder &b, Value x, int64_t factor) {
  return factor == 1 ? x
                     : arith::MulIOp::create(b, x, indexConstant(b, factor))
                           .getResult();
}

static void loop(ImplicitLocOpBuilder &b, Value from, Value to, Value step,
                 function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(b, from, to, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void moe::forEach(ImplicitLocOpBuilder &b, Value from, Value to, int64_t step,
                  function_ref<void(Value)> body) {
  loop(b, from, to, indexConstant(b, step), body);
}

void moe::forEachOfTeam(ImplicitLocOpBuilder &b, Value count,
                        function_ref<void(Value)> body) {
  Value thread = moert::ThreadOp::create(b, b.getIndexType());
  Value threads = moert::ThreadsOp::create(b, b.getIndexType());
  loop(b, thread, count, threads, body);
}

void moe::meet(ImplicitLocOpBuilder &b) { moert::TeamBarrierOp::create(b); }

Value moe::stackOf(ImplicitLocOpBuilder &b, Type element, int64_t count,
                   unsigned alignment) {
  Operation *parent = b.getInsertionBlock()->getParentOp();
  auto function = dyn_cast<FunctionOpInterface>(parent);
  if (!function)
    function = parent->getParentOfType<FunctionOpInterface>();
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&function.getFunctionBody().front());
  Value size = arith::ConstantOp::create(b, b.getI64IntegerAttr(count));
  return LLVM::AllocaOp::create(b, LLVM::LLVMPointerType::get(b.getContext()),
                                element, size, alignment);
}

Value moe::pointerTo(ImplicitLocOpBuilder &b, Value buffer) {
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, buffer);
  Value integer = arith::IndexCastOp::create(b, b.getI64Type(), address);
  return LLVM::IntToPtrOp::create(b, LLVM::LLVMPointerType::get(b.getContext()),
                                  integer);
}

Value moe::loadIndex(ImplicitLocOpBuilder &b, Value buffer, Value position) {
  Value value = memref::LoadOp::create(b, buffer, position);
  return arith::IndexCastOp::create(b, b.getIndexType(), value);
}

Value moe::flatten(ImplicitLocOpBuilder &b, Value buffer) {
  int64_t rank = cast<MemRefType>(buffer.getType()).getRank();
  if (rank == 1)
    return buffer;
  SmallVector<ReassociationIndices> all = {
      llvm::to_vector(llvm::seq<int64_t>(0, rank))};
  return memref::CollapseShapeOp::create(b, buffer, all);
}

bool moe::hasIdentityLayouts(Operation *op) {
  return llvm::all_of(op->getOperandTypes(), [](Type type) {
    auto buffer = dyn_cast<MemRefType>(type);
    return !isa<BaseMemRefType>(type) ||
           (buffer && buffer.getLayout().isIdentity());
  });
}
