// The inner products: one function per number of rows, made once for a module.
#ifndef MOE_LIB_CONVERSION_MOETOVECTOR_PANELKERNELS_H
#define MOE_LIB_CONVERSION_MOETOVECTOR_PANELKERNELS_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Conversion/CpuTile.h"

namespace moe {

/// What distinguishes one family of kernels from another.
struct PanelKernel {
  CpuTile tile;
  mlir::Type rowElement;   // f32 or bf16
  mlir::Type panelElement; // f32 or bf16
  bool scaled =
      false; // rows are multiplied by a weight, and rounded, before the product
  /// Cache lines of other weights that are asked for in each step; 0: none.
  int64_t aheadLines = 1;
  /// bf16 rows are widened to f32 beforehand, block by block, and their depth
  /// is a multiple of the lanes.
  bool widensRows = false;
  /// Panels, one behind the other, that rows are multiplied with while they
  /// stand widened.
  int64_t panels = 1;
  /// Pieces of a panel that steps go round.
  int64_t streams = 1;
  /// Panels, one behind the other, that each step multiplies rows with. Those
  /// that are not widened block by block take all their `panels` together.
  int64_t panelsTogether = 1;

  /// Values of K that stand together in a panel.
  int64_t interleave() const { return panelElement.isBF16() ? 2 : 1; }
};

constexpr int64_t kCacheLine = 64;
/// Values of f32 that `space` holds for kernels that widen rows: together with
/// a panel's lines they stay in the first cache.
constexpr int64_t kWidenedValues = 4096;

/// The function
///   llvm.func @name(rows: ptr, panel: ptr, depth: i64, tile: ptr, space: ptr,
///                   ahead: ptr[, pace: i64][, start: i64])
/// which sets tile[r][j] = sum over k of rows[r][k] * panel[k][j] in f32, k
/// ascending, for `rows` rows, whose addresses stand in an array. `space` holds
/// one f32 a row for scaled kernels, is where rows are widened, and is not used
/// by others. The tile has `width` columns; one of several panels has
/// tile[panel][tile.rows][width]. Weights from `ahead` on are prefetched,
/// `aheadLines` cache lines a step, or, where the tile has a pace, in each
/// round of the streams, from an address that moves on by `pace` bytes. Where
/// the tile has blocks of K, rows are read from `start` on, and sums are added
/// to what the tile holds unless `start` is 0. Created in `module` when
/// missing.
mlir::LLVM::LLVMFuncOp getPanelKernel(mlir::ModuleOp module,
                                      const PanelKernel &kernel, int64_t rows);

} // namespace moe
#endif
