// Rows are shared out over the warps of a token's CTA; the lanes of a warp
// share the columns, eight at a time, and add their sums by a butterfly: a
// fixed order.
#include "moe/Codegen/RowDots.h"
#include "Chunk.h"
#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static int64_t getWarps(const RowDotsSpec &spec) {
  return std::min<int64_t>(spec.rows, 8);
}

LogicalResult moe::verifyRowDots(const RowDotsSpec &spec,
                                 function_ref<InFlightDiagnostic()> emitError) {
  if (spec.rows < 1)
    return emitError() << "products with " << spec.rows
                       << " weight rows, expected at least 1";
  if (spec.columns < 1 || spec.columns % chunk::elements)
    return emitError() << "products of " << spec.columns
                       << " columns, expected a positive multiple of 8";
  return success();
}

KernelInterface moe::getRowDotsInterface(const RowDotsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = 32 * getWarps(spec);
  interface.parameters.push_back({"x"});
  interface.parameters.push_back({"w"});
  if (spec.bias)
    interface.parameters.push_back({"bias"});
  interface.parameters.push_back({"y"});
  interface.grid = {"x"};
  return interface;
}

static void buildBody(DeviceBuilder &b, const RowDotsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  Value x = b.toGlobal(function.getArgument(0));
  Value w = b.toGlobal(function.getArgument(1));
  Value y = function.getArguments().back();
  Value token = b.blockId(), lane = b.lane();
  int64_t warps = getWarps(spec), chunks = spec.columns / chunk::elements;
  Value warp = b.uniform(b.shr(b.threadId(), 5));
  Value rounds = b.ceilDiv(b.sub(spec.rows, warp), warps);
  b.loop(0, rounds, {}, [&](Value round, ValueRange) -> SmallVector<Value> {
    Value row = b.add(b.mul(round, warps), warp);
    Value sum =
        b.loop(0, llvm::divideCeil(chunks, 32), {b.f32(0.0f)},
               [&](Value step, ValueRange carried) -> SmallVector<Value> {
                 Value number = b.add(b.mul(step, 32), lane);
                 Value inside = b.less(number, chunks);
                 Value column = b.min(number, chunks - 1);
                 auto floats = [&](Value base, Value index) {
                   return chunk::toFloats(
                       b, chunk::load(b, chunk::at(b, base, index, spec.columns,
                                                   column)));
                 };
                 Value next = carried[0];
                 for (auto [a, c] : llvm::zip(floats(x, token), floats(w, row)))
                   next = LLVM::FMAOp::create(b, a, c, next);
                 return {b.select(inside, next, carried[0])};
               })
            .front();
    sum = b.reduce(sum, [&](Value x, Value y) -> Value {
      return arith::AddFOp::create(b, x, y);
    });
    b.ifThen(b.equal(lane, 0), [&] {
      Type f32 = b.getF32Type();
      Value result = sum;
      if (spec.bias)
        result = arith::AddFOp::create(
            b, result,
            b.load(f32, b.atElement(function.getArgument(2), f32, row)));
      if (spec.round)
        result = b.toFloat(b.shl(createBF16Pair(b, result, result), 16));
      if (spec.sigmoid)
        result = createSigmoid(b, result);
      b.store(result, b.atElement(y, f32, b.add(b.mul(token, spec.rows), row)));
    });
    return {};
  });
}

LLVM::LLVMFuncOp moe::buildRowDots(gpu::GPUModuleOp module,
                                   const RowDotsSpec &spec) {
  return buildKernel(module, getRowDotsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, spec, function);
                     });
}
