// Tiles of a product with packed weights: which rows they have, where these and
// panels lie, and what becomes of their sums.
#include "PanelProductBuilder.h"
#include "Team.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace moe;

ProductBuilder::Group ProductBuilder::groupOf(Value index) {
  Group group;
  group.index = index;
  group.first = indexConstant(b, 0);
  group.rows = product.rows;
  if (product.offsets) {
    group.first = loadIndex(b, product.offsets, index);
    Value end =
        loadIndex(b, product.offsets, indexAdd(b, index, indexConstant(b, 1)));
    group.rows = arith::SubIOp::create(b, end, group.first);
  }
  group.tiles = arith::DivUIOp::create(
      b, indexAdd(b, group.rows, indexConstant(b, product.tile.rows - 1)),
      indexConstant(b, product.tile.rows));
  if (product.tile.blockBytes > 0)
    group.isSingle = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                           group.tiles, indexConstant(b, 1));
  return group;
}

ProductBuilder::Tile ProductBuilder::tileOf(const Group &group, Value t) {
  Value least = arith::DivUIOp::create(b, group.rows, group.tiles),
        larger = arith::RemUIOp::create(b, group.rows, group.tiles);
  Value start = indexAdd(b, arith::MulIOp::create(b, t, least),
                         arith::MinUIOp::create(b, t, larger));
  Value isLarger =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ult, t, larger);
  Value rows = arith::SelectOp::create(
      b, isLarger, indexAdd(b, least, indexConstant(b, 1)), least);
  return {t, indexAdd(b, group.first, start), rows, sums};
}

Value ProductBuilder::elementAt(Value base, Type element, Value index) {
  Value offset = arith::IndexCastOp::create(b, b.getI64Type(), index);
  return LLVM::GEPOp::create(b, pointer, element, base, ValueRange{offset});
}

void ProductBuilder::pointAtRows(const Group &group, const Tile &tile) {
  Value skipped = group.isKept
                      ? arith::SubIOp::create(b, tile.first, group.first)
                      : Value();
  forEach(b, indexConstant(b, 0), tile.rows, 1, [&](Value r) {
    Value row = indexAdd(b, tile.first, r);
    if (product.rowWeights) {
      Value weight = memref::LoadOp::create(b, flatRowWeights, gathered(row));
      LLVM::StoreOp::create(b, weight, elementAt(space, b.getF32Type(), r), 4);
    }
    Value address = addressOf(sourceRow(row));
    if (group.isKept)
      address = arith::SelectOp::create(
          b, group.isKept, keptRow(indexAdd(b, skipped, r)), address);
    LLVM::StoreOp::create(b, address, elementAt(rowPointers, pointer, r), 8);
  });
}

Value ProductBuilder::gathered(Value row) {
  return product.gather ? loadIndex(b, product.gather, row) : row;
}

Value ProductBuilder::sourceRow(Value row) {
  row = gathered(row);
  if (!product.gather || product.gatherDivisor == 1)
    return row;
  return arith::DivUIOp::create(b, row,
                                indexConstant(b, product.gatherDivisor));
}

Value ProductBuilder::addressOf(Value row) {
  Type element = cast<MemRefType>(product.lhs.getType()).getElementType();
  return elementAt(lhsPointer, element, indexMul(b, row, panels.getDepth()));
}

Value ProductBuilder::keptRow(Value r) {
  return elementAt(kept, b.getF32Type(), indexMul(b, r, panels.getDepth()));
}

void ProductBuilder::buildTile(const Group &group, const Tile &tile,
                               Value panel, Value position, Value ahead) {
  callKernel(group, tile, panelAt(position), panelAt(ahead));
  if (panelsAtOnce == 1)
    return finishPanel(group, tile, panel, indexConstant(b, 0));
  finishPanels(group, tile, panel, indexConstant(b, panelsAtOnce));
}

Value ProductBuilder::blockLength(const Group &group) {
  int64_t bytes = panels.getPanelElements() *
                  getElementTypeOrSelf(product.weight).getIntOrFloatBitWidth() /
                  8;
  Value size = arith::MinUIOp::create(
      b, indexMul(b, group.tiles, product.tile.blockBytes),
      indexConstant(b, product.tile.mostBlockBytes));
  Value blocks = arith::CeilDivUIOp::create(b, indexConstant(b, bytes), size);
  // Whole vectors of rows; pairs are not divided.
  int64_t lanes = product.tile.lanes;
  Value vectors = arith::CeilDivUIOp::create(
      b, indexConstant(b, llvm::divideCeil(panels.getDepth(), lanes)), blocks);
  return indexMul(b, vectors, lanes);
}

void ProductBuilder::buildBlocks(const Group &group, Value panel,
                                 Value position, Value behind) {
  int64_t rows = product.tile.rows, width = product.tile.width;
  Value depth = indexConstant(b, panels.getDepth()),
        length = blockLength(group);
  Type element = getElementTypeOrSelf(product.weight);
  Value start = panelAt(position), next = panelAt(behind);
  forEach(b, indexConstant(b, 0), group.tiles, kTilesAtOnce, [&](Value from) {
    Value to = indexAdd(b, from, indexConstant(b, kTilesAtOnce));
    Value isLast =
        arith::CmpIOp::create(b, arith::CmpIPredicate::uge, to, group.tiles);
    to = arith::MinUIOp::create(b, to, group.tiles);
    Value goesOn = arith::SelectOp::create(b, isLast, next, start);
    auto tileAt = [&](Value t) {
      Tile tile = tileOf(group, t);
      tile.sums = elementAt(
          sums, b.getF32Type(),
          indexMul(b, arith::SubIOp::create(b, t, from), rows * width));
      return tile;
    };
    auto blocks = scf::ForOp::create(b, indexConstant(b, 0), depth, length);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(blocks.getBody());
      Value k = blocks.getInductionVar(), end = indexAdd(b, k, length);
      Value isEnd =
          arith::CmpIOp::create(b, arith::CmpIPredicate::uge, end, depth);
      Value count =
          arith::SubIOp::create(b, arith::MinUIOp::create(b, end, depth), k);
      auto within = [&](Value value) {
        return elementAt(start, element, indexMul(b, value, width));
      };
      Value ahead = arith::SelectOp::create(b, isEnd, goesOn, within(end));
      Block block{arith::IndexCastOp::create(b, b.getI64Type(), k),
                  arith::IndexCastOp::create(b, b.getI64Type(), count),
                  within(k)};
      forEach(b, from, to, 1, [&](Value t) {
        Tile tile = tileAt(t);
        pointAtRows(group, tile);
        callBlock(group, tile, block, ahead);
      });
    }
    forEach(b, from, to, 1, [&](Value t) {
      Tile tile = tileAt(t);
      finishPanel(group, tile, panel,
                  indexMul(b, arith::SubIOp::create(b, t, from), rows));
    });
  });
}

void ProductBuilder::finishPanels(const Group &group, const Tile &tile,
                                  Value panel, Value count) {
  forEach(b, indexConstant(b, 0), count, 1, [&](Value index) {
    finishPanel(group, tile, indexAdd(b, panel, index),
                indexMul(b, index, product.tile.rows));
  });
}

void ProductBuilder::finishPanel(const Group &group, const Tile &tile,
                                 Value panel, Value first) {
  forEach(b, indexConstant(b, 0), tile.rows, 1, [&](Value r) {
    finishRow(group, panel, indexAdd(b, tile.first, r), indexAdd(b, first, r));
  });
}

Value ProductBuilder::panelAt(Value position) {
  return elementAt(weightPointer,
                   cast<MemRefType>(product.weight.getType()).getElementType(),
                   indexMul(b, position, panels.getPanelElements()));
}

void ProductBuilder::finishRow(const Group &group, Value panel, Value row,
                               Value r) {
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
      result.parts.push_back(LLVM::LoadOp::create(b, type, address, lanes * 4));
    }
    finish(result);
  }
}
