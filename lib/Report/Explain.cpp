// Each answer states its method, then a table over numbers of tokens, then a
// plot of its main column.
#include "moe/Report/Explain.h"
#include "moe/Analysis/CollectiveCost.h"
#include "moe/Analysis/MatmulCost.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace moe;
using llvm::formatv;

static constexpr int kDraws = 100;
static constexpr double kFactors[] = {1.0, 1.25, 1.5}; // of capacity
static constexpr double kTiles[] = {128, 64};          // rows

std::optional<Question> moe::parseQuestion(StringRef name) {
  return llvm::StringSwitch<std::optional<Question>>(name)
      .Case("load-jitter", Question::LoadJitter)
      .Case("padding", Question::Padding)
      .Case("decode", Question::Decode)
      .Case("token-sort", Question::TokenSort)
      .Default(std::nullopt);
}

namespace {

struct Imbalance {
  double mean = 0, p95 = 0; // rows of the busiest rank over the mean
  double extraUs = 0;       // of the slowest rank's products over the mean
};

class Explainer {
public:
  Explainer(const LayerSizes &layer, const PlanRequest &request)
      : layer(layer), request(request), machine(request.machine),
        gemm(request.gemm.value_or(layer.weights)), out(text) {}
  std::string run(Question question);

private:
  void loadJitter();
  void padding();
  void decode();
  void tokenSort();
  std::vector<double> counts(std::initializer_list<double> fallback) const {
    return request.tokens.empty() ? std::vector<double>(fallback)
                                  : request.tokens;
  }
  std::vector<double> draw(double tokens, uint64_t seed) const {
    return request.routing.draw(tokens, layer.topK, layer.experts, seed);
  }
  double productsUs(ArrayRef<double> groups) const;
  Imbalance imbalance(double tokens, int64_t ep) const;
  void plot(StringRef title,
            ArrayRef<std::pair<std::string, double>> bars) const;

  const LayerSizes &layer;
  const PlanRequest &request;
  const Machine &machine;
  GemmType gemm;
  std::string text;
  mutable llvm::raw_string_ostream out;
};

} // namespace

void Explainer::plot(StringRef title,
                     ArrayRef<std::pair<std::string, double>> bars) const {
  double most = 0;
  for (const auto &bar : bars)
    most = std::max(most, bar.second);
  out << "\n  " << title << "\n";
  for (const auto &[label, value] : bars)
    out << formatv(
        "  {0,12} {1} {2:F2}\n", label,
        std::string(most > 0 ? std::lround(40 * value / most) : 0, '#'), value);
}

// Both products of the experts whose rows are `groups`.
double Explainer::productsUs(ArrayRef<double> groups) const {
  double total = 0;
  for (bool down : {false, true}) {
    Work work;
    work.kind = WorkKind::Product;
    work.groups = SmallVector<double>(groups);
    work.columns = down ? layer.hidden : 2 * layer.width;
    work.depth = down ? layer.width : layer.hidden;
    double rows = 0;
    for (double group : groups)
      rows += group;
    work.activationBytes = 2 * rows * (layer.hidden + layer.width);
    total += workUs(machine, work, gemm, layer.hidden);
  }
  return total;
}

Imbalance Explainer::imbalance(double tokens, int64_t ep) const {
  std::vector<double> ratios;
  Imbalance result;
  for (int seed = 0; seed < kDraws; ++seed) {
    std::vector<double> loads = draw(tokens, seed);
    size_t slots = llvm::divideCeil(loads.size(), ep);
    double all = 0, most = 0, allUs = 0, mostUs = 0;
    for (size_t first = 0; first < loads.size(); first += slots) {
      ArrayRef<double> rank =
          ArrayRef(loads).slice(first, std::min(slots, loads.size() - first));
      double rows = std::accumulate(rank.begin(), rank.end(), 0.0),
             us = productsUs(rank);
      all += rows;
      most = std::max(most, rows);
      allUs += us;
      mostUs = std::max(mostUs, us);
    }
    ratios.push_back(all > 0 ? most * ep / all : 1);
    result.mean += ratios.back() / kDraws;
    result.extraUs += (mostUs - allUs / ep) / kDraws;
  }
  llvm::sort(ratios);
  result.p95 = ratios[kDraws * 95 / 100];
  return result;
}

void Explainer::loadJitter() {
  int64_t wide = std::min(layer.experts, request.resolvedRanks());
  SmallVector<int64_t> degrees;
  for (int64_t ep : {int64_t(8), wide, std::min<int64_t>(64, layer.experts)})
    if (ep > 1 && ep <= layer.experts && !llvm::is_contained(degrees, ep))
      degrees.push_back(ep);
  llvm::sort(degrees);
  out << "load-jitter: how much the busiest rank exceeds the mean under EP\n"
      << formatv("method: {0} draws of routing {1}; rows of the busiest rank "
                 "over the mean, expected and 95th percentile; us that the "
                 "experts' products of the slowest rank take longer than the "
                 "mean\n\n",
                 kDraws, request.routing.spelling);
  out << formatv("  {0,8} {1,4} {2,10} {3,10} {4,12} {5}\n", "tokens", "ep",
                 "max/mean", "p95", "extra us", "phase");
  std::vector<std::pair<std::string, double>> bars;
  for (double tokens : counts({8, 32, 128, 512, 1024, 4096, 16384}))
    for (int64_t ep : degrees) {
      Imbalance found = imbalance(tokens, ep);
      out << formatv("  {0,8:F0} {1,4} {2,10:F2} {3,10:F2} {4,12:F1} {5}\n",
                     tokens, ep, found.mean, found.p95, found.extraUs,
                     tokens / request.resolvedRanks() <= 256 ? "decode"
                                                             : "prefill");
      bars.emplace_back(formatv("{0:F0} ep{1}", tokens, ep).str(), found.mean);
    }
  plot("max/mean", bars);
}

void Explainer::padding() {
  out << "padding: what a capacity and tiles of rows cost\n"
      << formatv("method: {0} draws of routing {1}; an expert's capacity is "
                 "ceil(tokens x k / experts x factor); pad-to-max pads every "
                 "expert to the largest, tiles each expert to whole tiles\n\n",
                 kDraws, request.routing.spelling);
  out << formatv("  {0,8} {1,10} {2,10} {3,10} {4,10} {5,10} {6,10}\n",
                 "tokens", "drop 1.0", "drop 1.25", "drop 1.5", "pad max",
                 "tile 128", "tile 64");
  std::vector<std::pair<std::string, double>> bars;
  for (double tokens : counts({256, 1024, 4096})) {
    double dropped[3] = {}, padded = 0, tiled[2] = {};
    double pairs = tokens * layer.topK;
    for (int seed = 0; seed < kDraws; ++seed) {
      std::vector<double> loads = draw(tokens, seed);
      double most = 0;
      for (double load : loads) {
        most = std::max(most, load);
        for (auto [i, factor] : llvm::enumerate(kFactors))
          dropped[i] +=
              std::max(0.0, load - std::ceil(pairs / layer.experts * factor));
        for (auto [i, tile] : llvm::enumerate(kTiles))
          tiled[i] += std::ceil(load / tile) * tile;
      }
      padded += most * layer.experts;
    }
    double all = pairs * kDraws;
    out << formatv("  {0,8:F0} {1,9:F2}% {2,9:F2}% {3,9:F2}% {4,10:F2} "
                   "{5,10:F2} {6,10:F2}\n",
                   tokens, 100 * dropped[0] / all, 100 * dropped[1] / all,
                   100 * dropped[2] / all, padded / all, tiled[0] / all,
                   tiled[1] / all);
    bars.emplace_back(formatv("{0:F0}", tokens).str(), tiled[0] / all);
  }
  plot("rows computed over rows needed, tiles of 128", bars);
}

void Explainer::decode() {
  int64_t ranks = request.resolvedRanks();
  double tokens = request.tokens.empty() ? 16.0 * ranks : request.tokens.back();
  double expert = 3.0 * layer.hidden * layer.width * gemmBytes(gemm);
  out << "decode: why EP matters where weights are read once for few tokens\n"
      << formatv(
             "method: {0:F0} tokens a step on {1} ranks; experts touched "
             "and rows from {2} draws of routing {3}; the rest of the ranks "
             "hold replicas and share the tokens; floor = weight bytes / "
             "{4:F2} TB/s; exchange = dispatch and combine of bf16 rows, "
             "one copy to each rank\n\n",
             tokens, ranks, kDraws / 4, request.routing.spelling,
             machine.memoryBandwidth / 1e12);
  out << formatv("  {0,5} {1,10} {2,12} {3,10} {4,12} {5,10} {6,10}\n", "ep",
                 "touched", "MB read", "floor us", "products us", "exchange",
                 "sum us");
  std::vector<std::pair<std::string, double>> bars;
  for (int64_t ep = 1; ep <= std::min(ranks, layer.experts); ep *= 2) {
    if (ranks % ep != 0)
      continue;
    int64_t slots = llvm::divideCeil(layer.experts, ep);
    double touched = 0, products = 0, replica = tokens * ep / ranks;
    for (int seed = 0; seed < kDraws / 4; ++seed) {
      std::vector<double> loads = draw(replica, seed);
      double most = 0, slowest = 0;
      for (size_t first = 0; first < loads.size(); first += slots) {
        ArrayRef<double> mine = ArrayRef(loads).slice(
            first, std::min<size_t>(slots, loads.size() - first));
        double hit = llvm::count_if(mine, [](double load) { return load > 0; });
        most = std::max(most, hit);
        slowest = std::max(slowest, productsUs(mine));
      }
      touched += most / (kDraws / 4);
      products += slowest / (kDraws / 4);
    }
    GroupShape group = stridedGroup(ep, 1, machine);
    double copies = ep * shareMet(layer.experts, layer.topK, slots, {}),
           bytes = tokens / ranks * copies * layer.hidden * 2,
           exchange = 2 * collectiveUs(machine, CollectiveKind::Dispatch, group,
                                       bytes);
    out << formatv("  {0,5} {1,10:F1} {2,12:F1} {3,10:F1} {4,12:F1} {5,10:F1} "
                   "{6,10:F1}\n",
                   ep, touched, touched * expert / 1e6,
                   touched * expert / machine.memoryBandwidth * 1e6, products,
                   exchange, products + exchange);
    bars.emplace_back(formatv("ep{0}", ep).str(), products + exchange);
  }
  plot("us of a layer", bars);
}

void Explainer::tokenSort() {
  out << "token-sort: sorting and grouped products against one-hot einsums\n"
      << "method: one rank, capacity factor 1.25; the einsum form multiplies "
         "a [tokens, experts x capacity] mask with the rows, once out and once "
         "back, and computes whole capacities; the sorted form reads and "
         "writes each row, and computes the rows that are there\n\n";
  out << formatv("  {0,8} {1,14} {2,14} {3,12} {4,12} {5,8}\n", "tokens",
                 "mask TFLOP", "experts TFLOP", "einsum us", "sorted us",
                 "ratio");
  std::vector<std::pair<std::string, double>> bars;
  for (double tokens : counts({256, 1024, 4096, 16384})) {
    double pairs = tokens * layer.topK,
           capacity = std::ceil(1.25 * pairs / layer.experts),
           places = capacity * layer.experts,
           mask = 2 * 2 * tokens * places * layer.hidden,
           experts = 6 * pairs * layer.hidden * layer.width;
    std::vector<double> loads = draw(tokens, 0), whole(layer.experts, capacity);
    double einsum =
        denseUs(machine, GemmType::BF16, places, layer.hidden, tokens) +
        denseUs(machine, GemmType::BF16, tokens, layer.hidden, places) +
        productsUs(whole);
    double sorted =
        3 * machine.launchUs +
        memoryUs(machine, 2 * layer.hidden * (3 * pairs + 2 * tokens)) +
        productsUs(loads);
    out << formatv("  {0,8:F0} {1,14:F3} {2,14:F3} {3,12:F1} {4,12:F1} "
                   "{5,8:F2}\n",
                   tokens, mask / 1e12, experts / 1e12, einsum, sorted,
                   einsum / sorted);
    bars.emplace_back(formatv("{0:F0}", tokens).str(), einsum / sorted);
  }
  plot("einsum over sorted", bars);
}

std::string Explainer::run(Question question) {
  out << formatv("E={0} k={1} H={2} I={3}, {4} on {5} ranks of {6}\n",
                 layer.experts, layer.topK, layer.hidden, layer.width,
                 spellGemmType(gemm), request.resolvedRanks(), machine.name);
  switch (question) {
  case Question::LoadJitter:
    loadJitter();
    break;
  case Question::Padding:
    padding();
    break;
  case Question::Decode:
    decode();
    break;
  case Question::TokenSort:
    tokenSort();
    break;
  }
  return text;
}

std::string moe::explain(Question question, const LayerSizes &layer,
                         const PlanRequest &request) {
  return Explainer(layer, request).run(question);
}
