// A thread takes eight columns (16 bytes) of a row at a time; sixteen
// neighbours find the scale of their 128 columns together.
#include "moe/Codegen/QuantizeRows.h"
#include "Chunk.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 256, blockColumns = 128;
/// Chunks of a thread, all on their way together: with one, a device takes
/// longer to begin the CTAs than to move the rows.
static constexpr int64_t together = 4;
/// Chunks of a block of columns.
static constexpr int64_t perBlock = blockColumns / chunk::elements;

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

static int64_t countChunks(const QuantizeRowsSpec &spec) {
  return perBlock * llvm::divideCeil(spec.columns, blockColumns);
}

KernelInterface moe::getQuantizeRowsInterface(const QuantizeRowsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  interface.grid = {"rows", 1, countChunks(spec), threads * together};
  interface.parameters.push_back({"x"});
  if (spec.indexed)
    interface.parameters.push_back({"index"});
  if (spec.groups)
    interface.parameters.push_back({"offsets"});
  interface.parameters.push_back({"y"});
  interface.parameters.push_back({"y_scale"});
  interface.parameters.push_back({"scale_rows", ParameterKind::Integer});
  interface.parameters.push_back({"rows", ParameterKind::Integer});
  return interface;
}

static void buildBody(DeviceBuilder &b, const QuantizeRowsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  auto arguments = function.getArguments();
  Value x = b.toGlobal(arguments[0]);
  Value rows = arguments.back(), scaleRows = arguments.drop_back().back();
  Value scales = b.toGlobal(arguments.drop_back(2).back());
  Value y = b.toGlobal(arguments.drop_back(3).back());
  if (spec.groups) {
    Value offsets = arguments[spec.indexed ? 2 : 1];
    rows =
        b.min(rows, b.load(b.getI32Type(),
                           b.atElement(offsets, b.getI32Type(), spec.groups)));
  }
  int64_t perRow = countChunks(spec);
  int64_t chunks = spec.columns / chunk::elements;
  struct Item {
    Value row, number, exists, words;
  };
  SmallVector<Item> items(together);
  Value first = b.add(b.mul(b.blockId(), threads * together), b.threadId());
  for (auto [i, item] : llvm::enumerate(items)) {
    Value index = b.add(first, i * threads);
    item.row = b.div(index, perRow);
    item.number = b.rem(index, perRow);
    Value isRow = b.less(item.row, rows);
    // Every thread takes part in the search; those past a row repeat its end,
    // which belongs to the last block of columns or is not stored.
    item.exists = b.both(isRow, b.less(item.number, chunks));
    Value from = b.select(isRow, item.row, 0);
    if (spec.indexed)
      from = b.div(b.load(b.getI32Type(),
                          b.atElement(arguments[1], b.getI32Type(), from)),
                   spec.divisor);
    // Without any row the index names none.
    if (spec.groups)
      from = b.select(isRow, from, 0);
    item.words = chunk::load(
        b, chunk::at(b, x, from, spec.columns, b.min(item.number, chunks - 1)));
  }
  for (const Item &item : items) {
    chunk::Quantized made = chunk::quantize(b, item.words);
    b.ifThen(item.exists, [&] {
      Value wide = arith::ExtUIOp::create(b, b.getI64Type(), item.row);
      Value offset = arith::MulIOp::create(b, wide, b.i64(spec.columns));
      b.store(made.codes, b.atByte(b.atByte(y, offset), b.shl(item.number, 3)),
              8);
      b.ifThen(b.equal(b.rem(item.number, perBlock), 0), [&] {
        Value block = b.div(item.number, perBlock);
        Value at = b.add(b.mul(block, scaleRows), item.row);
        b.store(made.scale, b.atElement(scales, b.getF32Type(), at));
      });
    });
  }
}

LLVM::LLVMFuncOp moe::buildQuantizeRows(gpu::GPUModuleOp module,
                                        const QuantizeRowsSpec &spec) {
  return buildKernel(module, getQuantizeRowsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, spec, function);
                     });
}
