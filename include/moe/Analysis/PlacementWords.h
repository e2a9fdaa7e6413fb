// The words of `--place`: what they are, their defaults, and what they may not
// say.
#ifndef MOE_ANALYSIS_PLACEMENTWORDS_H
#define MOE_ANALYSIS_PLACEMENTWORDS_H

#include "dialects/Moe/MoeDialect.h"
#include <optional>
#include <string>

namespace moe {

/// A complete and consistent layout: ep * etp * edp = ranks, and so is attnTp *
/// attnDp * cp, attention's mesh over the same ranks (tp fastest, then cp).
/// Layers are held against it by PlacementRules.
struct PlacementWords {
  int64_t ranks = 1, ep = 1, etp = 1, edp = 1;
  int64_t nodes = 1; // ranks are numbered node by node
  int64_t attnTp = 1, attnDp = 1, cp = 1;
  bool hasAttention = false; // one of the three is given
  Dispatcher dispatcher = Dispatcher::AllToAll;
  bool dedup = false;
  Boundary boundary = Boundary::Split;
  SharedLayout shared = SharedLayout::Replicated;
  std::optional<int64_t>
      tokens;        // global tokens per step, for cost and memory only
  std::string phase; // prefill, decode or train; empty when not said

  /// Every decision as words again, in one order: the spelling that
  /// `moe.options` records.
  std::string spell() const;
};

/// Reads `text`: key=value words between spaces. Left out: etp=1; with neither
/// ep nor edp, ep=ranks/etp and edp=1; with one of them the other fills ranks;
/// nodes=1, dispatcher=all_to_all, dedup=false, boundary=split,
/// shared=replicated; cp=1, and of attn_tp and attn_dp what is left out fills
/// the ranks (of both: attn_tp at a replicated boundary, else attn_dp). What
/// contradicts itself is reported through `emitError` with the nearest legal
/// choice.
mlir::FailureOr<PlacementWords>
parsePlacementWords(llvm::StringRef text,
                    llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// The largest legal number below `wanted` and the smallest above it, up to
/// `limit`, as "key=3 or key=6"; "none" when there is none.
std::string nearestChoices(llvm::StringRef key, int64_t wanted, int64_t limit,
                           llvm::function_ref<bool(int64_t)> isLegal);

} // namespace moe
#endif
