// One thread per eight columns where both sides have whole chunks of bf16, else
// per element.
#include "moe/Codegen/PackRows.h"
#include "Chunk.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 256, blockRows = 8, blockColumns = 64;

static int64_t perThread(const PackRowsSpec &spec) {
  bool whole = spec.columns % chunk::elements == 0 &&
               spec.paddedColumns % chunk::elements == 0;
  return whole && !spec.sourceF32 && !spec.targetF32 ? chunk::elements : 1;
}

static int64_t items(const PackRowsSpec &spec) {
  return spec.groups * spec.parts * spec.paddedRows *
         (spec.paddedColumns / perThread(spec));
}

LogicalResult
moe::verifyPackRows(const PackRowsSpec &spec,
                    function_ref<InFlightDiagnostic()> emitError) {
  if (spec.groups < 1 || spec.rows < 1 || spec.columns < 1)
    return emitError() << "packing of " << spec.groups << " groups of "
                       << spec.rows << " rows of " << spec.columns
                       << " columns, expected all positive";
  if (spec.parts != 1 && spec.parts != 2)
    return emitError() << "packing of " << spec.parts
                       << " parts, expected 1 or 2";
  if (spec.paddedRows < spec.rows || spec.paddedColumns < spec.columns)
    return emitError() << "packing of " << spec.rows << " x " << spec.columns
                       << " into " << spec.paddedRows << " x "
                       << spec.paddedColumns << ", expected no fewer";
  if (spec.parts == 2 && spec.paddedRows % blockRows)
    return emitError() << "two parts of " << spec.paddedRows
                       << " rows, expected a multiple of 8 such as "
                       << llvm::alignTo(spec.paddedRows, blockRows);
  if (spec.blocked && (spec.paddedRows % blockRows ||
                       spec.paddedColumns % blockColumns || spec.targetF32))
    return emitError() << "blocks of " << spec.paddedRows << " x "
                       << spec.paddedColumns
                       << (spec.targetF32 ? " f32" : " bf16")
                       << ", expected bf16 in whole blocks such as "
                       << llvm::alignTo(spec.paddedRows, blockRows) << " x "
                       << llvm::alignTo(spec.paddedColumns, blockColumns);
  if (items(spec) > INT32_MAX - threads)
    return emitError() << "packing writes " << items(spec)
                       << " pieces, expected at most " << INT32_MAX - threads;
  return success();
}

int64_t moe::getPackRowsBlocks(const PackRowsSpec &spec) {
  return llvm::divideCeil(items(spec), threads);
}

KernelInterface moe::getPackRowsInterface(const PackRowsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  interface.parameters.push_back({"source"});
  interface.parameters.push_back({"target"});
  return interface;
}

static void buildBody(DeviceBuilder &b, const PackRowsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  Value source = b.toGlobal(function.getArgument(0));
  Value target = b.toGlobal(function.getArgument(1));
  int64_t step = perThread(spec), pieces = spec.paddedColumns / step;
  Value item = b.add(b.mul(b.blockId(), threads), b.threadId());
  // Element `row * pitch + column`, in 64 bits.
  auto at = [&](Value base, Value row, int64_t pitch, Value column,
                bool isF32) {
    Type i64 = b.getI64Type();
    Value wide = arith::MulIOp::create(b, arith::ExtUIOp::create(b, i64, row),
                                       b.i64(pitch));
    wide =
        arith::AddIOp::create(b, wide, arith::ExtUIOp::create(b, i64, column));
    return b.atElement(base, isF32 ? b.getF32Type() : Type(b.getI16Type()),
                       wide);
  };
  b.ifThen(b.less(item, items(spec)), [&] {
    Value row = b.div(item, pieces);
    Value column = b.mul(b.rem(item, pieces), step);
    int64_t perGroup = spec.parts * spec.paddedRows;
    Value group = b.div(row, perGroup), inGroup = b.rem(row, perGroup);
    Value part = b.i32(0), inPart = inGroup;
    if (spec.parts == 2) {
      part = b.bitAnd(b.div(inGroup, blockRows), 1);
      inPart = b.add(b.mul(b.div(inGroup, 2 * blockRows), blockRows),
                     b.rem(inGroup, blockRows));
    }
    Value sourceRow =
        b.add(b.mul(b.add(b.mul(group, spec.parts), part), spec.rows), inPart);
    Value exists =
        b.both(b.less(inPart, spec.rows), b.less(column, spec.columns));
    Value to;
    if (spec.blocked) {
      // A block is a row of 8 x 64 elements.
      Value block =
          b.add(b.mul(b.div(row, blockRows), spec.paddedColumns / blockColumns),
                b.div(column, blockColumns));
      Value inBlock = b.add(b.mul(b.rem(row, blockRows), blockColumns),
                            b.rem(column, blockColumns));
      to = at(target, block, blockRows * blockColumns, inBlock, spec.targetF32);
    } else {
      to = at(target, row, spec.paddedColumns, column, spec.targetF32);
    }
    b.ifElse(
        exists,
        [&] {
          Value from =
              at(source, sourceRow, spec.columns, column, spec.sourceF32);
          if (step != 1)
            return chunk::store(b, chunk::load(b, from), to);
          chunk::storeFloat(b, chunk::loadFloat(b, from, spec.sourceF32), to,
                            spec.targetF32);
        },
        [&] {
          Value zero = b.f32(0.0f);
          if (step == 1)
            return chunk::storeFloat(b, zero, to, spec.targetF32);
          SmallVector<Value> zeros(chunk::elements, zero);
          chunk::store(b, chunk::fromFloats(b, zeros), to);
        });
  });
}

LLVM::LLVMFuncOp moe::buildPackRows(gpu::GPUModuleOp module,
                                    const PackRowsSpec &spec) {
  return buildKernel(module, getPackRowsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, spec, function);
                     });
}
