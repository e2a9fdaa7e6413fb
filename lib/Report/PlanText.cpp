#include "moe/Analysis/StableOrder.h"
#include "moe/Report/PlanReport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

static std::string layoutOf(const Candidate &candidate) {
  std::string text =
      llvm::formatv("ep={0} etp={1} edp={2} dispatcher={3}", candidate.words.ep,
                    candidate.words.etp, candidate.words.edp,
                    stringifyDispatcher(candidate.words.dispatcher))
          .str();
  if (candidate.words.dedup)
    text += " dedup=true";
  if (candidate.attnTp > 1)
    text += llvm::formatv(" attn_tp={0}", candidate.attnTp).str();
  return text;
}

// The terms that differ most, largest difference first.
static std::string difference(const Candidate &best, const Candidate &other) {
  std::map<std::string, double> delta;
  for (const auto &[term, us] : other.terms)
    delta[term] += us;
  for (const auto &[term, us] : best.terms)
    delta[term] -= us;
  std::vector<std::pair<std::string, double>> sorted(delta.begin(),
                                                     delta.end());
  sortStably(sorted, [](const auto &a, const auto &b) {
    return std::abs(a.second) > std::abs(b.second);
  });
  std::string text;
  for (const auto &[term, us] : ArrayRef(sorted).take_front(3))
    if (std::abs(us) >= 0.05)
      text += llvm::formatv("{0}{1} {2}{3:F1} us", text.empty() ? "" : ", ",
                            term, us > 0 ? "+" : "", us)
                  .str();
  return text.empty() ? "nothing" : text;
}

std::string moe::planText(ArrayRef<Plan> plans) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  SmallVector<const Candidate *> order;
  int64_t refused = 0;
  const Candidate *anyRefused = nullptr;
  for (const Plan &plan : plans)
    for (const Candidate &candidate : plan.candidates)
      if (candidate.legal) {
        order.push_back(&candidate);
      } else {
        ++refused;
        anyRefused = anyRefused ? anyRefused : &candidate;
      }
  sortStably(order, [](const Candidate *a, const Candidate *b) {
    return a->us < b->us;
  });
  const Plan &first = plans.front();
  stream << llvm::formatv("plan for {0} ranks of {1}, phase {2}, routing {3}: "
                          "{4} candidates, {5} refused\n",
                          first.request.resolvedRanks(),
                          first.request.machine.name, first.request.phase,
                          first.request.routing.spelling,
                          order.size() + refused, refused);
  if (order.empty()) {
    if (anyRefused)
      stream << "  none is legal; the first: " << layoutOf(*anyRefused) << ": "
             << anyRefused->reason << "\n";
    return text;
  }
  const Candidate &best = *order.front();
  stream << llvm::formatv("  winner     {0}: {1:F1} us a step of {2:F0} tokens "
                          "(p95 {3:F1} us)\n",
                          layoutOf(best), best.us, best.tokens, best.p95Us);
  if (order.size() > 1) {
    const Candidate &second = *order[1];
    stream << llvm::formatv("  runner-up  {0}: {1:F1} us, {2:F1}% slower\n",
                            layoutOf(second), second.us,
                            (second.us / best.us - 1) * 100)
           << "  decides    " << difference(best, second) << "\n";
  }
  std::vector<std::pair<std::string, double>> terms(best.terms.begin(),
                                                    best.terms.end());
  sortStably(terms,
             [](const auto &a, const auto &b) { return a.second > b.second; });
  stream << "  terms     ";
  for (const auto &[term, us] : ArrayRef(terms).take_front(6))
    stream << llvm::formatv(" {0} {1:F1} us", term, us);
  stream << "\n";
  const LayerCost &layer = best.layer;
  stream << llvm::formatv(
      "  layer      {0:F1} us; weights read {1:F1} MB; sent "
      "{2:F2} MB inside a domain, {3:F2} MB between; skew "
      "{4:F1} us (rows {5:F0} mean, {6:F0} most, {7:F0} "
      "p95)\n",
      layer.us, layer.weightBytes / 1e6, layer.domainBytes / 1e6,
      layer.networkBytes / 1e6, layer.skewUs, layer.meanRows, layer.maxRows,
      layer.p95Rows);
  stream << llvm::formatv(
      "  memory     {0:F2} of {1:F0} GB a rank:", best.memory.total() / 1e9,
      first.request.machine.memoryBytes / 1e9);
  for (const LedgerEntry &entry : best.memory.entries)
    stream << llvm::formatv(" {0} {1:F2} GB", entry.name, entry.bytes / 1e9);
  stream << "\n";
  for (const Plan &plan : plans)
    for (size_t i = 1; i < plan.sweep.size(); ++i)
      if (layoutOf(plan.sweep[i].second) != layoutOf(plan.sweep[i - 1].second))
        stream << llvm::formatv(
            "  crossover  up to {0:F0} tokens {1}; from {2:F0} "
            "{3}\n",
            plan.sweep[i - 1].first, layoutOf(plan.sweep[i - 1].second),
            plan.sweep[i].first, layoutOf(plan.sweep[i].second));
  if (anyRefused)
    stream << "  refused    " << layoutOf(*anyRefused) << ": "
           << anyRefused->reason << "\n";
  return text;
}
