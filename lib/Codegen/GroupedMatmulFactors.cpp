#include "GroupedMatmulFactors.h"

#include "GroupedMatmulFp8.h"
#include "dialects/Hopper/HopperDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Scales of nothing but zeros are below.
static constexpr float leastScale = 1e-25f;

/// Entries are those of the tile's tokens, then those of its weights, as
/// factors are ordered: thread t has t, t + threads, ...
TileFactors::TileFactors(DeviceBuilder &b, const GroupedMatmulSpec &spec,
                         const ScaleParameters &scales, OutputTile tile)
    : b(b), spec(spec), kBlocks(llvm::divideCeil(spec.k, scaleBlock)) {
  int64_t threads = getFactorThreads(spec);
  int64_t all = spec.tileTokens + getWeightFactors(spec);
  Value thread = b.sub(b.threadId(), 128 - threads);
  Value lastToken = b.sub(tile.end, 1);
  Value x = b.toGlobal(scales.x), w = b.toGlobal(scales.w);
  int64_t groups = spec.isPaired() ? 2 : 1;
  int64_t blocks = llvm::divideCeil(spec.n / groups, scaleBlock);
  for (int64_t first = 0; first < all; first += threads) {
    Entry entry;
    entry.number = b.add(thread, first);
    // Rows that do not live repeat the last one's.
    Value row = b.min(b.add(tile.row, entry.number), lastToken);
    if (scales.index)
      row = b.div(b.load(b.getI32Type(),
                         b.atElement(scales.index, b.getI32Type(), row)),
                  spec.gatherDivisor);
    Value ofTokens = b.atElement(x, b.getF32Type(), row);
    // Weight rows of gate and up alternate by eight: a block of each.
    Value part = b.max(b.sub(entry.number, spec.tileTokens), 0);
    Value group = tile.expert, block = b.div(tile.column, groups * scaleBlock);
    if (spec.isPaired())
      group = b.add(b.mul(group, 2), b.min(part, 1));
    else
      block = b.add(block, part);
    Value matrixRow = b.add(b.mul(group, blocks), b.min(block, blocks - 1));
    Value ofWeights = b.atElement(w, b.getF32Type(), b.mul(matrixRow, kBlocks));
    Value isToken = b.less(entry.number, spec.tileTokens);
    entry.base = arith::SelectOp::create(b, isToken, ofTokens, ofWeights);
    entry.stride = b.select(isToken, scales.rows, 1);
    entries.push_back(entry);
  }
}

Value TileFactors::load(const Entry &entry, Value block) {
  Value at = b.mul(b.min(block, kBlocks - 1), entry.stride);
  return b.load(b.getF32Type(), b.atElement(entry.base, b.getF32Type(), at));
}

/// Where a block is all zeros the unit stays, whatever its scale says: ratios
/// of such scales would exceed f32.
static Value takeUnit(DeviceBuilder &b, Value scale, Value before) {
  Value counts = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, scale,
                                       b.f32(leastScale));
  return arith::SelectOp::create(b, counts, scale, before);
}

SmallVector<Value> TileFactors::begin() {
  SmallVector<Value> units;
  for (const Entry &entry : entries)
    units.push_back(takeUnit(b, load(entry, b.i32(0)), b.f32(1.0f)));
  for (const Entry &entry : entries)
    units.push_back(load(entry, b.i32(1)));
  return units;
}

/// The scales two blocks on: they come while stages are waited for.
SmallVector<Value> TileFactors::ask(Value block) {
  SmallVector<Value> asked;
  for (const Entry &entry : entries)
    asked.push_back(load(entry, b.add(block, 2)));
  return asked;
}

SmallVector<Value> TileFactors::write(Value factors, Value position,
                                      Value block, ValueRange carried,
                                      ValueRange asked) {
  int64_t all = spec.tileTokens + getWeightFactors(spec);
  Value isLast = b.equal(block, kBlocks - 1);
  SmallVector<Value> next;
  for (auto [i, entry] : llvm::enumerate(entries)) {
    Value unit = carried[i];
    Value after = takeUnit(b, carried[entries.size() + i], unit);
    Value ratio = arith::MulFOp::create(
        b, unit, NVVM::RcpApproxFtzF32Op::create(b, b.getF32Type(), after));
    Value factor = arith::SelectOp::create(b, isLast, unit, ratio);
    b.ifThen(b.less(entry.number, all), [&, number = entry.number] {
      WriteFactorOp::create(b, factor, factors, position, number);
    });
    next.push_back(after);
  }
  llvm::append_range(next, asked);
  return next;
}
