#include "moe/Report/PlanReport.h"

using namespace mlir;
using namespace moe;
namespace json = llvm::json;

// Three decimals of a microsecond are more than any model knows, and the same
// on every platform.
static double rounded(double value) {
  return std::isfinite(value) ? std::round(value * 1e3) / 1e3 : 0;
}

static json::Object termsOf(const std::map<std::string, double> &terms) {
  json::Object object;
  for (const auto &[name, us] : terms)
    object[name] = rounded(us);
  return object;
}

static json::Object memoryOf(const MemoryLedger &memory) {
  json::Object object;
  for (const LedgerEntry &entry : memory.entries)
    object[entry.name] = std::round(entry.bytes);
  return object;
}

static json::Object layerOf(const LayerCost &layer) {
  return json::Object{{"time_us", rounded(layer.us)},
                      {"p95_us", rounded(layer.p95Us)},
                      {"terms", termsOf(layer.terms)},
                      {"skew_us", rounded(layer.skewUs)},
                      {"flops", std::round(layer.flops)},
                      {"weight_read_bytes", std::round(layer.weightBytes)},
                      {"domain_bytes", std::round(layer.domainBytes)},
                      {"network_bytes", std::round(layer.networkBytes)},
                      {"rows_mean", rounded(layer.meanRows)},
                      {"rows_max", rounded(layer.maxRows)},
                      {"rows_max_p95", rounded(layer.p95Rows)}};
}

static json::Object candidateOf(const Candidate &candidate,
                                int64_t alternative) {
  const PlacementWords &words = candidate.words;
  json::Object object{{"alternative", alternative},
                      {"ep", words.ep},
                      {"etp", words.etp},
                      {"edp", words.edp},
                      {"dispatcher", stringifyDispatcher(words.dispatcher)},
                      {"dedup", words.dedup},
                      {"boundary", stringifyBoundary(words.boundary)},
                      {"shared", stringifySharedLayout(words.shared)},
                      {"attn_tp", candidate.attnTp},
                      {"attn_dp", candidate.attnDp},
                      {"cp", candidate.cp},
                      {"pp", candidate.pp},
                      {"chunks", 1},
                      {"tokens", candidate.tokens},
                      {"legal", candidate.legal},
                      {"reason", candidate.reason}};
  if (candidate.us > 0) {
    object["time_us"] = rounded(candidate.us);
    object["p95_us"] = rounded(candidate.p95Us);
    object["terms"] = termsOf(candidate.terms);
    object["layer"] = layerOf(candidate.layer);
    object["memory_bytes"] = std::round(candidate.memory.total());
    object["memory"] = memoryOf(candidate.memory);
  } else {
    object["time_us"] = nullptr;
    object["terms"] = json::Object{};
    object["memory_bytes"] = nullptr;
  }
  return object;
}

json::Value moe::planJson(ArrayRef<Plan> plans, bool all) {
  json::Array candidates, sweep;
  const Candidate *winner = nullptr;
  int64_t winnerOf = 0;
  for (auto [index, plan] : llvm::enumerate(plans)) {
    if (const Candidate *best = plan.winner();
        best && (!winner || best->us < winner->us)) {
      winner = best;
      winnerOf = index;
    }
    size_t shown = all ? plan.candidates.size()
                       : std::min<size_t>(2, plan.candidates.size());
    for (const Candidate &candidate :
         ArrayRef(plan.candidates).take_front(shown))
      candidates.push_back(candidateOf(candidate, index));
    for (const TokenPoint &point : plan.sweep)
      if (!point.candidates.empty() && point.candidates.front().legal) {
        const Candidate &best = point.candidates.front();
        sweep.push_back(json::Object{
            {"alternative", int64_t(index)},
            {"tokens", point.tokens},
            {"ep", best.words.ep},
            {"etp", best.words.etp},
            {"edp", best.words.edp},
            {"dispatcher", stringifyDispatcher(best.words.dispatcher)},
            {"dedup", best.words.dedup},
            {"time_us", rounded(best.us)}});
      }
  }
  const Plan &first = plans.front();
  return json::Object{
      {"schema", 1},
      {"machine", first.request.machine.name},
      {"ranks", first.request.resolvedRanks()},
      {"phase", first.request.phase},
      {"routing", first.request.routing.spelling},
      {"layers", first.layers},
      {"winner", winner ? json::Value(candidateOf(*winner, winnerOf))
                        : json::Value(nullptr)},
      {"sweep", std::move(sweep)},
      {"candidates", std::move(candidates)}};
}
