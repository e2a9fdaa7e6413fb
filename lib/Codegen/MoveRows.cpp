// One thread per row and eight columns (16 bytes), or one word.
#include "moe/Codegen/MoveRows.h"
#include "Chunk.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static int64_t getThreads(const MoveRowsSpec &spec) {
  return spec.words ? 32 : 128;
}

static int64_t perThread(const MoveRowsSpec &spec) {
  return spec.words ? 1 : chunk::elements;
}

LogicalResult
moe::verifyMoveRows(const MoveRowsSpec &spec,
                    function_ref<InFlightDiagnostic()> emitError) {
  if (spec.words && (spec.columns < 1 || spec.weights))
    return emitError() << "rows of " << spec.columns << " words are moved"
                       << (spec.weights ? " with weights" : "")
                       << ", expected a positive number without weights";
  if (spec.columns < 1 || spec.columns % perThread(spec))
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

/// CTAs that share the columns of one row.
static int64_t countParts(const MoveRowsSpec &spec) {
  return llvm::divideCeil(spec.columns, getThreads(spec) * perThread(spec));
}

KernelInterface moe::getMoveRowsInterface(const MoveRowsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = getThreads(spec);
  interface.parameters.push_back({"x"});
  interface.parameters.push_back({"index"});
  if (spec.weights)
    interface.parameters.push_back({"weights"});
  interface.parameters.push_back({"y"});
  interface.grid = {"index", 1, countParts(spec)};
  return interface;
}

static void buildBody(DeviceBuilder &b, const MoveRowsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  Value x = b.toGlobal(function.getArgument(0));
  Value index = function.getArgument(1);
  Value y = b.toGlobal(function.getArguments().back());
  int64_t parts = countParts(spec);
  Value row = b.div(b.blockId(), parts);
  Value column =
      b.add(b.mul(b.rem(b.blockId(), parts), getThreads(spec)), b.threadId());
  b.ifThen(b.less(column, spec.columns / perThread(spec)), [&] {
    Value other =
        b.load(b.getI32Type(), b.atElement(index, b.getI32Type(), row));
    Value from = spec.scatter ? row : b.div(other, spec.divisor);
    Value to = spec.scatter ? other : row;
    if (spec.words) {
      auto word = [&](Value base, Value row) {
        Type i64 = b.getI64Type();
        Value at = arith::MulIOp::create(b, arith::ExtUIOp::create(b, i64, row),
                                         b.i64(spec.columns));
        at = arith::AddIOp::create(b, at,
                                   arith::ExtUIOp::create(b, i64, column));
        return b.atElement(base, b.getI32Type(), at);
      };
      return b.store(b.load(b.getI32Type(), word(x, from)), word(y, to));
    }
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
