// Draws of routing. Few pairs are drawn one by one, many by the normal limit of
// a binomial distribution; both from one small generator, so that every
// platform sees the same numbers.
#include "moe/Analysis/RoutingModel.h"
#include "moe/Json/StrictJson.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>
#include <numbers>

using namespace mlir;
using namespace moe;

namespace {

// splitmix64
class Generator {
public:
  explicit Generator(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform() { return (next() >> 11) * 0x1.0p-53; }
  double normal() {
    double u = 1 - uniform(), v = uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  }

private:
  uint64_t state;
};

} // namespace

static constexpr double kOneByOne = 1 << 12; // tokens that are drawn singly

// The most even loads, heavier ones spread over the ranks.
static std::vector<double> balanced(double pairs, int64_t experts) {
  double whole = std::round(pairs), each = std::floor(whole / experts);
  int64_t more = static_cast<int64_t>(whole - each * experts);
  std::vector<double> loads(experts, each);
  for (int64_t i = 0; i < more; ++i)
    loads[i * experts / more] += 1;
  return loads;
}

static std::vector<double> popularity(const RoutingModel &model, double tokens,
                                      int64_t experts, Generator &random) {
  std::vector<double> weights(experts, 1);
  if (model.kind == RoutingKind::Histogram) {
    for (int64_t e = 0; e < experts; ++e)
      weights[e] = e < static_cast<int64_t>(model.histogram.size())
                       ? model.histogram[e]
                       : 0; // of which nothing was recorded
    return weights;
  }
  if (model.kind == RoutingKind::PowerLaw) {
    // Inverse of the distribution function on [1, max].
    double power = 1 - model.exponent,
           top = std::pow(std::max(2.0, 0.8 * tokens), power);
    for (double &weight : weights)
      weight = std::pow((top - 1) * random.uniform() + 1, 1 / power);
  } else if (model.kind == RoutingKind::Zipf) {
    for (int64_t e = 0; e < experts; ++e)
      weights[e] = std::pow(e + 1.0, -model.exponent);
    for (int64_t e = experts - 1; e > 0; --e)
      std::swap(weights[e], weights[random.next() % (e + 1)]);
  }
  return weights;
}

// Probability that a token has each expert among its k: proportional to the
// popularity, but never above 1.
static std::vector<double> shares(std::vector<double> weights, int64_t topK) {
  double left = topK;
  std::vector<double> result(weights.size(), 0);
  for (bool capped = true; capped;) {
    capped = false;
    double sum = 0;
    for (double weight : weights)
      sum += weight;
    if (sum <= 0)
      break;
    for (size_t e = 0; e < weights.size(); ++e)
      if (weights[e] > 0 && left * weights[e] >= sum) {
        result[e] = 1;
        weights[e] = 0;
        capped = true;
      }
    if (capped) {
      left = topK;
      for (double share : result)
        left -= share;
      continue;
    }
    for (size_t e = 0; e < weights.size(); ++e)
      if (weights[e] > 0)
        result[e] = left * weights[e] / sum;
  }
  return result;
}

static std::vector<double> drawTokens(const std::vector<double> &weights,
                                      int64_t tokens, int64_t topK,
                                      Generator &random) {
  std::vector<double> loads(weights.size(), 0), left;
  for (int64_t t = 0; t < tokens; ++t) {
    left = weights;
    for (int64_t k = 0; k < topK; ++k) {
      double sum = 0;
      for (double weight : left)
        sum += weight;
      double at = random.uniform() * sum;
      size_t chosen = 0;
      for (size_t e = 0; e < left.size(); ++e) {
        if (left[e] <= 0)
          continue;
        chosen = e;
        if ((at -= left[e]) < 0)
          break;
      }
      loads[chosen] += 1;
      left[chosen] = 0;
    }
  }
  return loads;
}

// Of `tokens` tokens, those that choose an expert with probability `share`:
// small means by summing up the distribution, others by its normal limit.
static double drawLoad(double tokens, double share, Generator &random) {
  double mean = share * tokens;
  if (share >= 1 || mean <= 0)
    return std::round(mean);
  if (mean < 40 && share < 0.5) {
    double odds = share / (1 - share), term = std::pow(1 - share, tokens),
           at = random.uniform() - term, load = 0;
    while (at > 0 && load < tokens) {
      term *= (tokens - load) / (load + 1) * odds;
      at -= term;
      ++load;
    }
    return load;
  }
  double deviation = std::sqrt(mean * (1 - share));
  return std::clamp(std::round(mean + deviation * random.normal()), 0.0,
                    std::ceil(tokens));
}

std::vector<double> RoutingModel::draw(double tokens, int64_t topK,
                                       int64_t experts, uint64_t seed) const {
  topK = std::min(topK, experts);
  if (kind == RoutingKind::Balanced)
    return balanced(tokens * topK, experts);
  Generator random(seed * 7919 + 17);
  std::vector<double> weights = popularity(*this, tokens, experts, random);
  if (tokens * topK * experts <= kOneByOne * 16)
    return drawTokens(weights, std::llround(std::ceil(tokens)), topK, random);
  std::vector<double> loads = shares(std::move(weights), topK);
  double sum = 0;
  for (double &load : loads) {
    load = drawLoad(tokens, load, random);
    sum += load;
  }
  if (sum > 0)
    for (double &load : loads)
      load *= tokens * topK / sum;
  return loads;
}

std::string RoutingModel::misfit(int64_t topK, int64_t experts) const {
  if (kind != RoutingKind::Histogram)
    return "";
  int64_t last = 0, chosen = 0;
  for (auto [e, rows] : llvm::enumerate(histogram))
    if (rows > 0) {
      last = e;
      ++chosen;
    }
  if (last >= experts)
    return llvm::formatv("`routing={0}` has rows of expert {1}, but the layer "
                         "has {2} experts",
                         spelling, last, experts);
  if (chosen < topK)
    return llvm::formatv("`routing={0}` has rows of {1} experts, but each "
                         "token of the layer chooses {2}",
                         spelling, chosen, topK);
  return "";
}

static double choose(int64_t from, int64_t count) {
  double ways = count >= 0 && count <= from ? 1 : 0;
  for (int64_t i = 0; i < count && ways > 0; ++i)
    ways *= double(from - i) / (i + 1);
  return ways;
}

double moe::shareMet(int64_t experts, int64_t topK, int64_t held,
                     const GroupLimit &limit) {
  // Of the groups, some are held whole, one in part; which of them are kept is
  // summed up. 1 - C(pool - held, k) / C(pool, k) of those tokens meet.
  int64_t size = experts / limit.groups, pool = size * limit.kept,
          whole = held / size, part = held % size,
          others = limit.groups - whole;
  double missed = 0;
  for (int64_t kept = 0; kept <= std::min(whole, limit.kept); ++kept)
    for (int64_t partKept = 0; partKept <= (part > 0); ++partKept) {
      double likely =
          choose(whole, kept) *
          choose(others - (part > 0), limit.kept - kept - partKept) /
          choose(limit.groups, limit.kept);
      double miss = 1, covered = kept * size + partKept * part;
      for (int64_t k = 0; k < topK; ++k)
        miss *= std::max(0.0, (pool - covered - k) / double(pool - k));
      missed += likely * miss;
    }
  return 1 - missed;
}

static FailureOr<std::vector<double>> readHistogram(StringRef path,
                                                    std::string &error) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer) {
    error = "histogram '" + path.str() +
            "' cannot be read: " + buffer.getError().message();
    return failure();
  }
  StringRef bytes = (*buffer)->getBuffer();
  uint64_t length = 0;
  if (bytes.size() > 8)
    for (int i = 7; i >= 0; --i)
      length = length << 8 | static_cast<uint8_t>(bytes[i]);
  if (bytes.size() <= 8 || length > bytes.size() - 8) {
    error = "histogram '" + path.str() +
            "' is no safetensors file, but one with `expert_ids` is expected";
    return failure();
  }
  llvm::Expected<llvm::json::Object> root =
      parseObject(bytes.substr(8, length), "histogram '" + path.str() + "'",
                  maxSafetensorsHeader);
  if (!root) {
    error = llvm::toString(root.takeError());
    return failure();
  }
  std::vector<double> counts;
  for (const auto &entry : *root) {
    const llvm::json::Object *tensor = entry.second.getAsObject();
    if (!tensor || !StringRef(entry.first).contains("expert_ids") ||
        tensor->getString("dtype") != "I32")
      continue;
    const llvm::json::Array *range = tensor->getArray("data_offsets");
    std::optional<int64_t> from, to;
    if (range && range->size() == 2) {
      from = integerOf((*range)[0]);
      to = integerOf((*range)[1]);
    }
    uint64_t room = bytes.size() - 8 - length;
    if (!from || !to || *from < 0 || *to < *from ||
        static_cast<uint64_t>(*to) > room)
      continue;
    StringRef data = bytes.substr(8 + length + *from, *to - *from);
    for (size_t i = 0; i + 4 <= data.size(); i += 4) {
      uint32_t id = 0;
      for (int b = 3; b >= 0; --b)
        id = id << 8 | static_cast<uint8_t>(data[i + b]);
      if (id >= 1u << 20)
        continue;
      if (id >= counts.size())
        counts.resize(id + 1, 0);
      counts[id] += 1;
    }
  }
  if (counts.empty()) {
    error = "histogram '" + path.str() +
            "' has no tensor `expert_ids` of I32, but one as --record-routing "
            "writes it is expected";
    return failure();
  }
  return counts;
}

FailureOr<RoutingModel> moe::parseRoutingModel(StringRef text,
                                               std::string &error) {
  RoutingModel model;
  model.spelling = text.str();
  auto [name, value] = text.split(':');
  auto exponent = [&](RoutingKind kind, double low) -> LogicalResult {
    model.kind = kind;
    if (value.getAsDouble(model.exponent) ||
        !(model.exponent >= low && model.exponent <= 8) || // NaN is neither
        (kind == RoutingKind::PowerLaw && model.exponent == 1)) {
      error = "`routing=" + text.str() + "` is given, but `" + name.str() +
              ":` and an exponent such as 1.2 are expected";
      return failure();
    }
    return success();
  };
  if (text == "balanced")
    model.kind = RoutingKind::Balanced;
  else if (text == "uniform")
    model.kind = RoutingKind::Uniform;
  else if (name == "power_law") {
    if (failed(exponent(RoutingKind::PowerLaw, 0.1)))
      return failure();
  } else if (name == "zipf") {
    if (failed(exponent(RoutingKind::Zipf, 0)))
      return failure();
  } else if (name == "histogram") {
    FailureOr<std::vector<double>> counts = readHistogram(value, error);
    if (failed(counts))
      return failure();
    model.kind = RoutingKind::Histogram;
    model.histogram = std::move(*counts);
  } else {
    error = "`routing=" + text.str() +
            "` is given, but balanced, uniform, power_law:EXPONENT, "
            "zipf:EXPONENT or histogram:FILE is expected";
    return failure();
  }
  return model;
}
