// Which experts tokens go to: loads of experts for a number of tokens, drawn
// from a distribution or recorded, the same for the same seed.
#ifndef MOE_ANALYSIS_ROUTINGMODEL_H
#define MOE_ANALYSIS_ROUTINGMODEL_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>
#include <vector>

namespace moe {

enum class RoutingKind { Balanced, Uniform, PowerLaw, Zipf, Histogram };

/// `balanced`: every expert the same share. `uniform`: each token draws k
/// experts, all equally likely. `power_law:A` and `zipf:S`: popularities drawn
/// from a truncated power law of exponent A, or falling as 1 / rank^S, in an
/// order of experts that the seed decides. `histogram:FILE`: recorded.
struct RoutingModel {
  RoutingKind kind = RoutingKind::Uniform;
  double exponent = 0;
  std::vector<double> histogram; // popularity of each expert
  std::string spelling = "uniform";

  /// One draw of the rows of each expert: `tokens` tokens of `topK` experts.
  std::vector<double> draw(double tokens, int64_t topK, int64_t experts,
                           uint64_t seed) const;
  /// What keeps recorded rows from being those of such a layer; empty if
  /// nothing does.
  std::string misfit(int64_t topK, int64_t experts) const;
  /// Draws that differ.
  int numDraws() const { return kind == RoutingKind::Balanced ? 1 : 9; }
};

mlir::FailureOr<RoutingModel> parseRoutingModel(llvm::StringRef text,
                                                std::string &error);

/// A router that chooses from `kept` of `groups` equal groups of experts.
struct GroupLimit {
  int64_t groups = 1, kept = 1;
};

/// Share of tokens that choose one or more of `held` experts: experts that are
/// left by the limit are equally likely, and the held ones stand together.
double shareMet(int64_t experts, int64_t topK, int64_t held,
                const GroupLimit &limit);

} // namespace moe
#endif
