// One thread per row and eight columns (16 bytes); sixteen neighbours find the
// scale of their 128 columns together.
#include "moe/Codegen/QuantizeRows.h"
#include "Chunk.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 128, blockColumns = 128;

LogicalResult
moe::verifyQuantizeRows(const QuantizeRowsSpec &spec,
                        function_ref<InFlightDiagnostic()> emitError) {
  if (spec.columns < 1 || spec.columns % 16)
    return emitError() << "rows of " << spec.columns
                       << " columns are quantized, expected a positive "
                          "multiple of 16 such as "
                       << llvm::alignTo(std::max<int64_t>(spec.columns, 1), 16);
  if (spec.groups < 0)
    return emitError() << "rows of " << spec.groups
                       << " groups are quantized, expected at least 1, or 0 "
                          "where all rows exist";
  if (spec.divisor < 1 || (spec.divisor != 1 && !spec.indexed))
    return emitError() << "index is divided by " << spec.divisor
                       << ", expected "
                       << (spec.indexed ? "a positive number"
                                        : "1 without an index");
  return success();
}

int64_t moe::getQuantizeRowsBlocks(const QuantizeRowsSpec &spec) {
  return llvm::divideCeil(spec.columns, threads * chunk::elements);
}

KernelInterface moe::getQuantizeRowsInterface(const QuantizeRowsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  interface.parameters.push_back({"x"});
  if (spec.indexed)
    interface.parameters.push_back({"index"});
  if (spec.groups)
    interface.parameters.push_back({"offsets"});
  interface.parameters.push_back({"y"});
  interface.parameters.push_back({"y_scale"});
  interface.parameters.push_back({"scale_rows", ParameterKind::Integer});
  return interface;
}

/// Bits of the largest magnitude among two-byte floats in words, as those of an
/// f32: the order of bf16 without signs is that of integers.
static Value largestMagnitude(DeviceBuilder &b, Value words) {
  Value most = b.i32(0);
  for (int64_t i = 0; i < 4; ++i) {
    Value word = LLVM::ExtractElementOp::create(b, words, b.i32(i));
    most = b.max(most, b.bitAnd(word, 0x7FFF0000));
    most = b.max(most, b.bitAnd(b.shl(word, 16), 0x7FFF0000));
  }
  for (int64_t distance : {1, 2, 4, 8})
    most = b.max(most, NVVM::ShflOp::create(b, b.getI32Type(), b.i32(-1), most,
                                            b.i32(distance), b.i32(31),
                                            NVVM::ShflKind::bfly, UnitAttr()));
  return most;
}

static void buildBody(DeviceBuilder &b, const QuantizeRowsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  auto arguments = function.getArguments();
  Value x = b.toGlobal(arguments[0]);
  Value y = b.toGlobal(arguments.drop_back(2).back());
  Value scales = b.toGlobal(arguments.drop_back().back());
  Value scaleRows = arguments.back();
  int64_t parts = getQuantizeRowsBlocks(spec);
  int64_t chunks = spec.columns / chunk::elements;
  Value row = b.div(b.blockId(), parts);
  Value number = b.add(b.mul(b.rem(b.blockId(), parts), threads), b.threadId());
  // Every thread takes part in the search; those past the row repeat its end,
  // which belongs to the last block of columns or is not stored.
  Value exists = b.less(number, chunks);
  Value from = row;
  if (spec.indexed)
    from = b.div(
        b.load(b.getI32Type(), b.atElement(arguments[1], b.getI32Type(), row)),
        spec.divisor);
  if (spec.groups) {
    Value offsets = arguments[spec.indexed ? 2 : 1];
    Value rows = b.load(b.getI32Type(),
                        b.atElement(offsets, b.getI32Type(), spec.groups));
    Value isRow = b.less(row, rows);
    from = b.select(isRow, from, 0);
    exists = b.both(exists, isRow);
  }
  Value words = chunk::load(
      b, chunk::at(b, x, from, spec.columns, b.min(number, chunks - 1)));
  QuantizedScale scale = createQuantizedScale(b, largestMagnitude(b, words));
  b.ifThen(exists, [&] {
    SmallVector<Value> floats = chunk::toFloats(b, words);
    Value codes = LLVM::UndefOp::create(b, VectorType::get(2, b.getI32Type()));
    auto pair = [&](int64_t first) {
      return createE4M3Pair(
          b, arith::MulFOp::create(b, floats[first], scale.inverse),
          arith::MulFOp::create(b, floats[first + 1], scale.inverse));
    };
    for (int64_t i = 0; i < 2; ++i) {
      Value word = b.bitOr(pair(4 * i), b.shl(pair(4 * i + 2), 16));
      codes = LLVM::InsertElementOp::create(b, codes, word, b.i32(i));
    }
    Value wide = arith::ExtUIOp::create(b, b.getI64Type(), row);
    Value offset = arith::MulIOp::create(b, wide, b.i64(spec.columns));
    b.store(codes, b.atByte(b.atByte(y, offset), b.shl(number, 3)), 8);
    int64_t perBlock = blockColumns / chunk::elements;
    b.ifThen(b.equal(b.rem(number, perBlock), 0), [&] {
      Value at = b.add(b.mul(b.div(number, perBlock), scaleRows), row);
      b.store(scale.value, b.atElement(scales, b.getF32Type(), at));
    });
  });
}

LLVM::LLVMFuncOp moe::buildQuantizeRows(gpu::GPUModuleOp module,
                                        const QuantizeRowsSpec &spec) {
  return buildKernel(module, getQuantizeRowsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, spec, function);
                     });
}
