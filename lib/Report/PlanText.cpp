#include "moe/Analysis/StableOrder.h"
#include "moe/Report/PlanReport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

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

// Whether experts and their tokens lie and travel in one way.
static bool liesAlike(const Candidate &a, const Candidate &b) {
  auto layout = [](const PlacementWords &words) {
    return std::tuple(words.ep, words.etp, words.edp, words.dispatcher,
                      words.dedup);
  };
  return layout(a.words) == layout(b.words);
}

const Candidate *moe::chosen(ArrayRef<Plan> plans) {
  const Candidate *best = nullptr;
  for (const Plan &plan : plans)
    if (const Candidate *winner = plan.winner();
        winner && (!best || winner->us < best->us))
      best = winner;
  return best;
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
  if (!chosen(plans)) {
    if (anyRefused)
      stream << "  none is legal; the first: " << anyRefused->layout() << ": "
             << anyRefused->reason << "\n";
    return text;
  }
  const Candidate &best = *chosen(plans);
  llvm::erase_if(order, [&](const Candidate *other) {
    return other->layout() == best.layout() && other->us == best.us;
  });
  stream << llvm::formatv("  winner     {0}: {1:F1} us a step of {2:F0} tokens "
                          "(p95 {3:F1} us)\n",
                          best.layout(), best.us, best.tokens, best.p95Us);
  auto compare = [&](StringRef label, const Candidate &other) {
    double slower = (other.us / best.us - 1) * 100;
    stream << llvm::formatv("  {0} {1}: {2:F1} us, {3:F1}% {4}\n", label,
                            other.layout(), other.us, std::abs(slower),
                            slower < 0 ? "faster here, slower over the range"
                                       : "slower")
           << "  decides    " << difference(best, other) << "\n";
  };
  if (!order.empty()) {
    compare("runner-up ", *order.front());
    // The runner-up may differ in attention's mesh alone.
    auto *other = llvm::find_if(order, [&](const Candidate *candidate) {
      return !liesAlike(best, *candidate);
    });
    if (other != order.begin() && other != order.end())
      compare("experts   ", **other);
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
      "  memory     {0:F2} of {1:F0} GB a rank for {2}:",
      best.memory.total() / 1e9, first.request.machine.memoryBytes / 1e9,
      first.wholeModel
          ? llvm::formatv("the model with {0} MoE layers", first.layers).str()
      : first.layers == 1
          ? std::string("this layer alone (--model-terms adds the model)")
          : llvm::formatv("these {0} layers alone (--model-terms adds the "
                          "model)",
                          first.layers)
                .str());
  for (const LedgerEntry &entry : best.memory.entries)
    stream << llvm::formatv(" {0} {1:F2} GB", entry.name, entry.bytes / 1e9);
  stream << "\n";
  // Where the fastest layout changes with the number of tokens.
  int64_t shown = 0;
  for (const Plan &plan : plans)
    for (size_t i = 1; i < plan.sweep.size(); ++i) {
      const auto &before = plan.sweep[i - 1].candidates,
                 &after = plan.sweep[i].candidates;
      if (before.empty() || after.empty() || !before.front().legal ||
          !after.front().legal ||
          before.front().layout() == after.front().layout() || ++shown > 8)
        continue;
      stream << llvm::formatv("  crossover  up to {0:F0} tokens {1}; from "
                              "{2:F0} {3}\n",
                              plan.sweep[i - 1].tokens, before.front().layout(),
                              plan.sweep[i].tokens, after.front().layout());
    }
  for (const Plan &plan : plans)
    for (const TokenPoint &point : plan.sweep)
      if (plan.asked && !point.candidates.empty() &&
          !point.candidates.front().legal) {
        stream << llvm::formatv(
            "  no layout  from {0:F0} tokens on: {1}: {2}\n", point.tokens,
            point.candidates.front().layout(), point.candidates.front().reason);
        break;
      }
  if (anyRefused)
    stream << "  refused    " << anyRefused->layout() << ": "
           << anyRefused->reason << "\n";
  return text;
}
