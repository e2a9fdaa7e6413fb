// Kernels keep rows x width f32 accumulators in registers through a loop over
// K. In each step they load one row of the panel, ask for weights that will be
// needed later, then for each row of the tile broadcast one element and
// multiply-add it. Left alone, LLVM's scheduler moves the broadcasts of all
// rows to the front of the step and spills accumulators; an empty piece of
// assembly after each row, through which its accumulators pass, keeps the order
// as written. Where bf16 is multiplied in f32, a block of each row's values is
// widened into a buffer that stays in the first cache before the block's steps;
// those then broadcast f32 and widen nothing but the panel, once for all rows.
// A block is multiplied with one panel, or several one after the other, whose
// sums stand in memory from block to block.
// Twelve rows need all general registers: steps are counted from
// -steps to 0, upon pointers to where rows end, so that no register holds a
// bound, and panel and prefetch have a pointer each, which LLVM must not see
// through lest it makes them share an index.
// A round takes one step from each stream of a panel, and asks ahead once: a
// request a step costs a loop over cached panels 10 to 25 % (Zen 3).
#include "PanelKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/VectorMath.h"

using namespace mlir;
using namespace moe;

namespace {

class KernelBuilder {
public:
  KernelBuilder(ImplicitLocOpBuilder &b, const PanelKernel &kernel,
                LLVM::LLVMFuncOp function, int64_t rows)
      : b(b), kernel(kernel), rows(rows),
        vectors(kernel.tile.width / kernel.tile.lanes),
        pointer(LLVM::LLVMPointerType::get(b.getContext())),
        accumulator(VectorType::get(kernel.tile.lanes, b.getF32Type())),
        words(VectorType::get(kernel.tile.lanes, b.getI32Type())) {
    Block &entry = function.getBody().front();
    rowArray = entry.getArgument(0);
    panel = entry.getArgument(1);
    depth = entry.getArgument(2);
    tile = entry.getArgument(3);
    space = entry.getArgument(4);
    ahead = entry.getArgument(5);
    pace = kernel.tile.hasPace ? entry.getArgument(6)
                               : i64(kernel.aheadLines * kCacheLine);
    if (kernel.tile.blockBytes > 0)
      start = entry.getArgument(entry.getNumArguments() - 1);
  }

  void build() {
    if (kernel.widensRows)
      buildBlocks();
    else
      buildSteps();
    LLVM::ReturnOp::create(b, ValueRange());
  }

private:
  void buildSteps() {
    bool pairs = kernel.interleave() == 2;
    Value steps = pairs ? half(depth) : depth;
    // In the first block of the function, lest the frame needs a register.
    // Used only behind the loop, and often there, which would keep a register
    // through the loop.
    Value slot =
        LLVM::AllocaOp::create(b, pointer, pointer, i64(1), /*alignment=*/8);
    LLVM::StoreOp::create(b, tile, slot, 8, /*isVolatile=*/true);
    // Not used before the loop: while row ends are found, registers are few.
    Value paceSlot;
    if (kernel.tile.hasPace) {
      paceSlot = LLVM::AllocaOp::create(b, pointer, b.getI64Type(), i64(1),
                                        /*alignment=*/8);
      LLVM::StoreOp::create(b, pace, paceSlot, 8, /*isVolatile=*/true);
    }
    SmallVector<Value> sums = firstSums();
    if (pairs && kernel.rowElement.isBF16())
      findRowEnds(b.getI32Type(), fromStart(steps, /*ofPairs=*/true));
    else
      findRowEnds(kernel.rowElement, fromStart(depth, /*ofPairs=*/false));
    if (paceSlot)
      pace = LLVM::LoadOp::create(b, b.getI64Type(), paceSlot, 8,
                                  /*isVolatile=*/true);
    // Seen through, LLVM would count from 0 again.
    Value first =
        emptyAssembly(arith::SubIOp::create(b, i64(0), steps), "=r,0", "");
    findStreams(steps);
    for (int64_t other = 1; other < kernel.panelsTogether; ++other)
      otherPanels.push_back(
          arith::MulIOp::create(b, steps, i64(other * kernel.tile.width * 4)));
    sums = loop(first, i64(0), sums);
    if (pairs && kernel.streams == 1)
      sums = lastOfOddDepth(sums);
    tile = LLVM::LoadOp::create(b, pointer, slot, 8, /*isVolatile=*/true);
    for (int64_t index = 0; index < kernel.panelsTogether; ++index)
      storeSums(ArrayRef(sums).slice(index * rows * vectors, rows * vectors),
                at(tile, b.getF32Type(),
                   index * kernel.tile.rows * kernel.tile.width));
  }

  void buildBlocks() {
    ifFirst([&] {
      // Volatile, lest they become a call of memset.
      forPanels([&](Value, Value sumsOfPanel) {
        storeSums(SmallVector<Value>(rows * vectors, zeros()), sumsOfPanel,
                  /*isVolatile=*/true);
      });
    });
    findStreams(half(depth));
    Value firstPanel = panel, firstAhead = ahead;
    Value bytes = arith::MulIOp::create(b, depth, i64(kernel.tile.width * 2));
    auto blocks = scf::ForOp::create(b, i64(0), depth, i64(blockLength()));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(blocks.getBody());
    Value first = blocks.getInductionVar();
    Value count = arith::MinUIOp::create(
        b, arith::SubIOp::create(b, depth, first), i64(blockLength()));
    widenRows(fromStart(first, /*ofPairs=*/false), count);
    Value rounds =
        arith::DivUIOp::create(b, first, i64(2 * kernel.streams)).getResult();
    Value startBytes =
        arith::MulIOp::create(b, rounds, i64(kernel.tile.width * 4));
    Value startAhead = arith::MulIOp::create(b, rounds, pace);
    forPanels([&](Value index, Value sumsOfPanel) {
      Value offset = arith::MulIOp::create(b, index, bytes);
      auto within = [&](Value base, Value more) {
        return at(base, b.getI8Type(), arith::AddIOp::create(b, offset, more));
      };
      panel = within(firstPanel, startBytes);
      ahead = within(firstAhead, startAhead);
      storeSums(loop(i64(0), half(count), loadSums(sumsOfPanel)), sumsOfPanel);
    });
  }

  Value isFirst() {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, start, i64(0));
  }

  // `body`, unless sums have been begun.
  void ifFirst(function_ref<void()> body) {
    if (!start)
      return body();
    auto branch = scf::IfOp::create(b, isFirst());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    body();
  }

  SmallVector<Value> firstSums() {
    SmallVector<Value> none(kernel.panelsTogether * rows * vectors, zeros());
    if (!start)
      return none;
    assert(kernel.panelsTogether == 1 && "one panel's sums are loaded");
    auto branch = scf::IfOp::create(b, ValueRange(none).getTypes(), isFirst(),
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    scf::YieldOp::create(b, none);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, loadSums(tile));
    return llvm::to_vector(ValueRange(branch.getResults()));
  }

  // `count` from where the kernel's rows begin.
  Value fromStart(Value count, bool ofPairs) {
    if (!start)
      return count;
    return arith::AddIOp::create(b, ofPairs ? half(start) : start, count);
  }

  // `body` for each panel, with its sums.
  void forPanels(function_ref<void(Value, Value)> body) {
    if (kernel.panels == 1)
      return body(i64(0), tile);
    auto panels = scf::ForOp::create(b, i64(0), i64(kernel.panels), i64(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(panels.getBody());
    Value index = panels.getInductionVar();
    int64_t size = kernel.tile.rows * kernel.tile.width;
    body(index,
         at(tile, b.getF32Type(), arith::MulIOp::create(b, index, i64(size))));
  }

  Value zeros() {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(accumulator, b.getF32FloatAttr(0.0f)));
  }
  Value half(Value count) { return arith::ShRUIOp::create(b, count, i64(1)); }

  SmallVector<Value> loadSums(Value from) {
    SmallVector<Value> sums;
    for (int64_t index = 0; index < rows * vectors; ++index)
      sums.push_back(load(accumulator,
                          at(from, b.getF32Type(), index * kernel.tile.lanes),
                          vectorBytes()));
    return sums;
  }
  void storeSums(ArrayRef<Value> sums, Value to, bool isVolatile = false) {
    for (auto [index, sum] : llvm::enumerate(sums))
      LLVM::StoreOp::create(b, sum,
                            at(to, b.getF32Type(), index * kernel.tile.lanes),
                            vectorBytes(), isVolatile);
  }

  unsigned vectorBytes() const { return kernel.tile.lanes * 4; }
  Value i64(int64_t value) {
    return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
  }
  Value load(Type type, Value address, unsigned alignment) {
    return LLVM::LoadOp::create(b, type, address, alignment);
  }
  Value at(Value base, Type element, int64_t index) {
    return LLVM::GEPOp::create(
        b, pointer, element, base,
        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
  }
  Value at(Value base, Type element, Value index) {
    return LLVM::GEPOp::create(b, pointer, element, base, ValueRange{index});
  }
  Value broadcast(Value scalar, VectorType type) {
    return vector::BroadcastOp::create(b, type, scalar);
  }

  // Where streams begin behind the panel's first, in bytes.
  void findStreams(Value steps) {
    for (int64_t stream = 1; stream < kernel.streams; ++stream)
      streams.push_back(arith::MulIOp::create(
          b, arith::DivUIOp::create(b, steps, i64(kernel.streams)),
          i64(stream * kernel.tile.width * 4)));
  }

  void findRowEnds(Type ofStep, Value steps) {
    for (int64_t r = 0; r < rows; ++r)
      rowEnds.push_back(at(rowPointer(r), ofStep, steps));
  }
  Value rowPointer(int64_t r) {
    return load(pointer, at(rowArray, pointer, r), 8);
  }

  // Steps `from` to `to` by rounds, from `panel` and `ahead` on, which move
  // along.
  SmallVector<Value> loop(Value from, Value to, ArrayRef<Value> sums) {
    SmallVector<Value> carried(sums);
    carried.append({panel, ahead});
    auto loop = scf::ForOp::create(b, from, to, i64(kernel.streams), carried);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      SmallVector<Value> next(loop.getRegionIterArgs());
      ahead = emptyAssembly(next.pop_back_val(), "=r,0", "");
      panel = emptyAssembly(next.pop_back_val(), "=r,0", "");
      askAhead();
      Value first = panel, index = loop.getInductionVar();
      stepOfPanels(next, index, /*last=*/false);
      for (auto [passed, offset] : llvm::enumerate(streams)) {
        panel = at(first, b.getI8Type(), offset);
        stepOfPanels(next, arith::AddIOp::create(b, index, i64(passed + 1)),
                     /*last=*/false);
      }
      panel = first;
      next.push_back(at(panel, b.getF32Type(), kernel.tile.width));
      next.push_back(at(ahead, b.getI8Type(), pace));
      scf::YieldOp::create(b, next);
    }
    SmallVector<Value> results(loop.getResults());
    ahead = results.pop_back_val();
    panel = results.pop_back_val();
    return results;
  }

  // Values of each row that are widened at once.
  int64_t blockLength() const {
    return llvm::bit_floor(static_cast<uint64_t>(kWidenedValues / rows));
  }

  // `count` values of each row from `start` on.
  void widenRows(Value start, Value count) {
    auto halves = VectorType::get(kernel.tile.lanes, b.getI16Type());
    auto chunks = scf::ForOp::create(b, i64(0), count, i64(kernel.tile.lanes));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(chunks.getBody());
    Value index = chunks.getInductionVar();
    Value from = arith::AddIOp::create(b, start, index);
    for (int64_t r = 0; r < rows; ++r) {
      Value values = load(halves, at(rowPointer(r), b.getI16Type(), from), 2);
      Value wide = widenHalf(arith::ExtUIOp::create(b, words, values), 0);
      LLVM::StoreOp::create(b, wide, at(widened(r), b.getF32Type(), index),
                            vectorBytes());
    }
  }

  Value widened(int64_t r) {
    return at(space, b.getF32Type(), r * blockLength());
  }

  // A pair of an odd K has no second value, and none may be read.
  SmallVector<Value> lastOfOddDepth(ArrayRef<Value> sums) {
    Value odd = arith::TruncIOp::create(b, b.getI1Type(), depth);
    auto branch = scf::IfOp::create(b, ValueRange(sums).getTypes(), odd,
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> next(sums);
    stepOfPanels(next, i64(0), /*last=*/true);
    scf::YieldOp::create(b, next);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, sums);
    return llvm::to_vector(ValueRange(branch.getResults()));
  }

  // A step with each of the panels that are taken together.
  void stepOfPanels(SmallVectorImpl<Value> &sums, Value index, bool last) {
    if (otherPanels.empty())
      return step(sums, index, last);
    Value first = panel;
    for (int64_t which = 0; which < kernel.panelsTogether; ++which) {
      if (which > 0)
        panel = at(first, b.getI8Type(), otherPanels[which - 1]);
      auto *begin = sums.begin() + which * rows * vectors;
      SmallVector<Value> ofPanel(begin, begin + rows * vectors);
      step(ofPanel, index, last);
      llvm::copy(ofPanel, begin);
    }
    panel = first;
  }

  // `index` counts steps back from the end of the rows.
  void step(SmallVectorImpl<Value> &sums, Value index, bool last) {
    if (kernel.panelElement.isF32())
      return multiply(sums, panelRow(accumulator),
                      [&](int64_t r) { return element(r, index); });
    if (kernel.widensRows)
      return multiplyWidened(sums, index);
    if (kernel.tile.bf16Dot && !kernel.scaled)
      return multiplyPairs(sums, panelRow(words), index, last);
    Value first = arith::ShLIOp::create(b, index, i64(1));
    multiply(sums, widen(panelRow(words), 0),
             [&](int64_t r) { return rowOfPair(r, index, first, 0, last); });
    if (last)
      return;
    Value second = arith::AddIOp::create(b, first, i64(1));
    multiply(sums, widen(panelRow(words), 1),
             [&](int64_t r) { return rowOfPair(r, index, second, 1, last); });
  }

  // One step's row of the panel: a vector of f32, or of pairs of bf16.
  SmallVector<Value> panelRow(VectorType type) {
    SmallVector<Value> row;
    for (int64_t v = 0; v < vectors; ++v)
      row.push_back(load(type, at(panel, b.getF32Type(), v * kernel.tile.lanes),
                         vectorBytes()));
    return row;
  }

  // Few rows wait for memory, and have it sooner when it comes all the way,
  // unless the processor says otherwise. Many rows compute meanwhile, with a
  // panel that stands in the second cache: lines on their way from memory to
  // the first one would keep it waiting.
  void askAhead() {
    constexpr int64_t manyRows = 6, firstCache = 3, secondCache = 2;
    bool isFirst = kernel.tile.aheadInFirstCache && rows < manyRows;
    for (int64_t line = 0; line < kernel.aheadLines; ++line)
      LLVM::Prefetch::create(b, at(ahead, b.getI8Type(), line * kCacheLine),
                             /*rw=*/0, isFirst ? firstCache : secondCache,
                             /*cache=*/1);
  }

  void multiplyWidened(SmallVectorImpl<Value> &sums, Value pair) {
    Value first = arith::ShLIOp::create(b, pair, i64(1));
    for (int half : {0, 1})
      multiply(sums, widen(panelRow(words), half), [&](int64_t r) {
        Value element = at(widened(r), b.getF32Type(), first);
        return broadcast(
            load(b.getF32Type(), at(element, b.getF32Type(), half), 4),
            accumulator);
      });
  }

  // Halves of pairs as f32: the low half first.
  Value widenHalf(Value pairs, int half) {
    Type type = pairs.getType();
    auto splat = [&](int32_t value) -> Value {
      Attribute scalar = b.getI32IntegerAttr(value);
      return arith::ConstantOp::create(
          b, DenseElementsAttr::get(cast<VectorType>(type), scalar));
    };
    Value bits = half ? arith::AndIOp::create(
                            b, pairs, splat(static_cast<int32_t>(0xffff0000)))
                            .getResult()
                      : arith::ShLIOp::create(b, pairs, splat(16)).getResult();
    return arith::BitcastOp::create(b, accumulator, bits);
  }
  SmallVector<Value> widen(ArrayRef<Value> pairs, int half) {
    return llvm::map_to_vector(
        pairs, [&](Value pair) { return widenHalf(pair, half); });
  }

  // Element `index` of row r as f32 in all lanes, weighted.
  Value element(int64_t r, Value index) {
    bool isF32 = kernel.rowElement.isF32();
    Value address = at(rowEnds[r], kernel.rowElement, index);
    if (kernel.scaled) {
      Value value = toF32(b, load(kernel.rowElement, address, isF32 ? 4 : 2));
      value = arith::MulFOp::create(
          b, value, load(b.getF32Type(), at(space, b.getF32Type(), r), 4));
      return broadcast(toF32(b, fromF32(b, value, kernel.rowElement)),
                       accumulator);
    }
    if (isF32)
      return broadcast(load(kernel.rowElement, address, 4), accumulator);
    // Both halves of each lane hold the element; widening takes the low one. No
    // general register is needed.
    Value halves =
        broadcast(load(b.getI16Type(), address, 2),
                  VectorType::get(2 * kernel.tile.lanes, b.getI16Type()));
    return widenHalf(vector::BitCastOp::create(b, words, opaque(halves)), 0);
  }

  Value rowOfPair(int64_t r, Value pair, Value index, int half, bool last) {
    if (kernel.scaled || last || kernel.rowElement.isF32())
      return element(r, index);
    // Seen through, the shift would move before the broadcast, out of the
    // vector unit.
    return widenHalf(opaque(broadcast(pairOfRow(r, pair, last), words)), half);
  }

  Value pairOfRow(int64_t r, Value pair, bool last) {
    Value address = at(rowEnds[r], b.getI32Type(), pair);
    if (last)
      return arith::ExtUIOp::create(b, b.getI32Type(),
                                    load(b.getI16Type(), address, 2));
    return load(b.getI32Type(), address, 2);
  }

  void multiply(SmallVectorImpl<Value> &sums, ArrayRef<Value> row,
                function_ref<Value(int64_t)> value) {
    for (int64_t r = 0; r < rows; ++r) {
      Value factor = value(r);
      for (int64_t v = 0; v < vectors; ++v)
        sums[r * vectors + v] =
            vector::FMAOp::create(b, factor, row[v], sums[r * vectors + v]);
      keepOrder(sums, r);
    }
  }

  // The instruction takes subnormal numbers as 0, in its factors and its sum.
  void multiplyPairs(SmallVectorImpl<Value> &sums, ArrayRef<Value> row,
                     Value index, bool last) {
    auto bf16s = VectorType::get(2 * kernel.tile.lanes, b.getBF16Type());
    auto cast = [&](Value pairs) -> Value {
      return LLVM::BitcastOp::create(b, bf16s, pairs);
    };
    for (int64_t r = 0; r < rows; ++r) {
      Value factor = cast(broadcast(pairOfRow(r, index, last), words));
      for (int64_t v = 0; v < vectors; ++v) {
        Value &sum = sums[r * vectors + v];
        sum = LLVM::CallIntrinsicOp::create(
                  b, accumulator,
                  b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
                  ValueRange{sum, factor, cast(row[v])})
                  .getResult(0);
      }
      keepOrder(sums, r);
    }
  }

  void keepOrder(SmallVectorImpl<Value> &sums, int64_t r) {
    for (Value &sum : MutableArrayRef<Value>(sums).slice(r * vectors, vectors))
      sum = emptyAssembly(sum, inVector(), "~{memory}");
  }
  Value opaque(Value vector) { return emptyAssembly(vector, inVector(), ""); }
  StringRef inVector() const {
    return kernel.tile.lanes == 16 ? "=v,0" : "=x,0";
  }

  Value emptyAssembly(Value value, StringRef place, StringRef clobber) {
    std::string constraints = place.str();
    if (!clobber.empty())
      constraints += "," + clobber.str();
    auto assembly = LLVM::InlineAsmOp::create(
        b, TypeRange(value.getType()), ValueRange(value), "", constraints,
        /*has_side_effects=*/!clobber.empty(), /*is_align_stack=*/false,
        LLVM::TailCallKind::None,
        /*asm_dialect=*/LLVM::AsmDialectAttr(), /*operand_attrs=*/ArrayAttr());
    return assembly.getResult(0);
  }

  ImplicitLocOpBuilder &b;
  const PanelKernel &kernel;
  int64_t rows, vectors;
  LLVM::LLVMPointerType pointer;
  VectorType accumulator, words;
  Value rowArray, panel, depth, tile, space, ahead, pace;
  Value start; // null: 0
  SmallVector<Value> rowEnds, streams, otherPanels;
};

} // namespace

static std::string kernelName(const PanelKernel &kernel, int64_t rows) {
  auto word = [](Type type) { return type.isF32() ? "f32" : "bf16"; };
  std::string name = "moe_panel_" + std::string(word(kernel.rowElement));
  if (kernel.rowElement != kernel.panelElement)
    name += std::string("_") + word(kernel.panelElement);
  name += "_" + std::to_string(rows) + "x" + std::to_string(kernel.tile.width);
  if (kernel.scaled)
    name += "_scaled";
  if (kernel.widensRows)
    name += "_wide";
  if (kernel.panelsTogether > 1)
    name += "_with" + std::to_string(kernel.panelsTogether);
  else if (kernel.panels > 1)
    name += "_by" + std::to_string(kernel.panels);
  if (kernel.streams > 1)
    name += "_from" + std::to_string(kernel.streams);
  return name + "_ahead" + std::to_string(kernel.aheadLines);
}

LLVM::LLVMFuncOp moe::getPanelKernel(ModuleOp module, const PanelKernel &kernel,
                                     int64_t rows) {
  std::string name = kernelName(kernel, rows);
  if (auto existing = module.lookupSymbol<LLVM::LLVMFuncOp>(name))
    return existing;
  ImplicitLocOpBuilder b(UnknownLoc::get(module.getContext()),
                         module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  SmallVector<Type> arguments = {pointer, pointer, b.getI64Type(),
                                 pointer, pointer, pointer};
  if (kernel.tile.hasPace)
    arguments.push_back(b.getI64Type());
  if (kernel.tile.blockBytes > 0)
    arguments.push_back(b.getI64Type());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), arguments);
  auto function =
      LLVM::LLVMFuncOp::create(b, name, type, LLVM::Linkage::Internal);
  // In a function of their own, kernels have all registers for themselves.
  function.setNoInline(true);
  b.setInsertionPointToStart(function.addEntryBlock(b));
  KernelBuilder(b, kernel, function, rows).build();
  return function;
}
