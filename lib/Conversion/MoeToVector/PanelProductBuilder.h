// Emits the loops around the kernels of a product with packed weights: groups,
// items and runs (PanelProduct.cpp), tiles of rows (PanelTiles.cpp), and the
// kernels that these take (PanelChoice.cpp).
#ifndef MOE_LIB_CONVERSION_MOETOVECTOR_PANELPRODUCTBUILDER_H
#define MOE_LIB_CONVERSION_MOETOVECTOR_PANELPRODUCTBUILDER_H

#include "PanelKernels.h"
#include "PanelProduct.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace moe {

class ProductBuilder {
public:
  ProductBuilder(mlir::ImplicitLocOpBuilder &b, mlir::ModuleOp module,
                 const PanelProduct &given,
                 llvm::function_ref<void(const PanelSums &)> finish)
      : b(b), module(module), product(given), panels(product.panels),
        finish(finish),
        pointer(mlir::LLVM::LLVMPointerType::get(b.getContext())) {}

  void build();

private:
  struct Group {
    mlir::Value index, first, rows, tiles;
    mlir::Value isKept, isFew, isSingle; // i1; null: never
  };

  /// Tiles whose sums stand on the stack while a panel is gone through block by
  /// block.
  static constexpr int64_t kTilesAtOnce = 16;

  struct Tile {
    mlir::Value number, first, rows;
    mlir::Value sums; // where the kernel leaves them
  };

  /// A block of K of one panel: where it begins among values of K (i64), how
  /// many it has, and where it stands.
  struct Block {
    mlir::Value start, count, panel;
  };

  /// Does the unit multiply bf16 in f32, and take rows in whole vectors?
  bool widensRows() const;
  /// Runs of panels are as long as leaves many of them, for many threads.
  int64_t panelsOfRun() const;
  void buildByPanels();
  /// A group's panels, or runs of them, go round the team, beginning at another
  /// thread for each group.
  void buildGroup(const Group &group, mlir::Value nextGroup);
  /// The `all` panels of a run: two at once, one by one, or all together where
  /// rows are widened for the run. `panel` is its first one within the group;
  /// `position` and `behind`, where the thread goes on, count panels from the
  /// first group's first.
  void buildRun(const Group &group, mlir::Value all, mlir::Value panel,
                mlir::Value position, mlir::Value behind);
  /// A panel block by block of K: all tiles go over one block, and ask for the
  /// next, before any goes on. Their sums stand on the stack, which has room
  /// for so many tiles; more begin the panel again.
  void buildBlocks(const Group &group, mlir::Value panel, mlir::Value position,
                   mlir::Value ahead);
  void callBlock(const Group &group, const Tile &tile, const Block &block,
                 mlir::Value ahead);
  /// Values of K of a group's blocks, alike for all blocks of a panel.
  mlir::Value blockLength(const Group &group);
  /// The whole panel at `panel`.
  Block wholePanel(mlir::Value panel);
  /// Widens all rows of a group, if they are to be kept and there is work.
  void keepRows(const Group &group, mlir::Value hasWork);
  mlir::Value firstItem(mlir::Value group, mlir::Value threads);
  /// The first group from `from` on that has rows; the number of groups when
  /// there is none.
  mlir::Value nextWithRows(mlir::Value from);
  void buildByRows();
  Group groupOf(mlir::Value index);
  /// Tile t of a group: rows cut as evenly as they go, larger tiles first.
  Tile tileOf(const Group &group, mlir::Value t);
  mlir::Value elementAt(mlir::Value base, mlir::Type element,
                        mlir::Value index);
  /// Addresses (and weights) of a tile's rows, on the stack for the kernel.
  void pointAtRows(const Group &group, const Tile &tile);
  mlir::Value gathered(mlir::Value row);
  /// The row of lhs that is row `row` of the product.
  mlir::Value sourceRow(mlir::Value row);
  mlir::Value addressOf(mlir::Value row);
  /// Row r of a group, widened.
  mlir::Value keptRow(mlir::Value r);
  /// One tile of rows times one panel, or a run of them, of which `panel` is
  /// the first within the group; `position` and `ahead` count panels from the
  /// first group's first.
  void buildTile(const Group &group, const Tile &tile, mlir::Value panel,
                 mlir::Value position, mlir::Value ahead);
  /// `count` panels from `panel` on, whose sums stand one behind the other.
  void finishPanels(const Group &group, const Tile &tile, mlir::Value panel,
                    mlir::Value count);
  /// The rows of a tile, whose sums are those from `first` on.
  void finishPanel(const Group &group, const Tile &tile, mlir::Value panel,
                   mlir::Value first);
  mlir::Value panelAt(mlir::Value position);
  void callKernel(const Group &group, const Tile &tile, mlir::Value panel,
                  mlir::Value ahead);
  /// Each tile asks for an equal part, one line a round at most; where the last
  /// parts would lie behind the panel, their tiles ask for what others have
  /// asked for. A single tile asks for the first stream and leaves the other
  /// ones to the processor, and one that takes two panels leaves it all of
  /// them. Threads that share rows ask each for itself.
  void callPaced(const Group &group, const Tile &tile, mlir::Value panel,
                 mlir::Value ahead);
  /// From where on a tile asks, and its pace, in a kernel of so many rounds.
  llvm::SmallVector<mlir::Value> shareRequest(const Group &group,
                                              const Tile &tile,
                                              mlir::Value ahead,
                                              mlir::Value rounds);
  /// The smallest tile of a group of more than `rows` rows.
  int64_t leastOfTile(int64_t rows) const;
  PanelKernel kernelOf(int64_t lines) const;
  /// For rows that stand widened.
  PanelKernel keptKernel() const;
  /// `otherwise` alone where there is no condition.
  void branch(mlir::Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise);
  /// Calls the kernel for the tile's rows, which are `least` to `most`; `given`
  /// are where to ask ahead and, where the tile has one, the pace.
  void chooseKernel(const PanelKernel &kernel, const Tile &tile,
                    const Block &block, int64_t least, int64_t most,
                    llvm::ArrayRef<mlir::Value> given);
  void finishRow(const Group &group, mlir::Value panel, mlir::Value row,
                 mlir::Value r);

  mlir::ImplicitLocOpBuilder &b;
  mlir::ModuleOp module;
  PanelProduct product;
  PanelsAttr panels;
  llvm::function_ref<void(const PanelSums &)> finish;
  mlir::LLVM::LLVMPointerType pointer;
  mlir::Value sums, rowPointers, space, lhsPointer, weightPointer,
      flatRowWeights;
  mlir::Value kept; // rows of a group, widened; null: never
  bool sharesRows = false;
  int64_t panelsAtOnce = 1, keptRows = 0, fewRows = 0;
};

} // namespace moe
#endif
