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
// Where rows are widened for a product, an item is a run of neighbouring
// panels, so that they are widened once for all of these.
#include "PanelProduct.h"
#include "PanelKernels.h"
#include "Team.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

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
    sums =
        stackOf(b, b.getF32Type(), panelsAtOnce * tile.rows * tile.width, 64);
    rowPointers = stackOf(b, pointer, tile.rows, 64);
    space = product.rowWeights ? stackOf(b, b.getF32Type(), tile.rows, 64)
            : widensRows()     ? stackOf(b, b.getF32Type(), kWidenedValues, 64)
                               : rowPointers;
    lhsPointer = pointerTo(b, product.lhs);
    weightPointer = pointerTo(b, product.weight);
    if (product.rowWeights)
      flatRowWeights = flatten(b, product.rowWeights);
    if (sharesRows)
      buildByRows();
    else
      buildByPanels();
  }

private:
  struct Group {
    Value index, first, rows, tiles;
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
    int64_t most = widensRows() ? product.tile.panelsAtOnce : 1, length = 1;
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
          buildGroup(groupOf(group.front()), next);
          scf::YieldOp::create(b, next);
        });
    b.setInsertionPointAfter(loop);
  }

  // A group's panels, or runs of them, go round the team, beginning at another
  // thread for each group.
  void buildGroup(const Group &group, Value nextGroup) {
    int64_t perGroup = panels.getPanelsPerGroup() / panelsAtOnce;
    Value threads = moert::ThreadsOp::create(b, b.getIndexType());
    auto position = [&](Value index, Value panel) {
      return indexAdd(b, indexMul(b, index, perGroup), panel);
    };
    Value panelCount = indexConstant(b, perGroup);
    auto loop = scf::ForOp::create(b, firstPanel(group.index, threads),
                                   panelCount, threads);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value panel = loop.getInductionVar(), item = position(group.index, panel);
    // The next panel, of the next group behind this one's last; after the
    // last of all there is nothing to ask for but what is there.
    Value following = indexAdd(b, panel, threads),
          first = firstPanel(nextGroup, threads);
    Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::uge,
                                         following, panelCount);
    Value hasNext =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, nextGroup,
                              indexConstant(b, panels.getGroups()));
    Value hasFirst =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, first, panelCount);
    Value ofNext =
        arith::SelectOp::create(b, arith::AndIOp::create(b, hasNext, hasFirst),
                                position(nextGroup, first), item);
    Value ahead = arith::SelectOp::create(b, isLast, ofNext,
                                          position(group.index, following));
    forEach(b, indexConstant(b, 0), group.tiles, 1, [&](Value t) {
      Tile tile = tileOf(group, t);
      pointAtRows(tile);
      buildTile(group, tile, panel, item, ahead);
    });
  }

  Value firstPanel(Value group, Value threads) {
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
      pointAtRows(tile);
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
  void pointAtRows(const Tile &tile) {
    Type element = cast<MemRefType>(product.lhs.getType()).getElementType();
    forEach(b, indexConstant(b, 0), tile.rows, 1, [&](Value r) {
      Value row = indexAdd(b, tile.first, r);
      if (product.gather) {
        row = loadIndex(b, product.gather, row);
        if (product.rowWeights) {
          Value weight = memref::LoadOp::create(b, flatRowWeights, row);
          LLVM::StoreOp::create(b, weight, elementAt(space, b.getF32Type(), r),
                                4);
        }
        if (product.gatherDivisor != 1)
          row = arith::DivUIOp::create(b, row,
                                       indexConstant(b, product.gatherDivisor));
      }
      Value address =
          elementAt(lhsPointer, element, indexMul(b, row, panels.getDepth()));
      LLVM::StoreOp::create(b, address, elementAt(rowPointers, pointer, r), 8);
    });
  }

  // One tile of rows times one panel, or a run of them; `position` and `ahead`
  // count panels or runs from the first group's first.
  void buildTile(const Group &group, const Tile &tile, Value panel,
                 Value position, Value ahead) {
    callKernel(group, tile, panelAt(position), panelAt(ahead));
    if (panelsAtOnce == 1)
      return finishPanel(group, tile, panel, indexConstant(b, 0));
    forEach(b, indexConstant(b, 0), indexConstant(b, panelsAtOnce), 1,
            [&](Value index) {
              Value one = indexAdd(b, indexMul(b, panel, panelsAtOnce), index);
              finishPanel(group, tile, one,
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
        indexMul(b, position, panelsAtOnce * panels.getPanelElements()));
  }

  void callKernel(const Group &group, const Tile &tile, Value panel,
                  Value ahead) {
    // Cache lines that a step reads of a panel.
    int64_t lines = product.tile.width * 4 / kCacheLine;
    if (product.tile.hasPace)
      return callPaced(group, tile, panel, ahead);
    int64_t steps = panels.getDepth() / panels.getInterleave();
    Value isSingle = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                           group.tiles, indexConstant(b, 1));
    auto branch =
        scf::IfOp::create(b, TypeRange(), isSingle, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    chooseKernel(tile, panel, ahead, lines, 1);
    b.setInsertionPointToStart(branch.elseBlock());
    Value part =
        arith::RemUIOp::create(b, tile.number, indexConstant(b, lines));
    Value partAhead =
        elementAt(ahead, b.getI8Type(), indexMul(b, part, steps * kCacheLine));
    // Rows cut evenly into several tiles leave none smaller than this.
    chooseKernel(tile, panel, partAhead, 1, (product.tile.rows + 1) / 2);
  }

  // Each tile asks for an equal part, one line a round at most; where the last
  // parts would lie behind the panel, their tiles ask for what others have
  // asked for. A single tile asks for the first stream and leaves the other
  // ones to the processor. Threads that share rows ask each for itself.
  void callPaced(const Group &group, const Tile &tile, Value panel,
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
    chooseKernel(tile, panel, ahead, 1, 1,
                 arith::IndexCastOp::create(b, b.getI64Type(), pace));
  }

  // Calls the kernel for the tile's rows, which are `least` or more.
  void chooseKernel(const Tile &tile, Value panel, Value ahead, int64_t lines,
                    int64_t least, Value pace = Value()) {
    Type rowElement = cast<MemRefType>(product.lhs.getType()).getElementType();
    Type panelElement =
        cast<MemRefType>(product.weight.getType()).getElementType();
    PanelKernel kernel{product.tile, rowElement,
                       panelElement, static_cast<bool>(product.rowWeights),
                       lines,        widensRows(),
                       panelsAtOnce, panels.getStreams()};
    Value depth =
        arith::ConstantOp::create(b, b.getI64IntegerAttr(panels.getDepth()));
    SmallVector<Value> operands = {rowPointers, panel, depth,
                                   sums,        space, ahead};
    if (pace)
      operands.push_back(pace);
    // Every count but the largest has its case; the largest is the default.
    SmallVector<int64_t> cases =
        llvm::to_vector(llvm::seq<int64_t>(least, product.tile.rows));
    auto choice = scf::IndexSwitchOp::create(b, TypeRange(), tile.rows, cases,
                                             cases.size());
    OpBuilder::InsertionGuard guard(b);
    for (int64_t count = least; count <= product.tile.rows; ++count) {
      Region &region = count == product.tile.rows
                           ? choice.getDefaultRegion()
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
  bool sharesRows = false;
  int64_t panelsAtOnce = 1;
};

} // namespace

void moe::emitPanelProduct(ImplicitLocOpBuilder &b, ModuleOp module,
                           const PanelProduct &product,
                           function_ref<void(const PanelSums &)> finish) {
  ProductBuilder(b, module, product, finish).build();
}
