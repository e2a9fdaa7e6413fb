// A plan as JSON, as HTML, and in a few lines for a person.
#ifndef MOE_REPORT_PLANREPORT_H
#define MOE_REPORT_PLANREPORT_H

#include "moe/Analysis/PlacementSearch.h"
#include "llvm/Support/JSON.h"

namespace moe {

/// Schema version 1, described in docs/Placement.md. With `all`, every
/// candidate; otherwise the best of each alternative and the runner-up.
llvm::json::Value planJson(llvm::ArrayRef<Plan> plans, bool all);

/// One page with inline SVG: cost by term, crossover over tokens, memory, the
/// ranks' timeline, rows of experts.
std::string planHtml(llvm::ArrayRef<Plan> plans);

/// The candidate that is chosen, with its timeline; null if none is legal.
const Candidate *chosen(llvm::ArrayRef<Plan> plans);

/// Under 25 lines.
std::string planText(llvm::ArrayRef<Plan> plans);

} // namespace moe
#endif
