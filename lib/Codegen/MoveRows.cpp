// One thread per row and eight columns (16 bytes).
#include "moe/Codegen/MoveRows.h"
#include "Chunk.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 128;

LogicalResult
moe::verifyMoveRows(const MoveRowsSpec &spec,
                    function_ref<InFlightDiagnostic()> emitError) {
  if (spec.columns < 1 || spec.columns % chunk::elements)
    return emitError() << "rows of " << spec.columns
                       << " columns are moved, expected a positive multiple "
                          "of 8 such as "
                       << llvm::alignTo(std::max<int64_t>(spec.columns, 1),
                                        chunk::elements);
  if (spec.divisor < 1)
    return emitError() << "index is divided by " << spec.divisor
                       << ", expected a positive number";
  if (spec.scatter && (spec.divisor != 1 || spec.weights))
    return emitError() << "rows are scattered with a divisor or weights, "
                          "expected neither";
  return success();
}

int64_t moe::getMoveRowsBlocks(const MoveRowsSpec &spec) {
  return llvm::divideCeil(spec.columns, threads * chunk::elements);
}

KernelInterface moe::getMoveRowsInterface(const MoveRowsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  interface.parameters.push_back({"x"});
  interface.parameters.push_back({"index"});
  if (spec.weights)
    interface.parameters.push_back({"weights"});
  interface.parameters.push_back({"y"});
  return interface;
}

static void buildBody(DeviceBuilder &b, const MoveRowsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  Value x = b.toGlobal(function.getArgument(0));
  Value index = function.getArgument(1);
  Value y = b.toGlobal(function.getArguments().back());
  int64_t parts = getMoveRowsBlocks(spec);
  Value row = b.div(b.blockId(), parts);
  Value column = b.add(b.mul(b.rem(b.blockId(), parts), threads), b.threadId());
  b.ifThen(b.less(column, spec.columns / chunk::elements), [&] {
    Value other =
        b.load(b.getI32Type(), b.atElement(index, b.getI32Type(), row));
    Value from = spec.scatter ? row : b.div(other, spec.divisor);
    Value to = spec.scatter ? other : row;
    Value words = chunk::load(b, chunk::at(b, x, from, spec.columns, column));
    if (spec.weights) {
      Value weight = b.load(b.getF32Type(), b.atElement(function.getArgument(2),
                                                        b.getF32Type(), other));
      SmallVector<Value> floats = chunk::toFloats(b, words);
      for (Value &value : floats)
        value = arith::MulFOp::create(b, value, weight);
      words = chunk::fromFloats(b, floats);
    }
    chunk::store(b, words, chunk::at(b, y, to, spec.columns, column));
  });
}

LLVM::LLVMFuncOp moe::buildMoveRows(gpu::GPUModuleOp module,
                                    const MoveRowsSpec &spec) {
  return buildKernel(module, getMoveRowsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, spec, function);
                     });
}
