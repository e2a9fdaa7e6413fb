// One thread per element at a time: an element is read and written by the same
// thread, so that sums may be made in place.
#include "moe/Codegen/SumRanks.h"
#include "Chunk.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 256;

KernelInterface moe::getSumRanksInterface(const SumRanksSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  interface.parameters = {{"target"},
                          {"source"},
                          {"count", ParameterKind::Integer64},
                          {"stride", ParameterKind::Integer64},
                          {"members", ParameterKind::Integer}};
  return interface;
}

static void buildBody(DeviceBuilder &b, const SumRanksSpec &spec,
                      LLVM::LLVMFuncOp function) {
  Value target = b.toGlobal(function.getArgument(0)),
        source = b.toGlobal(function.getArgument(1));
  Value count = function.getArgument(2), stride = function.getArgument(3),
        members = function.getArgument(4);
  Type i64 = b.getI64Type();
  Type element = spec.f32 ? b.getF32Type() : Type(b.getI16Type());
  auto wide = [&](Value value) -> Value {
    return arith::ExtUIOp::create(b, i64, value);
  };
  Value size = b.i64(threads);
  Value first = arith::AddIOp::create(
      b, arith::MulIOp::create(b, wide(b.blockId()), size), wide(b.threadId()));
  Value step = arith::MulIOp::create(b, wide(b.gridSize()), size);
  auto loop = scf::ForOp::create(b, first, count, step);
  b.setInsertionPointToStart(loop.getBody());
  Value index = loop.getInductionVar();
  Value sum =
      b.loop(0, members, {b.f32(0.0f)}, [&](Value member, ValueRange carried) {
         Value at = arith::AddIOp::create(
             b, arith::MulIOp::create(b, wide(member), stride), index);
         Value term =
             chunk::loadFloat(b, b.atElement(source, element, at), spec.f32);
         return SmallVector<Value>{arith::AddFOp::create(b, carried[0], term)};
       }).front();
  chunk::storeFloat(b, sum, b.atElement(target, element, index), spec.f32);
}

LLVM::LLVMFuncOp moe::buildSumRanks(gpu::GPUModuleOp module,
                                    const SumRanksSpec &spec) {
  return buildKernel(module, getSumRanksInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, spec, function);
                     });
}
