// A router kernel against a reference in double.
#include "emulator.h"

#include <algorithm>
#include <numeric>

namespace {
int experts, hidden, topK;
std::vector<float> x, w, logitBias, selectionBias;
int wrong = 0;

/// Values, and in the type that the kernel reads.
std::vector<char> normal(const char *type, size_t count, float scale,
                         std::vector<float> &rounded) {
  static std::mt19937 values(5);
  std::normal_distribution<float> distribution;
  bool isFloat = isSet(type, "f32");
  std::vector<char> bytes(count * (isFloat ? 4 : 2));
  for (size_t i = 0; i < count; ++i) {
    float value = distribution(values) * scale;
    uint16_t half = emulator::toBf16(value);
    if (!isFloat)
      value = emulator::fromBf16(half);
    rounded.push_back(value);
    memcpy(&bytes[i * (isFloat ? 4 : 2)], isFloat ? (void *)&value : &half,
           isFloat ? 4 : 2);
  }
  return bytes;
}

void expectNear(double have, double want, double limit, const char *what,
                int token, int index) {
  if (std::abs(have - want) <= limit)
    return;
  if (wrong++ < 5)
    printf("%s %d of token %d is %g, expected %g\n", what, index, token, have,
           want);
}

/// Softmax or sigmoid of the logits that `chosen` names, 0 elsewhere.
std::vector<double> scoresOf(const std::vector<double> &logits,
                             const std::vector<int> &chosen) {
  std::vector<double> scores(logits.size(), 0);
  double top = -INFINITY, sum = 0;
  for (int e : chosen)
    top = std::max(top, logits[e]);
  for (int e : chosen) {
    scores[e] = isSet("score", "sigmoid") ? 1 / (1 + std::exp(-logits[e]))
                                          : std::exp(logits[e] - top);
    sum += scores[e];
  }
  if (!isSet("score", "sigmoid"))
    for (double &score : scores)
      score /= sum;
  return scores;
}

/// Indices by falling value, equal ones in ascending order.
std::vector<int> byValue(const std::vector<double> &values) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return values[a] > values[b]; });
  return order;
}

/// What experts outside of the best groups are chosen by.
void maskGroups(std::vector<double> &choice) {
  int groups = setting("groups", 1), size = experts / groups;
  if (groups == 1)
    return;
  std::vector<double> best(groups);
  for (int group = 0; group < groups; ++group) {
    auto first = choice.begin() + group * size;
    std::vector<double> members(first, first + size);
    std::sort(members.rbegin(), members.rend());
    best[group] = members[0] +
                  (isSet("group-score", "max") || size == 1 ? 0 : members[1]);
  }
  std::vector<int> order = byValue(best);
  for (int i = setting("kept-groups"); i < groups; ++i)
    for (int e = 0; e < size; ++e)
      choice[order[i] * size + e] = setting("mask-zero", 1) ? 0 : -INFINITY;
}

void checkToken(int token, const float *logits, const int *ids,
                const float *weights) {
  std::vector<double> exact(experts);
  std::vector<int> all(experts);
  std::iota(all.begin(), all.end(), 0);
  for (int e = 0; e < experts; ++e) {
    double logit = setting("logit-bias") ? logitBias[e] : 0;
    for (int k = 0; k < hidden; ++k)
      logit +=
          double(x[size_t(token) * hidden + k]) * w[size_t(e) * hidden + k];
    expectNear(logits[e], logit, 2e-5, "logit", token, e);
    exact[e] = logit;
  }
  bool after = setting("score-after");
  std::vector<double> scores = scoresOf(exact, all),
                      choice = after ? exact : scores;
  for (int e = 0; e < experts && setting("bias"); ++e)
    choice[e] += selectionBias[e];
  maskGroups(choice);
  std::vector<int> order = byValue(choice);
  order.resize(topK);
  if (after)
    scores = scoresOf(exact, order);
  double selected = setting("epsilon");
  for (int e : order)
    selected += scores[e];
  for (int j = 0; j < topK; ++j) {
    double want = scores[order[j]] / (setting("normalize") ? selected : 1) *
                  setting("scale", 1);
    expectNear(ids[j], order[j], 0, "id", token, j);
    expectNear(weights[j], want, 1e-5 * want, "weight", token, j);
  }
}
} // namespace

int main(int argc, char **argv) {
  readSettings(argc, argv);
  experts = setting("experts");
  hidden = setting("hidden");
  topK = setting("top-k");
  std::vector<char> xs = normal("x", size_t(tokens) * hidden, 1, x);
  std::vector<char> ws =
      normal("w", size_t(experts) * hidden, 1 / std::sqrt(float(hidden)), w);
  for (int e = 0; e < experts; ++e) {
    logitBias.push_back(0.1f * (e % 7) - 0.2f);
    selectionBias.push_back(0.05f * (e % 5));
  }
  int perBlock = setting("experts-per-block", 16);
  int tokensPerBlock = setting("tokens-per-block", 8);
  int expertBlocks = (experts + perBlock - 1) / perBlock;
  int tokenBlocks = (tokens + tokensPerBlock - 1) / tokensPerBlock;
  std::vector<float> logits(size_t(tokens) * experts, NAN);
  std::vector<float> weights(size_t(tokens) * topK, NAN);
  std::vector<int> ids(size_t(tokens) * topK, -7), state(tokenBlocks);
  arrays = {{"x", xs.data()},
            {"w", ws.data()},
            {"logit_bias", logitBias.data()},
            {"bias", selectionBias.data()},
            {"logits", logits.data()},
            {"state", state.data()},
            {"ids", ids.data()},
            {"weights", weights.data()}};
  for (int repeat = 0; repeat < 2; ++repeat) {
    emulator::launch(expertBlocks * tokenBlocks, setting("threads"),
                     callKernel);
    for (int left : state)
      if (left)
        emulator::fail("the state is left");
    for (int t = 0; t < tokens; ++t)
      checkToken(t, &logits[size_t(t) * experts], &ids[size_t(t) * topK],
                 &weights[size_t(t) * topK]);
  }
  printf("%d wrong\n", wrong);
  return wrong != 0;
}
