#include "bench_inputs.h"

#include "checked.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

using namespace moert;

const char *moert::routingName(Routing routing) {
  return routing == Routing::Zipf ? "zipf" : "balanced";
}

// The same numbers with every standard library, unlike
// std::normal_distribution.
static double uniform(std::mt19937_64 &random) {
  return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
}

// A prime, so that no two rows of a power of two of elements are alike.
static constexpr size_t NormalCount = 4194301;

// So many are made; then they come again.
static std::vector<float> makeNormals(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values;
  values.reserve(count + 1);
  while (values.size() < std::min(count, NormalCount)) {
    double radius = std::sqrt(-2 * std::log(uniform(random)));
    double angle = 6.283185307179586 * uniform(random);
    values.push_back(static_cast<float>(radius * std::cos(angle)));
    values.push_back(static_cast<float>(radius * std::sin(angle)));
  }
  values.resize(std::min(count, NormalCount));
  while (values.size() < count)
    values.push_back(values[values.size() - NormalCount]);
  return values;
}

// Gumbel noise on the logarithm of how popular an expert is: the largest k are
// a sample without replacement.
static void routeToken(std::mt19937_64 &random,
                       const std::vector<double> &popularity, int64_t topK,
                       int32_t *ids, float *weights) {
  std::vector<double> score(popularity.size());
  for (size_t e = 0; e < score.size(); ++e)
    score[e] = popularity[e] - std::log(-std::log(uniform(random)));
  std::vector<int32_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + topK, order.end(),
                    [&](int32_t a, int32_t b) { return score[a] > score[b]; });
  double sum = 0;
  for (int64_t j = 0; j < topK; ++j)
    sum += std::exp(score[order[j]] - score[order[0]]);
  for (int64_t j = 0; j < topK; ++j) {
    ids[j] = order[j];
    weights[j] =
        static_cast<float>(std::exp(score[order[j]] - score[order[0]]) / sum);
  }
}

static Status fillRouting(const Function &function, int64_t tokens,
                          Routing routing, uint64_t seed, OwnedTensor &ids,
                          OwnedTensor &weights) {
  std::mt19937_64 random(seed);
  std::vector<double> popularity(static_cast<size_t>(function.experts), 0);
  if (routing == Routing::Zipf)
    for (size_t e = 0; e < popularity.size(); ++e)
      popularity[e] = -std::log(static_cast<double>(e + 1));
  for (size_t e = popularity.size(); e > 1; --e) // Fisher and Yates
    std::swap(popularity[e - 1], popularity[random() % e]);
  int64_t topK = ids.shape[1];
  if (topK > function.experts)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "function `",
                         function.name, "` takes ", topK,
                         " experts a token of ", function.experts);
  for (int64_t t = 0; t < tokens; ++t)
    routeToken(random, popularity, topK,
               static_cast<int32_t *>(ids.buffer.data()) + t * topK,
               static_cast<float *>(weights.buffer.data()) + t * topK);
  return {};
}

Result<std::vector<OwnedTensor>> moert::makeInputs(const Function &function,
                                                   int64_t tokens,
                                                   Routing routing,
                                                   uint64_t seed) {
  std::vector<OwnedTensor> inputs;
  OwnedTensor *ids = nullptr, *weights = nullptr;
  inputs.reserve(function.inputs.size());
  for (const TensorSpec &spec : function.inputs) {
    std::vector<int64_t> shape = spec.shape;
    if (spec.hasTokens())
      shape[0] = tokens;
    Result<OwnedTensor> tensor = makeTensor(spec.name, spec.dtype, shape);
    if (!tensor.ok())
      return tensor.status();
    inputs.push_back(std::move(*tensor));
    OwnedTensor &made = inputs.back();
    bool isTable = shape.size() == 2;
    if (spec.name == "expert_ids" && spec.dtype == MOERT_I32 && isTable) {
      ids = &made;
    } else if (spec.name == "expert_weights" && spec.dtype == MOERT_F32 &&
               isTable) {
      weights = &made;
    } else if (spec.dtype == MOERT_I32 || spec.dtype == MOERT_I64) {
      return Status::error(MOERT_ERROR_UNSUPPORTED,
                           "bench knows no values for "
                           "the ",
                           dtypeName(spec.dtype), " input `", spec.name, "`");
    } else {
      int64_t count = elementCount(shape).value_or(0);
      std::vector<float> values =
          makeNormals(static_cast<size_t>(count), seed + inputs.size());
      convertElements(FileDtype::F32, values.data(), 1, spec.dtype,
                      made.buffer.data(), count);
    }
  }
  if (!ids != !weights)
    return Status::error(MOERT_ERROR_UNSUPPORTED,
                         "bench needs both expert_ids (i32) and "
                         "expert_weights (f32), or neither");
  if (ids && weights)
    MOERT_TRY(fillRouting(function, tokens, routing, seed, *ids, *weights));
  return inputs;
}

namespace {

// Normal weights of variance 1 / the last dimension.
class RandomWeights {
public:
  RandomWeights(const Function &function, uint64_t seed);
  Status fill(size_t weight, int rank, void *slice) const;

private:
  // As many elements as there are normals.
  void makeBlock(const Weight &weight, char *block) const;

  const Function &function;
  uint64_t seed;
  bool isQuantized = false;
  std::vector<float> normals; // read in turn, from another start for each slice
};

} // namespace

RandomWeights::RandomWeights(const Function &function, uint64_t seed)
    : function(function), seed(seed),
      normals(makeNormals(NormalCount, seed * 2654435761u + 1)) {
  for (const Weight &weight : function.weights)
    isQuantized |= weight.dtype == MOERT_F8E4M3;
}

// To the nearest, ties away from zero; at most 448.
static uint8_t toE4M3(float value) {
  int exponent = 0;
  float magnitude = std::min(std::abs(value), 448.0f);
  if (magnitude < 0x1p-10f)
    return 0;
  (void)std::frexp(magnitude, &exponent); // magnitude < 2^exponent
  int step = std::max(exponent - 4, -9);  // of four significant bits
  int steps = static_cast<int>(std::lround(std::ldexp(magnitude, -step)));
  int bits = std::min((step + 9) * 8 + steps, 0x7e);
  return static_cast<uint8_t>(bits | (value < 0 ? 0x80 : 0));
}

// Elements of eight bits use most of their range, as what is quantised does;
// the scales beside them, one for a block of 128 x 128, take that back.
static constexpr float QuantizedDeviation = 100;

void RandomWeights::makeBlock(const Weight &weight, char *block) const {
  int64_t fanIn = weight.localShape.empty() ? 1 : weight.shape.back();
  float deviation =
      1 / std::sqrt(static_cast<float>(std::max<int64_t>(1, fanIn)));
  bool isScale =
      isQuantized && weight.dtype == MOERT_F32 && weight.localShape.size() > 2;
  if (weight.dtype == MOERT_F8E4M3 || weight.dtype == MOERT_I8) {
    for (size_t i = 0; i < NormalCount; ++i)
      block[i] = static_cast<char>(
          weight.dtype == MOERT_F8E4M3
              ? toE4M3(normals[i] * QuantizedDeviation)
              : 118 + (static_cast<int>(i) & 3)); // an exponent near 2^-8
    return;
  }
  std::vector<float> scaled(normals);
  for (float &value : scaled)
    value = isScale ? (1 + std::abs(value) / 4) * deviation /
                          (QuantizedDeviation * std::sqrt(128.0f))
                    : value * deviation;
  convertElements(FileDtype::F32, scaled.data(), 1, weight.dtype, block,
                  NormalCount);
}

Status RandomWeights::fill(size_t index, int rank, void *slice) const {
  const Weight &weight = function.weights[index];
  if (elementCount(weight.localShape).value_or(0) == 0)
    return {};
  std::vector<char> block(NormalCount * dtypeSize(weight.dtype));
  makeBlock(weight, block.data());
  std::mt19937_64 random(seed ^ (index * 1009 + static_cast<size_t>(rank)));
  size_t start = random() % NormalCount * dtypeSize(weight.dtype);
  size_t left = static_cast<size_t>(weight.sliceBytes());
  for (char *out = static_cast<char *>(slice); left > 0; start = 0) {
    size_t size = std::min(left, block.size() - start);
    std::memcpy(out, block.data() + start, size);
    out += size;
    left -= size;
  }
  return {};
}

Status moert::makeRandomWeights(Session &session, uint64_t seed) {
  if (session.function().weights.empty())
    return {};
  RandomWeights weights(session.function(), seed);
  return session.makeWeights([&](size_t weight, int rank, void *slice) {
    return weights.fill(weight, rank, slice);
  });
}
