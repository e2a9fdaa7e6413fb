// Four questions of the field, answered with numbers for a layer and a machine.
#ifndef MOE_REPORT_EXPLAIN_H
#define MOE_REPORT_EXPLAIN_H

#include "moe/Analysis/PlacementSearch.h"

namespace moe {

enum class Question { LoadJitter, Padding, Decode, TokenSort };
/// load-jitter, padding, decode, token-sort.
std::optional<Question> parseQuestion(llvm::StringRef name);

/// Sizes of the layer that a question is about.
struct LayerSizes {
  int64_t experts = 1, topK = 1, width = 1, hidden = 1;
  GemmType weights = GemmType::BF16; // what they are stored in
};

/// A table with its method and a plot of characters. `request` gives machine,
/// routing, ranks and tokens (one number or a range).
std::string explain(Question question, const LayerSizes &layer,
                    const PlanRequest &request);

} // namespace moe
#endif
