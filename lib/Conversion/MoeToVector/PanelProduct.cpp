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
#include "PanelProductBuilder.h"
#include "Team.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
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

void ProductBuilder::build() {
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
  int64_t tilesAtOnce = tile.blockBytes > 0 && !sharesRows ? kTilesAtOnce : 1;
  sums = stackOf(b, b.getF32Type(),
                 panelsAtOnce * tilesAtOnce * tile.rows * tile.width, 64);
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

int64_t ProductBuilder::panelsOfRun() const {
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

void ProductBuilder::buildByPanels() {
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
          return rows == 0 ? Value()
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

void ProductBuilder::buildGroup(const Group &group, Value nextGroup) {
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
  Value isLast =
      arith::CmpIOp::create(b, arith::CmpIPredicate::uge, following, itemCount);
  Value hasNext = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, nextGroup,
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
  if (product.tile.blockBytes > 0)
    return buildBlocks(group, panel, current, ahead);
  forEach(b, indexConstant(b, 0), group.tiles, 1, [&](Value t) {
    Tile tile = tileOf(group, t);
    pointAtRows(group, tile);
    buildTile(group, tile, panel, current, ahead);
  });
}

void ProductBuilder::buildRun(const Group &group, Value all, Value panel,
                              Value position, Value behind) {
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
  Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, next, all);
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

void ProductBuilder::keepRows(const Group &group, Value hasWork) {
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

Value ProductBuilder::firstItem(Value group, Value threads) {
  Value thread = moert::ThreadOp::create(b, b.getIndexType());
  return arith::RemUIOp::create(b, indexAdd(b, thread, group), threads);
}

Value ProductBuilder::nextWithRows(Value from) {
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

void ProductBuilder::buildByRows() {
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

void moe::emitPanelProduct(ImplicitLocOpBuilder &b, ModuleOp module,
                           const PanelProduct &product,
                           function_ref<void(const PanelSums &)> finish) {
  ProductBuilder(b, module, product, finish).build();
}
