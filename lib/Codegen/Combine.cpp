// One thread per token and eight columns (16 bytes): all rows of a token are
// requested before the first is used.
#include "moe/Codegen/Combine.h"
#include "moe/Codegen/DeviceBuilder.h"
#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 128, perThread = 8;

LogicalResult moe::verifyCombine(const CombineSpec &spec,
                                 function_ref<InFlightDiagnostic()> emitError) {
  if (spec.columns < 1 || spec.columns % perThread)
    return emitError() << "combine of " << spec.columns
                       << " columns, expected a positive multiple of 8";
  if (spec.topK < 1 || spec.topK > 16)
    return emitError() << "combine of " << spec.topK
                       << " rows per token, expected 1 to 16";
  return success();
}

int64_t moe::getCombineBlocks(const CombineSpec &spec) {
  return llvm::divideCeil(spec.columns, threads * perThread);
}

KernelInterface moe::getCombineInterface(const CombineSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  auto add = [&](StringRef name) {
    interface.parameters.push_back({name.str()});
  };
  add("rows");
  add("positions");
  if (spec.weights)
    add("weights");
  if (spec.addend)
    add("addend");
  add("y");
  return interface;
}

namespace {
/// Eight bf16 as four words.
struct Chunk {
  static Value load(DeviceBuilder &b, Value address) {
    return b.load(VectorType::get(4, b.getI32Type()), address, 16);
  }
  static SmallVector<Value> toFloats(DeviceBuilder &b, Value words) {
    SmallVector<Value> floats;
    for (int64_t i = 0; i < 4; ++i) {
      Value word = LLVM::ExtractElementOp::create(b, words, b.i32(i));
      floats.push_back(b.toFloat(b.shl(word, 16)));
      floats.push_back(b.toFloat(b.bitAnd(word, 0xFFFF0000)));
    }
    return floats;
  }
};
} // namespace

static void buildBody(DeviceBuilder &b, const CombineSpec &spec,
                      LLVM::LLVMFuncOp function) {
  unsigned next = 0;
  Value rows = b.toGlobal(function.getArgument(next++));
  Value positions = function.getArgument(next++);
  Value weights = spec.weights ? function.getArgument(next++) : Value();
  Value addend =
      spec.addend ? b.toGlobal(function.getArgument(next++)) : Value();
  Value y = b.toGlobal(function.getArgument(next++));
  int64_t parts = getCombineBlocks(spec);
  Value token = b.div(b.blockId(), parts);
  Value chunk = b.add(b.mul(b.rem(b.blockId(), parts), threads), b.threadId());
  auto at = [&](Value base, Value row) {
    Value wide = arith::ExtUIOp::create(b, b.getI64Type(), row);
    Value offset = arith::MulIOp::create(b, wide, b.i64(2 * spec.columns));
    return b.atByte(b.atByte(base, offset), b.shl(chunk, 4));
  };
  b.ifThen(b.less(chunk, spec.columns / perThread), [&] {
    SmallVector<Value> chunks, kept, factors;
    Value first = b.mul(token, spec.topK);
    for (int64_t j = 0; j < spec.topK; ++j) {
      Value pair = b.add(first, j);
      Value position =
          b.load(b.getI32Type(), b.atElement(positions, b.getI32Type(), pair));
      kept.push_back(b.less(-1, position));
      if (spec.weights)
        factors.push_back(
            b.load(b.getF32Type(), b.atElement(weights, b.getF32Type(), pair)));
      chunks.push_back(Chunk::load(b, at(rows, b.max(position, 0))));
    }
    Value last = addend ? Chunk::load(b, at(addend, token)) : Value();
    SmallVector<Value> sums(perThread, b.f32(0.0f));
    for (int64_t j = 0; j < spec.topK; ++j)
      for (auto [sum, x] : llvm::zip(sums, Chunk::toFloats(b, chunks[j]))) {
        Value term =
            spec.weights
                ? LLVM::FMAOp::create(b, x, factors[j], sum).getResult()
                : arith::AddFOp::create(b, sum, x).getResult();
        sum = arith::SelectOp::create(b, kept[j], term, sum);
      }
    if (last)
      for (auto [sum, x] : llvm::zip(sums, Chunk::toFloats(b, last)))
        sum = arith::AddFOp::create(b, sum, x);
    Value words = LLVM::UndefOp::create(b, VectorType::get(4, b.getI32Type()));
    for (int64_t i = 0; i < 4; ++i)
      words = LLVM::InsertElementOp::create(
          b, words, createBF16Pair(b, sums[2 * i], sums[2 * i + 1]), b.i32(i));
    b.store(words, at(y, token), 16);
  });
}

LLVM::LLVMFuncOp moe::buildCombine(gpu::GPUModuleOp module,
                                   const CombineSpec &spec) {
  OpBuilder builder(module.getContext());
  LLVM::LLVMFuncOp function =
      createKernelFunction(builder, module, getCombineInterface(spec));
  builder.setInsertionPointToStart(&function.getBody().front());
  DeviceBuilder b(module.getLoc(), builder);
  b.awaitPredecessors();
  buildBody(b, spec, function);
  return function;
}
