// Work items are the panels of groups that have rows, so that each weight is
// read by one thread and once; within an item, the rows of the panel's group
// are cut evenly into tiles of at most `tile.rows`. A product with few panels
// is cut into tiles of rows instead. Kernels leave a tile's sums on the stack,
// where the end of the product takes them up row by row.
//
// While a thread computes with one panel, it prefetches its next one, so that
// memory works beside the vector unit. A single tile asks for all of it.
// Several tiles share it evenly where kernels have a pace; otherwise the first
// ones ask for an equal part each.
//
// Where the tile says so, an item is a run of neighbouring panels. Rows that
// are widened are kept for all panels of their group if they are few enough,
// and are widened once for a run otherwise. A group of very few rows takes two
// panels of a run at once.
#include "PanelProduct.h"
#include "PanelKernels.h"
#include "Team.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/VectorMath.h"

using namespace mlir;
using namespace moe;

// Do `panels` and the element types suit the tile's kernels?
static bool isPackedFor(const CpuTile &tile, PanelsAttr panels, Type lhs,
                        Type weight) {
  Type rows = getElementTypeOrSelf(lhs), columns = getElementTypeOrSelf(weight);
  bool elements = columns.isF32() ? rows.isF32() || rows.isBF16()
                                  : columns.isBF16() && rows.isBF16();
  return elements && panels.getWidth() == tile.width &&
         panels.getPartWidth() % tile.lanes == 0 &&
         panels.getInterleave() == (columns.isBF16() ? 2 : 1) &&
         (panels.getStreams() == 1 || tile.hasPace);
}

LogicalResult moe::matchPanels(PatternRewriter &rewriter, Operation *op,
                               const CpuTile &tile,
                               std::optional<PanelsAttr> panels, Value lhs,
                               Value weight, Value outs) {
  if (!panels || !outs)
    return rewriter.notifyMatchFailure(op,
                                       "a packed weight and outs are expected");
  if (!hasIdentityLayouts(op) ||
      !isPackedFor(tile, *panels, lhs.getType(), weight.getType()))
    return rewriter.notifyMatchFailure(
        op,
        "a weight packed for this target and identity layouts are expected");
  return success();
}

Value moe::loadColumns(ImplicitLocOpBuilder &b, Value buffer,
                       ValueRange position, Value mask, int64_t lanes) {
  auto type = VectorType::get(
      lanes, cast<MemRefType>(buffer.getType()).getElementType());
  if (!mask)
    return vector::LoadOp::create(b, type, buffer, position);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b, type, buffer, position, mask, zero);
}

void moe::storeColumns(ImplicitLocOpBuilder &b, Value vector, Value buffer,
                       ValueRange position, Value mask) {
  if (mask)
    vector::MaskedStoreOp::create(b, buffer, position, mask, vector);
  else
    vector::StoreOp::create(b, vector, buffer, position);
}

namespace {

class ProductBuilder {
public:
  ProductBuilder(ImplicitLocOpBuilder &b, ModuleOp module,
                 const PanelProduct &given,
                 function_ref<void(const PanelSums &)> finish)
      : b(b), module(module), product(given), panels(product.panels),
        finish(finish), pointer(LLVM::LLVMPointerType::get(b.getContext())) {}

  void build() {
    // Weighting rows takes registers that twelve rows do not leave.
    if (product.rowWeights)
      product.tile.rows = std::min<int64_t>(product.tile.rows, 8);
    const CpuTile &tile = product.tile;
    // A single group of few panels leaves threads without work: share out its
    // rows.
    constexpr int64_t enoughPanels = 16;
    sharesRows =
        panels.getGroups() == 1 && panels.getPanelsPerGroup() < enoughPanels;
    panelsAtOnce = sharesRows ? 1 : panelsOfRun();
    if (widensRows() && !sharesRows)
      keptRows = tile.keptBytes / (panels.getDepth() * sizeof(float));
    if (panelsAtOnce > 1)
      fewRows = widensRows() ? std::min(tile.fewRows, keptRows) : tile.fewRows;
    sums =
        stackOf(b, b.getF32Type(), panelsAtOnce * tile.rows * tile.width, 64);
    rowPointers = stackOf(b, pointer, tile.rows, 64);
    space = product.rowWeights ? stackOf(b, b.getF32Type(), tile.rows, 64)
            : widensRows()     ? stackOf(b, b.getF32Type(), kWidenedValues, 64)
                               : rowPointers;
    if (keptRows > 0) {
      kept = stackOf(b, b.getF32Type(), keptRows * panels.getDepth(), 64);
      LLVM::LifetimeStartOp::create(b, kept);
    }
    lhsPointer = pointerTo(b, product.lhs);
    weightPointer = pointerTo(b, product.weight);
    if (product.rowWeights)
      flatRowWeights = flatten(b, product.rowWeights);
    if (sharesRows)
      buildByRows();
    else
      buildByPanels();
    if (kept)
      LLVM::LifetimeEndOp::create(b, kept);
  }

private:
  struct Group {
    Value index, first, rows, tiles;
    Value isKept, isFew; // i1; null: never
  };
  struct Tile {
    Value number, first, rows;
  };

  // Does the unit multiply bf16 in f32, and take rows in whole vectors?
  bool widensRows() const {
    return getElementTypeOrSelf(product.weight).isBF16() &&
           !product.tile.bf16Dot && !product.rowWeights &&
           panels.getDepth() % product.tile.lanes == 0;
  }

  // Runs of panels are as long as leaves many of them, for many threads.
  int64_t panelsOfRun() const {
    constexpr int64_t enoughRuns = 24;
    bool isF32 = getElementTypeOrSelf(product.lhs).isF32();
    int64_t most = 1, length = 1;
    if (widensRows())
      most = product.tile.panelsAtOnce;
    else if (product.tile.fewRows > 0 && isF32 && !product.rowWeights)
      most = 2;
    for (int64_t longer = 2; longer <= most; longer *= 2)
      if (panels.getPanelsPerGroup() % longer == 0 &&
          panels.getPanelsPerGroup() / longer >= enoughRuns)
        length = longer;
    return length;
  }

  void buildByPanels() {
    Value count = indexConstant(b, panels.getGroups());
    auto loop = scf::WhileOp::create(
        b, TypeRange(b.getIndexType()), nextWithRows(indexConstant(b, 0)),
        [&](OpBuilder &, Location, ValueRange group) {
          Value isOne = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                              group.front(), count);
          scf::ConditionOp::create(b, isOne, group);
        },
        [&](OpBuilder &, Location, ValueRange group) {
          Value next =
              nextWithRows(indexAdd(b, group.front(), indexConstant(b, 1)));
          Group current = groupOf(group.front());
          auto isAtMost = [&](int64_t rows) {
            return rows == 0
                       ? Value()
                       : arith::CmpIOp::create(b, arith::CmpIPredicate::ule,
                                               current.rows,
                                               indexConstant(b, rows));
          };
          current.isKept = isAtMost(keptRows);
          current.isFew = isAtMost(fewRows);
          buildGroup(current, next);
          scf::YieldOp::create(b, next);
        });
    b.setInsertionPointAfter(loop);
  }

  // A group's panels, or runs of them, go round the team, beginning at another
  // thread for each group.
  void buildGroup(const Group &group, Value nextGroup) {
    int64_t perGroup = panels.getPanelsPerGroup();
    Value threads = moert::ThreadsOp::create(b, b.getIndexType());
    Value itemCount = indexConstant(b, perGroup / panelsAtOnce),
          begin = firstItem(group.index, threads), length;
    // Rows that are not widened need runs only where they take two panels.
    bool isVaried = group.isFew && !group.isKept;
    if (isVaried) {
      length = arith::SelectOp::create(
          b, group.isFew, indexConstant(b, panelsAtOnce), indexConstant(b, 1));
      itemCount = arith::SelectOp::create(b, group.isFew, itemCount,
                                          indexConstant(b, perGroup));
    }
    auto inPanels = [&](Value item) -> Value {
      if (isVaried)
        return arith::MulIOp::create(b, item, length);
      return indexMul(b, item, panelsAtOnce);
    };
    auto position = [&](Value index, Value panel) {
      return indexAdd(b, indexMul(b, index, perGroup), panel);
    };
    if (group.isKept)
      keepRows(group, arith::CmpIOp::create(b, arith::CmpIPredicate::ult, begin,
                                            itemCount));
    auto loop = scf::ForOp::create(b, begin, itemCount, threads);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value panel = inPanels(loop.getInductionVar()),
          current = position(group.index, panel);
    // The next item, of the next group behind this one's last; after the last
    // of all there is nothing to ask for but what is there. Should the next
    // group's items be longer, what is asked for is another thread's.
    Value following = indexAdd(b, loop.getInductionVar(), threads),
          first = firstItem(nextGroup, threads);
    Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::uge,
                                         following, itemCount);
    Value hasNext =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, nextGroup,
                              indexConstant(b, panels.getGroups()));
    Value hasFirst =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, first, itemCount);
    Value ofNext =
        arith::SelectOp::create(b, arith::AndIOp::create(b, hasNext, hasFirst),
                                position(nextGroup, inPanels(first)), current);
    Value ahead = arith::SelectOp::create(
        b, isLast, ofNext, position(group.index, inPanels(following)));
    if (group.isKept || group.isFew)
      return buildRun(group, length ? length : indexConstant(b, panelsAtOnce),
                      panel, current, ahead);
    forEach(b, indexConstant(b, 0), group.tiles, 1, [&](Value t) {
      Tile tile = tileOf(group, t);
      pointAtRows(group, tile);
      buildTile(group, tile, panel, current, ahead);
    });
  }

  // The `all` panels of a run: two at once, one by one, or all together where
  // rows are widened for the run. `panel` is its first one within the group;
  // `position` and `behind`, where the thread goes on, count panels from the
  // first group's first.
  void buildRun(const Group &group, Value all, Value panel, Value position,
                Value behind) {
    Value step = all;
    if (group.isKept) {
      Value one = indexConstant(b, 1);
      if (group.isFew)
        one = arith::SelectOp::create(b, group.isFew, indexConstant(b, 2), one);
      step = arith::SelectOp::create(b, group.isKept, one, all);
    }
    auto loop = scf::ForOp::create(b, indexConstant(b, 0), all, step);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value index = loop.getInductionVar(), next = indexAdd(b, index, step);
    Value isLast =
        arith::CmpIOp::create(b, arith::CmpIPredicate::uge, next, all);
    Value current = panelAt(indexAdd(b, position, index)),
          ahead = panelAt(arith::SelectOp::create(b, isLast, behind,
                                                  indexAdd(b, position, next)));
    forEach(b, indexConstant(b, 0), group.tiles, 1, [&](Value t) {
      Tile tile = tileOf(group, t);
      pointAtRows(group, tile);
      callPaced(group, tile, current, ahead);
      finishPanels(group, tile, indexAdd(b, panel, index), step);
    });
  }

  // Widens all rows of a group, if they are to be kept and there is work.
  void keepRows(const Group &group, Value hasWork) {
    auto branch = scf::IfOp::create(
        b, arith::AndIOp::create(b, group.isKept, hasWork).getResult());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    int64_t lanes = product.tile.lanes;
    auto narrow = VectorType::get(lanes, b.getBF16Type());
    Value depth = indexConstant(b, panels.getDepth());
    forEach(b, indexConstant(b, 0), group.rows, 1, [&](Value r) {
      Value from = addressOf(sourceRow(indexAdd(b, group.first, r))),
            to = keptRow(r);
      forEach(b, indexConstant(b, 0), depth, lanes, [&](Value k) {
        Value values = LLVM::LoadOp::create(
            b, narrow, elementAt(from, b.getBF16Type(), k), 2);
        LLVM::StoreOp::create(b, toF32(b, values),
                              elementAt(to, b.getF32Type(), k), lanes * 4);
      });
    });
  }

  Value firstItem(Value group, Value threads) {
    Value thread = moert::ThreadOp::create(b, b.getIndexType());
    return arith::RemUIOp::create(b, indexAdd(b, thread, group), threads);
  }

  // The first group from `from` on that has rows; the number of groups when
  // there is none.
  Value nextWithRows(Value from) {
    if (!product.offsets)
      return from;
    Value groups = indexConstant(b, panels.getGroups());
    auto loop = scf::WhileOp::create(
        b, TypeRange(b.getIndexType()), from,
        [&](OpBuilder &, Location, ValueRange group) {
          Value isOne = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                              group.front(), groups);
          auto check = scf::IfOp::create(b, TypeRange(b.getI1Type()), isOne,
                                         /*withElseRegion=*/true);
          {
            OpBuilder::InsertionGuard guard(b);
            b.setInsertionPointToStart(check.thenBlock());
            Value rows = groupOf(group.front()).rows;
            Value isEmpty = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                                  rows, indexConstant(b, 0));
            scf::YieldOp::create(b, isEmpty);
            b.setInsertionPointToStart(check.elseBlock());
            scf::YieldOp::create(b, isOne);
          }
          scf::ConditionOp::create(b, check.getResult(0), group);
        },
        [&](OpBuilder &, Location, ValueRange group) {
          Value next = indexAdd(b, group.front(), indexConstant(b, 1));
          scf::YieldOp::create(b, next);
        });
    b.setInsertionPointAfter(loop);
    return loop.getResult(0);
  }

  void buildByRows() {
    Group group = groupOf(indexConstant(b, 0));
    Value perGroup = indexConstant(b, panels.getPanelsPerGroup());
    forEachOfTeam(b, group.tiles, [&](Value t) {
      Tile tile = tileOf(group, t);
      pointAtRows(group, tile);
      forEach(b, indexConstant(b, 0), perGroup, 1, [&](Value panel) {
        Value following = indexAdd(b, panel, indexConstant(b, 1));
        Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                             following, perGroup);
        buildTile(group, tile, panel, panel,
                  arith::SelectOp::create(b, isLast, panel, following));
      });
    });
  }

  Group groupOf(Value index) {
    Group group;
    group.index = index;
    group.first = indexConstant(b, 0);
    group.rows = product.rows;
    if (product.offsets) {
      group.first = loadIndex(b, product.offsets, index);
      Value end = loadIndex(b, product.offsets,
                            indexAdd(b, index, indexConstant(b, 1)));
      group.rows = arith::SubIOp::create(b, end, group.first);
    }
    group.tiles = arith::DivUIOp::create(
        b, indexAdd(b, group.rows, indexConstant(b, product.tile.rows - 1)),
        indexConstant(b, product.tile.rows));
    return group;
  }

  // Tile t of a group: rows cut as evenly as they go, larger tiles first.
  Tile tileOf(const Group &group, Value t) {
    Value least = arith::DivUIOp::create(b, group.rows, group.tiles),
          larger = arith::RemUIOp::create(b, group.rows, group.tiles);
    Value start = indexAdd(b, arith::MulIOp::create(b, t, least),
                           arith::MinUIOp::create(b, t, larger));
    Value isLarger =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, t, larger);
    Value rows = arith::SelectOp::create(
        b, isLarger, indexAdd(b, least, indexConstant(b, 1)), least);
    return {t, indexAdd(b, group.first, start), rows};
  }

  Value elementAt(Value base, Type element, Value index) {
    Value offset = arith::IndexCastOp::create(b, b.getI64Type(), index);
    return LLVM::GEPOp::create(b, pointer, element, base, ValueRange{offset});
  }

  // Addresses (and weights) of a tile's rows, on the stack for the kernel.
  void pointAtRows(const Group &group, const Tile &tile) {
    Value skipped = group.isKept
                        ? arith::SubIOp::create(b, tile.first, group.first)
                        : Value();
    forEach(b, indexConstant(b, 0), tile.rows, 1, [&](Value r) {
      Value row = indexAdd(b, tile.first, r);
      if (product.rowWeights) {
        Value weight = memref::LoadOp::create(b, flatRowWeights, gathered(row));
        LLVM::StoreOp::create(b, weight, elementAt(space, b.getF32Type(), r),
                              4);
      }
      Value address = addressOf(sourceRow(row));
      if (group.isKept)
        address = arith::SelectOp::create(
            b, group.isKept, keptRow(indexAdd(b, skipped, r)), address);
      LLVM::StoreOp::create(b, address, elementAt(rowPointers, pointer, r), 8);
    });
  }

  Value gathered(Value row) {
    return product.gather ? loadIndex(b, product.gather, row) : row;
  }
  // The row of lhs that is row `row` of the product.
  Value sourceRow(Value row) {
    row = gathered(row);
    if (!product.gather || product.gatherDivisor == 1)
      return row;
    return arith::DivUIOp::create(b, row,
                                  indexConstant(b, product.gatherDivisor));
  }
  Value addressOf(Value row) {
    Type element = cast<MemRefType>(product.lhs.getType()).getElementType();
    return elementAt(lhsPointer, element, indexMul(b, row, panels.getDepth()));
  }
  // Row r of a group, widened.
  Value keptRow(Value r) {
    return elementAt(kept, b.getF32Type(), indexMul(b, r, panels.getDepth()));
  }

  // One tile of rows times one panel, or a run of them, of which `panel` is the
  // first within the group; `position` and `ahead` count panels from the first
  // group's first.
  void buildTile(const Group &group, const Tile &tile, Value panel,
                 Value position, Value ahead) {
    callKernel(group, tile, panelAt(position), panelAt(ahead));
    if (panelsAtOnce == 1)
      return finishPanel(group, tile, panel, indexConstant(b, 0));
    finishPanels(group, tile, panel, indexConstant(b, panelsAtOnce));
  }

  // `count` panels from `panel` on, whose sums stand one behind the other.
  void finishPanels(const Group &group, const Tile &tile, Value panel,
                    Value count) {
    forEach(b, indexConstant(b, 0), count, 1, [&](Value index) {
      finishPanel(group, tile, indexAdd(b, panel, index),
                  indexMul(b, index, product.tile.rows));
    });
  }

  // The rows of a tile, whose sums are those from `first` on.
  void finishPanel(const Group &group, const Tile &tile, Value panel,
                   Value first) {
    forEach(b, indexConstant(b, 0), tile.rows, 1, [&](Value r) {
      finishRow(group, panel, indexAdd(b, tile.first, r),
                indexAdd(b, first, r));
    });
  }

  Value panelAt(Value position) {
    return elementAt(
        weightPointer,
        cast<MemRefType>(product.weight.getType()).getElementType(),
        indexMul(b, position, panels.getPanelElements()));
  }

  void callKernel(const Group &group, const Tile &tile, Value panel,
                  Value ahead) {
    if (product.tile.hasPace)
      return callPaced(group, tile, panel, ahead);
    // Cache lines that a step reads of a panel.
    int64_t lines = product.tile.width * 4 / kCacheLine;
    int64_t steps = panels.getDepth() / panels.getInterleave();
    Value isSingle = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                           group.tiles, indexConstant(b, 1));
    branch(
        isSingle,
        [&] {
          chooseKernel(kernelOf(lines), tile, 1, product.tile.rows,
                       {panel, ahead});
        },
        [&] {
          Value part =
              arith::RemUIOp::create(b, tile.number, indexConstant(b, lines));
          Value partAhead = elementAt(ahead, b.getI8Type(),
                                      indexMul(b, part, steps * kCacheLine));
          // Rows cut evenly into several tiles leave none smaller than this.
          chooseKernel(kernelOf(1), tile, (product.tile.rows + 1) / 2,
                       product.tile.rows, {panel, partAhead});
        });
  }

  // Each tile asks for an equal part, one line a round at most; where the last
  // parts would lie behind the panel, their tiles ask for what others have
  // asked for. A single tile asks for the first stream and leaves the other
  // ones to the processor, and one that takes two panels leaves it all of them.
  // Threads that share rows ask each for itself.
  void callPaced(const Group &group, const Tile &tile, Value panel,
                 Value ahead) {
    PanelKernel plain = kernelOf(1);
    branch(
        group.isFew,
        [&] {
          PanelKernel few = keptRows > 0 ? keptKernel() : plain;
          few.aheadLines = 0;
          few.panels = few.panelsTogether = 2;
          Value noPace = arith::ConstantOp::create(b, b.getI64IntegerAttr(0));
          chooseKernel(few, tile, 1, fewRows, {panel, ahead, noPace});
        },
        [&] {
          SmallVector<Value> given = {panel};
          llvm::append_range(given, shareRequest(group, tile, ahead));
          int64_t least = fewRows == 0 ? 1 : leastOfTile(fewRows),
                  most = product.tile.rows;
          branch(
              group.isKept,
              [&] { chooseKernel(keptKernel(), tile, least, most, given); },
              [&] {
                if (group.isKept)
                  least = leastOfTile(keptRows);
                chooseKernel(plain, tile, least, most, given);
              });
        });
  }

  // From where on a tile asks, and its pace.
  SmallVector<Value> shareRequest(const Group &group, const Tile &tile,
                                  Value ahead) {
    int64_t streams = panels.getStreams(),
            rounds = panels.getDepth() / panels.getInterleave() / streams;
    Value line = indexConstant(b, kCacheLine), pace = line;
    if (!sharesRows) {
      Value all = indexConstant(b, kCacheLine * streams);
      pace = arith::MinUIOp::create(
          b, arith::CeilDivUIOp::create(b, all, group.tiles), line);
      Value parts = arith::CeilDivUIOp::create(b, all, pace);
      Value part = arith::RemUIOp::create(b, tile.number, parts);
      ahead =
          elementAt(ahead, b.getI8Type(),
                    indexMul(b, arith::MulIOp::create(b, part, pace), rounds));
    }
    return {ahead, arith::IndexCastOp::create(b, b.getI64Type(), pace)};
  }

  // The smallest tile of a group of more than `rows` rows.
  int64_t leastOfTile(int64_t rows) const {
    int64_t most = product.tile.rows, least = most;
    for (int64_t more = rows + 1; more <= rows + most; ++more)
      least = std::min(least, more / ((more + most - 1) / most));
    return least;
  }

  PanelKernel kernelOf(int64_t lines) const {
    return {product.tile,
            getElementTypeOrSelf(product.lhs),
            getElementTypeOrSelf(product.weight),
            static_cast<bool>(product.rowWeights),
            lines,
            widensRows(),
            widensRows() ? panelsAtOnce : 1,
            panels.getStreams()};
  }
  // For rows that stand widened.
  PanelKernel keptKernel() const {
    PanelKernel kernel = kernelOf(1);
    kernel.rowElement = b.getF32Type();
    kernel.widensRows = false;
    kernel.panels = 1;
    return kernel;
  }

  // `otherwise` alone where there is no condition.
  void branch(Value condition, function_ref<void()> then,
              function_ref<void()> otherwise) {
    if (!condition)
      return otherwise();
    auto branch = scf::IfOp::create(b, TypeRange(), condition,
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    then();
    b.setInsertionPointToStart(branch.elseBlock());
    otherwise();
  }

  // Calls the kernel for the tile's rows, which are `least` to `most`; `given`
  // are the panel, where to ask ahead and, where the tile has one, the pace.
  void chooseKernel(const PanelKernel &kernel, const Tile &tile, int64_t least,
                    int64_t most, ArrayRef<Value> given) {
    Value depth =
        arith::ConstantOp::create(b, b.getI64IntegerAttr(panels.getDepth()));
    SmallVector<Value> operands = {rowPointers, given[0], depth,
                                   sums,        space,    given[1]};
    llvm::append_range(operands, given.drop_front(2));
    // Every count but the largest has its case; the largest is the default.
    SmallVector<int64_t> cases =
        llvm::to_vector(llvm::seq<int64_t>(least, most));
    auto choice = scf::IndexSwitchOp::create(b, TypeRange(), tile.rows, cases,
                                             cases.size());
    OpBuilder::InsertionGuard guard(b);
    for (int64_t count = least; count <= most; ++count) {
      Region &region = count == most ? choice.getDefaultRegion()
                                     : choice.getCaseRegions()[count - least];
      b.setInsertionPointToStart(&region.emplaceBlock());
      LLVM::CallOp::create(b, getPanelKernel(module, kernel, count), operands);
      scf::YieldOp::create(b);
    }
  }

  void finishRow(const Group &group, Value panel, Value row, Value r) {
    int64_t lanes = product.tile.lanes, partWidth = panels.getPartWidth();
    auto type = VectorType::get(lanes, b.getF32Type());
    Value panelColumn = indexMul(b, panel, partWidth),
          tileRow = indexMul(b, r, product.tile.width);
    for (int64_t start = 0; start < partWidth; start += lanes) {
      PanelSums result;
      result.row = row;
      result.group = group.index;
      result.column = indexAdd(b, panelColumn, indexConstant(b, start));
      if (panels.getColumns() % partWidth != 0) {
        Value left = arith::SubIOp::create(
            b, indexConstant(b, panels.getColumns()), result.column);
        result.mask = vector::CreateMaskOp::create(
            b, VectorType::get(lanes, b.getI1Type()), left);
      }
      for (int64_t part = 0; part < panels.getParts(); ++part) {
        Value address = elementAt(
            sums, b.getF32Type(),
            indexAdd(b, tileRow, indexConstant(b, part * partWidth + start)));
        result.parts.push_back(
            LLVM::LoadOp::create(b, type, address, lanes * 4));
      }
      finish(result);
    }
  }

  ImplicitLocOpBuilder &b;
  ModuleOp module;
  PanelProduct product;
  PanelsAttr panels;
  function_ref<void(const PanelSums &)> finish;
  LLVM::LLVMPointerType pointer;
  Value sums, rowPointers, space, lhsPointer, weightPointer, flatRowWeights;
  Value kept; // rows of a group, widened; null: never
  bool sharesRows = false;
  int64_t panelsAtOnce = 1, keptRows = 0, fewRows = 0;
};

} // namespace

void moe::emitPanelProduct(ImplicitLocOpBuilder &b, ModuleOp module,
                           const PanelProduct &product,
                           function_ref<void(const PanelSums &)> finish) {
  ProductBuilder(b, module, product, finish).build();
}
