// Every warp of a CTA adds up the counts before its segment, 32 at a time; then
// the CTA writes the segment's rows.
#include "moe/Codegen/Regroup.h"
#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 128;

static KernelInterface pointersOnly(StringRef name,
                                    ArrayRef<StringRef> pointers) {
  KernelInterface interface;
  interface.name = name.str();
  interface.threads = threads;
  for (StringRef pointer : pointers)
    interface.parameters.push_back({pointer.str()});
  return interface;
}

static Value word(DeviceBuilder &b, Value array, Operand index) {
  return b.load(b.getI32Type(), b.atElement(array, b.getI32Type(), index));
}

static void setWord(DeviceBuilder &b, Value array, Operand index, Value value) {
  b.store(value, b.atElement(array, b.getI32Type(), index));
}

//===----------------------------------------------------------------------===//
// Counts
//===----------------------------------------------------------------------===//

int64_t moe::getCountsBlocks(const CountsSpec &spec) {
  return llvm::divideCeil(spec.count, threads);
}

KernelInterface moe::getCountsInterface(const CountsSpec &spec) {
  return pointersOnly(spec.name, {"offsets", "counts"});
}

LLVM::LLVMFuncOp moe::buildCounts(gpu::GPUModuleOp module,
                                  const CountsSpec &spec) {
  return buildKernel(module, getCountsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       Value i =
                           b.add(b.mul(b.blockId(), threads), b.threadId());
                       Value offsets = function.getArgument(0);
                       b.ifThen(b.less(i, spec.count), [&] {
                         Value size = b.sub(word(b, offsets, b.add(i, 1)),
                                            word(b, offsets, i));
                         setWord(b, function.getArgument(1), i, size);
                       });
                     });
}

//===----------------------------------------------------------------------===//
// Regroup
//===----------------------------------------------------------------------===//

LogicalResult moe::verifyRegroup(const RegroupSpec &spec,
                                 function_ref<InFlightDiagnostic()> emitError) {
  if (spec.sources < 1 || spec.slots < 1)
    return emitError() << "regrouping of " << spec.sources << " sources with "
                       << spec.slots << " slots, expected both positive";
  return success();
}

KernelInterface moe::getRegroupInterface(const RegroupSpec &spec) {
  return pointersOnly(spec.name, {"counts", "order", "offsets"});
}

static void buildRegroupBody(DeviceBuilder &b, const RegroupSpec &spec,
                             LLVM::LLVMFuncOp function) {
  Value counts = function.getArgument(0), order = function.getArgument(1),
        offsets = function.getArgument(2);
  int64_t segments = spec.sources * spec.slots;
  Value segment = b.blockId(), zero = b.i32(0);
  Value source = b.div(segment, spec.slots), slot = b.rem(segment, spec.slots);
  auto sums = b.loop(
      0, llvm::divideCeil(segments, 32), {zero, zero, zero},
      [&](Value round, ValueRange carried) -> SmallVector<Value> {
        Value i = b.add(b.mul(round, 32), b.lane());
        Value size = b.select(b.less(i, segments),
                              word(b, counts, b.min(i, segments - 1)), 0);
        Value otherSource = b.div(i, spec.slots),
              otherSlot = b.rem(i, spec.slots);
        Value sooner = b.less(otherSlot, slot);
        Value alike =
            b.both(b.equal(otherSlot, slot), b.less(otherSource, source));
        Value before = arith::OrIOp::create(b, sooner, alike);
        return {b.add(carried[0], b.select(b.less(i, segment), size, 0)),
                b.add(carried[1], b.select(before, size, 0)),
                b.add(carried[2], size)};
      });
  auto sumOverWarp = [&](Value value) {
    return b.reduce(value, [&](Value x, Value y) { return b.add(x, y); });
  };
  Value from = sumOverWarp(sums[0]), to = sumOverWarp(sums[1]);
  Value all = sumOverWarp(sums[2]), size = word(b, counts, segment);
  Value leader = b.equal(b.threadId(), 0);
  b.ifThen(b.both(leader, b.equal(source, 0)),
           [&] { setWord(b, offsets, slot, to); });
  b.ifThen(b.both(leader, b.equal(segment, 0)),
           [&] { setWord(b, offsets, spec.slots, all); });
  b.loop(0, b.ceilDiv(size, threads), {},
         [&](Value round, ValueRange) -> SmallVector<Value> {
           Value i = b.add(b.mul(round, threads), b.threadId());
           b.ifThen(b.less(i, size),
                    [&] { setWord(b, order, b.add(to, i), b.add(from, i)); });
           return {};
         });
}

LLVM::LLVMFuncOp moe::buildRegroup(gpu::GPUModuleOp module,
                                   const RegroupSpec &spec) {
  return buildKernel(module, getRegroupInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildRegroupBody(b, spec, function);
                     });
}

//===----------------------------------------------------------------------===//
// Words
//===----------------------------------------------------------------------===//

KernelInterface moe::getSetWordsInterface(const SetWordsSpec &spec) {
  KernelInterface interface = pointersOnly(spec.name, {"target"});
  interface.threads = 32;
  for (int64_t i = 0; i < spec.count; ++i)
    interface.parameters.push_back(
        {"word" + std::to_string(i), ParameterKind::Integer});
  return interface;
}

LLVM::LLVMFuncOp moe::buildSetWords(gpu::GPUModuleOp module,
                                    const SetWordsSpec &spec) {
  return buildKernel(module, getSetWordsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       b.ifThen(b.equal(b.threadId(), 0), [&] {
                         for (int64_t i = 0; i < spec.count; ++i)
                           setWord(b, function.getArgument(0), i,
                                   function.getArgument(1 + i));
                       });
                     });
}

KernelInterface moe::getZeroWordsInterface(const ZeroWordsSpec &spec) {
  KernelInterface interface = pointersOnly(spec.name, {"target"});
  interface.parameters.push_back({"count", ParameterKind::Integer});
  return interface;
}

LLVM::LLVMFuncOp moe::buildZeroWords(gpu::GPUModuleOp module,
                                     const ZeroWordsSpec &spec) {
  return buildKernel(
      module, getZeroWordsInterface(spec),
      [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
        Value step = b.mul(b.gridSize(), threads);
        Value count = function.getArgument(1);
        Value rounds = b.div(b.add(count, b.sub(step, 1)), step);
        Value first = b.add(b.mul(b.blockId(), threads), b.threadId());
        b.loop(0, rounds, {},
               [&](Value round, ValueRange) -> SmallVector<Value> {
                 Value i = b.add(b.mul(round, step), first);
                 b.ifThen(b.less(i, count), [&] {
                   setWord(b, function.getArgument(0), i, b.i32(0));
                 });
                 return {};
               });
      });
}
