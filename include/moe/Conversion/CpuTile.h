// What the code generator knows about a CPU's vector unit.
#ifndef MOE_CONVERSION_CPUTILE_H
#define MOE_CONVERSION_CPUTILE_H

#include "mlir/Support/LLVM.h"
#include "moe/Target/CpuTarget.h"

namespace moe {

/// The register tile of a matrix product: `rows` x `width` f32 accumulators, in
/// vectors of `lanes`.
struct CpuTile {
  int64_t lanes = 8;
  int64_t rows = 6;
  int64_t width = 16;
  /// The unit multiplies pairs of bf16 into f32 (AVX512-BF16), and sooner than
  /// it multiplies them one by one in f32.
  bool bf16Dot = false;
  /// Few rows ask for their next panel in the first cache, not in the second.
  bool aheadInFirstCache = true;
  /// Registers are left for the pace at which a kernel asks for its next panel:
  /// all tiles of a panel's rows share that evenly, however many they are.
  bool hasPace = false;
  /// The most panels that rows are multiplied with once they are widened.
  int64_t panelsAtOnce = 1;
  /// Pieces of a panel that kernels read by turns (see #moe.panels).
  int64_t streams = 1;
  /// Bytes of widened rows that a thread may keep while it goes through the
  /// panels of a group.
  int64_t keptBytes = 0;
  /// The most rows that are multiplied with two panels at once: they need few
  /// registers, and two panels have twice the streams.
  int64_t fewRows = 0;

  /// Bytes of a panel, a block of K, that all tiles of a group's rows are
  /// multiplied with before one goes on to the next block: so many for each
  /// tile, and at most; 0: whole panels.
  int64_t blockBytes = 0, mostBlockBytes = 0;

  /// Streams of a panel of this depth: all, or one where they do not divide it.
  int64_t streamsOf(int64_t depth, int64_t interleave) const {
    return depth % (interleave * streams) == 0 ? streams : 1;
  }

  static CpuTile of(const CpuTarget &target);

  /// The tile for a name of --cpu or a spelling in `moe.options`. On failure,
  /// `error` says what was found and what is expected.
  static mlir::FailureOr<CpuTile> get(llvm::StringRef cpu, std::string &error);
};

} // namespace moe
#endif
