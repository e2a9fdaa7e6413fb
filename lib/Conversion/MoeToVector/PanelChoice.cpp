// Which kernel a tile of a product with packed weights takes, and what it asks
// memory for meanwhile.
#include "PanelProductBuilder.h"
#include "Team.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;

bool ProductBuilder::widensRows() const {
  return getElementTypeOrSelf(product.weight).isBF16() &&
         !product.tile.bf16Dot && !product.rowWeights &&
         panels.getDepth() % product.tile.lanes == 0;
}

void ProductBuilder::callKernel(const Group &group, const Tile &tile,
                                Value panel, Value ahead) {
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
        chooseKernel(kernelOf(lines), tile, wholePanel(panel), 1,
                     product.tile.rows, ahead);
      },
      [&] {
        Value part =
            arith::RemUIOp::create(b, tile.number, indexConstant(b, lines));
        Value partAhead = elementAt(ahead, b.getI8Type(),
                                    indexMul(b, part, steps * kCacheLine));
        // Rows cut evenly into several tiles leave none smaller than this.
        chooseKernel(kernelOf(1), tile, wholePanel(panel),
                     (product.tile.rows + 1) / 2, product.tile.rows, partAhead);
      });
}

void ProductBuilder::callPaced(const Group &group, const Tile &tile,
                               Value panel, Value ahead) {
  PanelKernel plain = kernelOf(1);
  Block all = wholePanel(panel);
  branch(
      group.isFew,
      [&] {
        PanelKernel few = keptRows > 0 ? keptKernel() : plain;
        few.aheadLines = 0;
        few.panels = few.panelsTogether = 2;
        Value noPace = arith::ConstantOp::create(b, b.getI64IntegerAttr(0));
        chooseKernel(few, tile, all, 1, fewRows, {ahead, noPace});
      },
      [&] {
        int64_t rounds =
            panels.getDepth() / panels.getInterleave() / panels.getStreams();
        SmallVector<Value> given =
            shareRequest(group, tile, ahead, indexConstant(b, rounds));
        int64_t least = fewRows == 0 ? 1 : leastOfTile(fewRows),
                most = product.tile.rows;
        branch(
            group.isKept,
            [&] { chooseKernel(keptKernel(), tile, all, least, most, given); },
            [&] {
              if (group.isKept)
                least = leastOfTile(keptRows);
              chooseKernel(plain, tile, all, least, most, given);
            });
      });
}

SmallVector<Value> ProductBuilder::shareRequest(const Group &group,
                                                const Tile &tile, Value ahead,
                                                Value rounds) {
  int64_t streams = panels.getStreams();
  Value line = indexConstant(b, kCacheLine), pace = line;
  if (!sharesRows) {
    Value all = indexConstant(b, product.tile.width * 4 * streams);
    pace = arith::MinUIOp::create(
        b, arith::CeilDivUIOp::create(b, all, group.tiles), line);
    Value parts = arith::CeilDivUIOp::create(b, all, pace);
    Value part = arith::RemUIOp::create(b, tile.number, parts);
    ahead = elementAt(
        ahead, b.getI8Type(),
        arith::MulIOp::create(b, arith::MulIOp::create(b, part, pace), rounds));
  }
  return {ahead, arith::IndexCastOp::create(b, b.getI64Type(), pace)};
}

void ProductBuilder::callBlock(const Group &group, const Tile &tile,
                               const Block &block, Value ahead) {
  int64_t lines = product.tile.width * 4 / kCacheLine, most = product.tile.rows;
  branch(
      group.isSingle,
      [&] {
        Value pace = arith::ConstantOp::create(
            b, b.getI64IntegerAttr(lines * kCacheLine));
        chooseKernel(kernelOf(lines), tile, block, 1, most, {ahead, pace});
      },
      [&] {
        Value steps = arith::DivUIOp::create(
            b, arith::IndexCastOp::create(b, b.getIndexType(), block.count),
            indexConstant(b, panels.getInterleave()));
        chooseKernel(kernelOf(1), tile, block, leastOfTile(most), most,
                     shareRequest(group, tile, ahead, steps));
      });
}

ProductBuilder::Block ProductBuilder::wholePanel(Value panel) {
  return {arith::ConstantOp::create(b, b.getI64IntegerAttr(0)),
          arith::ConstantOp::create(b, b.getI64IntegerAttr(panels.getDepth())),
          panel};
}

int64_t ProductBuilder::leastOfTile(int64_t rows) const {
  int64_t most = product.tile.rows, least = most;
  for (int64_t more = rows + 1; more <= rows + most; ++more)
    least = std::min(least, more / ((more + most - 1) / most));
  return least;
}

PanelKernel ProductBuilder::kernelOf(int64_t lines) const {
  return {product.tile,
          getElementTypeOrSelf(product.lhs),
          getElementTypeOrSelf(product.weight),
          static_cast<bool>(product.rowWeights),
          lines,
          widensRows(),
          widensRows() ? panelsAtOnce : 1,
          panels.getStreams()};
}

PanelKernel ProductBuilder::keptKernel() const {
  PanelKernel kernel = kernelOf(1);
  kernel.rowElement = b.getF32Type();
  kernel.widensRows = false;
  kernel.panels = 1;
  return kernel;
}

void ProductBuilder::branch(Value condition, function_ref<void()> then,
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

void ProductBuilder::chooseKernel(const PanelKernel &kernel, const Tile &tile,
                                  const Block &block, int64_t least,
                                  int64_t most, ArrayRef<Value> given) {
  SmallVector<Value> operands = {rowPointers, block.panel, block.count,
                                 tile.sums, space};
  llvm::append_range(operands, given);
  if (product.tile.blockBytes > 0)
    operands.push_back(block.start);
  // Every count but the largest has its case; the largest is the default.
  SmallVector<int64_t> cases = llvm::to_vector(llvm::seq<int64_t>(least, most));
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
