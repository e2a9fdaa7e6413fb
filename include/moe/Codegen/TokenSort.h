// Sorts (token, expert) pairs by slot, stably, on the device.
#ifndef MOE_CODEGEN_TOKENSORT_H
#define MOE_CODEGEN_TOKENSORT_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// One CTA does everything, or two launches of the same number of CTAs share
/// the pairs: Count, then Place.
enum class TokenSortStage { Single, Count, Place };

/// Pair p = t * topK + j is the j-th expert of token t, ids[p].  Each `group`
/// consecutive slots are one bin; with more than one, or where a token has more
/// choices than there are slots, only the first pair of a token in a bin is
/// kept: at most T * min(topK, bins) rows, whatever the ids are.
///
/// - ids[pairs]
/// - slots[experts]: slot of each expert here, -1 if it is elsewhere; only with
///   `table`, else the slot is the expert, or what `placement` says of it
/// - first: only with `window`; slots count from it, and what lies outside of
///   [first, first + slots) is elsewhere
/// - counts[CTAs][bins]: from Count to Place
/// - order[pairs], tokens[pairs] (only with `tokens`): pair and token of each
///   sorted row
/// - positions[pairs]: sorted row of each pair, -1 if it is not kept or its
///   expert is elsewhere
/// - offsets[bins + 1]: first sorted row of each bin
/// - status[1]: becomes 1 where an id is outside of [0, experts), 2 where a
///   token names an expert twice and the second pair is not kept (bins of one
///   slot, fewer than choices), never cleared
/// - pairs: how many there are
///
/// All i32.  Single runs with one CTA.
struct TokenSortSpec {
  std::string name = "token_sort";
  int64_t experts = 0;
  int64_t slots = 0; ///< 0: one per expert
  int64_t topK = 0;
  int64_t group = 1; ///< slots of a bin
  bool table = false, window = false, tokens = true;
  /// Slot of each expert, known when the kernel is made; empty: the expert.
  llvm::SmallVector<int32_t> placement;
  TokenSortStage stage = TokenSortStage::Single;

  int64_t getSlots() const { return slots ? slots : experts; }
  int64_t getBins() const { return getSlots() / group; }
  bool keepsFirst() const { return group > 1 || topK > getSlots(); }
};

mlir::LogicalResult
verifyTokenSort(const TokenSortSpec &spec,
                llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getTokenSortInterface(const TokenSortSpec &spec);
mlir::LLVM::LLVMFuncOp buildTokenSort(mlir::gpu::GPUModuleOp module,
                                      const TokenSortSpec &spec);

} // namespace moe

#endif
