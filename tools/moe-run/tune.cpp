// All kernels of a program are timed in whole layers, because what a kernel
// leaves in the cache and takes of the device's power is part of its price. All
// pairs would be too many: the second product is timed with the first at its
// best.
#include "tune.h"

#include "checked.h"
#include "cuda/graph.h"
#include "input_sets.h"
#include "tune_table.h"
#include "whole_file.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <random>

using namespace moert;

namespace {

// What is slower by this at first sight, or when warm, is not timed further.
constexpr double OutAtSight = 1.5, OutWhenWarm = 1.1;
// Less than this is noise: a kernel that is used anyway is taken.
constexpr double Close = 1.02;
constexpr int Rounds = 3;
// By how much of the largest value variants may differ.
constexpr double Tolerance = 2e-2, Fp8Tolerance = 1e-1;
constexpr int64_t FewTokens = 256; // up to which the cache holds inputs

using Variants = std::vector<int32_t>;

struct Contender {
  Variants variants;
  std::optional<cuda::Graph> graph;
  double sight = 0; // seconds of the graph at first
  std::vector<double> samples;
  double median = INFINITY; // seconds of a call; infinite: not in sight
};

// Seconds of a call for a number of tokens, by choice, then variant (from 1);
// infinite where it was not timed.
struct Point {
  int64_t tokens = 0;
  std::vector<std::vector<double>> seconds;
};

class Tuning {
public:
  explicit Tuning(const TunePlan &plan) : plan(plan) {}
  Status perform();

private:
  Status open();
  Status measure(int64_t tokens);
  Status contend(std::vector<Contender> &contenders);
  Status enter(Contender &contender);
  Status timeWarm(Contender &contender);
  Status runOnce(const Variants &variants, std::vector<OwnedTensor> &outputs);
  Status compare(const Variants &variants,
                 const std::vector<OwnedTensor> &outputs) const;
  std::string describe(size_t choice, int32_t variant) const;
  std::string describe(const Variants &variants) const;
  void printBest(const Point &point) const;
  void chooseTiles(size_t choice);
  void chooseFew(size_t choice);
  std::string deviceText() const;
  Status write() const;
  Status writeTimes() const;
  cuda::StreamQueue &queue() const {
    return static_cast<cuda::StreamQueue &>(*session->queue(0));
  }

  const TunePlan &plan;
  std::shared_ptr<Artifact> artifact;
  const Function *function = nullptr;
  std::unique_ptr<Session> session;
  KernelTable table;
  std::vector<InputSet> sets;
  std::vector<OwnedTensor> expected; // of the first set
  std::vector<Point> points;
  std::mt19937_64 random;
};

} // namespace

static double medianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

static Status invalid(const std::string &text) {
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT, text);
}

Status Tuning::open() {
  if (!plan.keep.empty()) {
    Result<KernelTable> kept = KernelTable::read(plan.keep);
    if (!kept.ok())
      return kept.status().in("--keep");
    table = std::move(*kept);
  }
  MOERT_TRY(openFunction(plan.artifact, plan.function, artifact, function));
  if (function->variants.empty())
    return invalid(concat("'", printable(plan.artifact),
                          "' has no variants to ",
                          "time: compile the layer with --target=cuda "
                          "--variants=all"));
  if (artifact->manifest().worldSize != 1)
    return invalid(concat("'", printable(plan.artifact), "' is for ",
                          artifact->manifest().worldSize,
                          " ranks, but variants are timed on one: compile it "
                          "with --place=\"ranks=1\""));
  SessionOptions options;
  options.function = function->name;
  options.maxTokens = *std::max_element(plan.tokens.begin(), plan.tokens.end());
  options.device = plan.device;
  Result<std::unique_ptr<Session>> made = Session::open(artifact, options);
  if (!made.ok())
    return made.status();
  session = std::move(*made);
  return makeRandomWeights(*session, plan.seed);
}

std::string Tuning::describe(size_t choice, int32_t variant) const {
  const Choice &from = function->variants[choice];
  if (variant == 0)
    return "as the table says";
  size_t index = static_cast<size_t>(variant) - 1;
  if (!from.isLayer)
    return from.tiles[index];
  return from.few[index]
             ? concat("one kernel for up to ", from.few[index], " tokens")
             : "separate kernels";
}

std::string Tuning::describe(const Variants &variants) const {
  std::vector<std::string> texts;
  for (size_t i = 0; i < variants.size(); ++i)
    texts.push_back(describe(i, variants[i]));
  return join(texts);
}

// One run on each set, without a graph; the outputs of the first are taken.
// What is not written is seen.
Status Tuning::runOnce(const Variants &variants,
                       std::vector<OwnedTensor> &outputs) {
  MOERT_TRY(session->setVariants(variants));
  InputSet &first = sets.front();
  outputs.clear();
  for (size_t i = 0; i < first.out.size(); ++i)
    MOERT_TRY(
        queue().fill(first.out[i].data, 0x7f, first.outputs[i].buffer.size()));
  for (InputSet &set : sets)
    MOERT_TRY(session->enqueue(queue().stream(), set.in, set.out));
  for (size_t i = 0; i < first.out.size(); ++i) {
    const OwnedTensor &like = first.outputs[i];
    Result<OwnedTensor> host = makeTensor(like.name, like.dtype, like.shape);
    if (!host.ok())
      return host.status();
    MOERT_TRY(queue().download(host->buffer.data(), first.out[i].data,
                               host->buffer.size()));
    outputs.push_back(std::move(*host));
  }
  return session->wait();
}

// Of very many values a part is compared.
Status Tuning::compare(const Variants &variants,
                       const std::vector<OwnedTensor> &outputs) const {
  constexpr int64_t enough = int64_t(1) << 22;
  bool isFp8 = std::any_of(function->variants.begin(), function->variants.end(),
                           [](const Choice &choice) { return choice.isFp8; });
  for (size_t i = 0; i < outputs.size(); ++i) {
    const OwnedTensor &got = outputs[i], &want = expected[i];
    if (!isFloat(got.dtype))
      continue;
    FileDtype type = fileDtype(got.dtype);
    int64_t count = elementCount(got.shape).value_or(0);
    int64_t step = count / enough + 1;
    double largest = 0, worst = 0;
    for (int64_t e = 0; e < count; e += step) {
      double a = elementAsDouble(type, got.buffer.data(), e);
      double b = elementAsDouble(type, want.buffer.data(), e);
      largest = std::max(largest, std::abs(b));
      // NaN is never in order.
      worst = std::abs(a - b) <= worst ? worst : std::abs(a - b);
      if (std::isnan(worst))
        break;
    }
    double limit = (isFp8 ? Fp8Tolerance : Tolerance) * largest;
    if (!(worst <= limit))
      return Status::error(MOERT_ERROR_PROGRAM, "`", got.name, "` differs by ",
                           worst, " between variants, at most ", limit,
                           " is expected: ", describe(variants), "; against ",
                           describe(Variants(variants.size(), 0)));
  }
  return {};
}

// Checks a contender, makes its graph and looks how long it takes.
Status Tuning::enter(Contender &contender) {
  std::vector<OwnedTensor> outputs;
  MOERT_TRY(runOnce(contender.variants, outputs));
  MOERT_TRY(compare(contender.variants, outputs));
  Result<cuda::Graph> graph = cuda::Graph::capture(queue(), [&]() -> Status {
    for (InputSet &set : sets)
      MOERT_TRY(session->enqueue(queue().stream(), set.in, set.out));
    return {};
  });
  if (!graph.ok())
    return graph.status();
  contender.graph.emplace(std::move(*graph));
  Result<std::vector<double>> seconds = cuda::timeOnDevice(
      queue(), 2, [&] { return contender.graph->launch(queue()); });
  if (!seconds.ok())
    return seconds.status();
  contender.sight = std::max(seconds->back(), 1e-6);
  return {};
}

Status Tuning::timeWarm(Contender &contender) {
  auto once = [&] { return contender.graph->launch(queue()); };
  auto times = [&](double seconds, int64_t least, int64_t most) {
    return std::clamp(static_cast<int64_t>(seconds / contender.sight), least,
                      most);
  };
  for (int64_t i = times(plan.warmSeconds, 0, 10000); i > 0; --i)
    MOERT_TRY(once());
  Result<std::vector<double>> seconds =
      cuda::timeOnDevice(queue(), times(0.02, 5, 40), once);
  if (!seconds.ok())
    return seconds.status();
  for (double sample : *seconds)
    contender.samples.push_back(sample / static_cast<double>(sets.size()));
  contender.median = medianOf(contender.samples);
  return {};
}

// In rounds, each in another order: the device's clock depends on what it has
// done before.
Status Tuning::contend(std::vector<Contender> &contenders) {
  double best = INFINITY;
  for (Contender &contender : contenders) {
    MOERT_TRY(enter(contender));
    best = std::min(best, contender.sight);
  }
  std::vector<Contender *> left;
  for (Contender &contender : contenders)
    if (contender.sight <= OutAtSight * best)
      left.push_back(&contender);
  for (int round = 0; round < Rounds; ++round) {
    for (size_t i = left.size(); i > 1; --i) // Fisher and Yates
      std::swap(left[i - 1], left[random() % i]);
    best = INFINITY;
    for (Contender *contender : left) {
      MOERT_TRY(timeWarm(*contender));
      best = std::min(best, contender->median);
    }
    std::erase_if(left, [&](const Contender *contender) {
      return contender->median > OutWhenWarm * best;
    });
  }
  return {};
}

static size_t fastest(const std::vector<double> &seconds) {
  return static_cast<size_t>(std::min_element(seconds.begin(), seconds.end()) -
                             seconds.begin());
}

Status Tuning::measure(int64_t tokens) {
  Result<std::vector<InputSet>> made =
      makeSets(*function, tokens, Routing::Balanced, plan.seed,
               tokens <= FewTokens ? 8 : 2);
  if (!made.ok())
    return made.status();
  sets = std::move(*made);
  MOERT_TRY(queue().enter());
  MOERT_TRY(moveToDevice(*session, tokens, sets));
  const std::vector<Choice> &choices = function->variants;
  Variants best(choices.size(), 0);
  MOERT_TRY(runOnce(best, expected));
  Point point;
  point.tokens = tokens;
  point.seconds.resize(choices.size());
  for (size_t i = 0; i < choices.size(); ++i)
    if (choices[i].isLayer)
      best[i] = 1; // its products' own kernels
  auto decide = [&](size_t choice) -> Status {
    std::vector<Contender> contenders;
    std::vector<size_t> indices;
    const Choice &from = choices[choice];
    for (int32_t variant = 1; variant <= from.variants(); ++variant) {
      size_t index = static_cast<size_t>(variant) - 1;
      if (from.isLayer && from.few[index] && from.few[index] < tokens)
        continue;
      Contender &contender = contenders.emplace_back();
      contender.variants = best;
      contender.variants[choice] = variant;
      indices.push_back(index);
    }
    std::vector<double> &seconds = point.seconds[choice];
    seconds.resize(static_cast<size_t>(from.variants()), INFINITY);
    if (contenders.size() < 2)
      return {};
    MOERT_TRY(contend(contenders));
    for (size_t i = 0; i < contenders.size(); ++i)
      seconds[indices[i]] = contenders[i].median;
    best[choice] = static_cast<int32_t>(fastest(seconds)) + 1;
    return {};
  };
  for (bool isLayer : {false, true})
    for (size_t i = 0; i < choices.size(); ++i)
      if (choices[i].isLayer == isLayer)
        MOERT_TRY(decide(i));
  printBest(point);
  points.push_back(std::move(point));
  return {};
}

void Tuning::printBest(const Point &point) const {
  for (size_t i = 0; i < point.seconds.size(); ++i) {
    const std::vector<double> &seconds = point.seconds[i];
    size_t best = fastest(seconds);
    if (seconds.empty() || std::isinf(seconds[best]))
      continue;
    std::printf("%8lld tokens %10.2f us  %s\n",
                static_cast<long long>(point.tokens), seconds[best] * 1e6,
                describe(i, static_cast<int32_t>(best) + 1).c_str());
  }
  std::fflush(stdout);
}

// As few different tiles as are within noise of the fastest, so that a program
// has few kernels.
void Tuning::chooseTiles(size_t choice) {
  const Choice &product = function->variants[choice];
  std::vector<const Point *> left;
  for (const Point &point : points)
    if (!std::isinf(point.seconds[choice][fastest(point.seconds[choice])]))
      left.push_back(&point);
  while (!left.empty()) {
    size_t best = 0, mostPoints = 0;
    double leastCost = INFINITY;
    for (size_t tile = 0; tile < product.tiles.size(); ++tile) {
      size_t count = 0;
      double cost = 0;
      for (const Point *point : left) {
        const std::vector<double> &seconds = point->seconds[choice];
        double ratio = seconds[tile] / seconds[fastest(seconds)];
        count += ratio <= Close;
        cost += ratio <= Close ? ratio : 0;
      }
      if (count > mostPoints || (count == mostPoints && cost < leastCost)) {
        best = tile;
        mostPoints = count;
        leastCost = cost;
      }
    }
    std::erase_if(left, [&](const Point *point) {
      const std::vector<double> &seconds = point->seconds[choice];
      if (seconds[best] > Close * seconds[fastest(seconds)])
        return false;
      double rows = static_cast<double>(point->tokens * product.rowsPerToken) /
                    static_cast<double>(product.experts);
      table.setTile(product, std::round(rows * 1e4) / 1e4, product.tiles[best],
                    seconds[best]);
      return true;
    });
  }
}

// Up to how many tokens one kernel is ahead, with as few kernels as are within
// noise: a table takes the one for the next larger number of tokens.
void Tuning::chooseFew(size_t choice) {
  const Choice &layer = function->variants[choice];
  auto separate = static_cast<size_t>(
      std::find(layer.few.begin(), layer.few.end(), 0) - layer.few.begin());
  std::vector<const Point *> ahead;
  std::vector<int64_t> measured, few;
  std::vector<const Point *> ascending;
  for (const Point &point : points)
    ascending.push_back(&point);
  std::sort(ascending.begin(), ascending.end(),
            [](auto *a, auto *b) { return a->tokens < b->tokens; });
  bool isAhead = true;
  for (const Point *point : ascending) {
    const std::vector<double> &seconds = point->seconds[choice];
    size_t best = fastest(seconds);
    if (std::isinf(seconds[best]))
      continue;
    measured.push_back(point->tokens);
    isAhead = isAhead && best != separate;
    if (isAhead)
      ahead.push_back(point);
  }
  size_t used = separate;
  for (auto it = ahead.rbegin(); it != ahead.rend(); ++it) {
    const std::vector<double> &seconds = (*it)->seconds[choice];
    size_t best = fastest(seconds);
    if (used != separate && seconds[used] <= Close * seconds[best])
      continue;
    used = best;
    few.push_back(layer.few[best]);
  }
  table.setFew(layer, measured, few);
}

// "one NVIDIA H200, driver 580.159.04, 2026-11-28"
std::string Tuning::deviceText() const {
  std::string driver;
  std::ifstream file("/proc/driver/nvidia/version");
  for (std::string word; driver.empty() && file >> word;)
    if (word.find('.') != std::string::npos &&
        word.find_first_not_of("0123456789.") == std::string::npos)
      driver = ", driver " + word;
  char date[16];
  std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%d", std::gmtime(&now));
  return concat("one ", session->deviceName(), driver, ", ", date);
}

Status Tuning::writeTimes() const {
  nlohmann::ordered_json times = nlohmann::ordered_json::array();
  for (const Point &point : points)
    for (size_t i = 0; i < point.seconds.size(); ++i)
      for (size_t v = 0; v < point.seconds[i].size(); ++v)
        if (!std::isinf(point.seconds[i][v]))
          times.push_back(
              {{"tokens", point.tokens},
               {"choice", i},
               {"variant", describe(i, static_cast<int32_t>(v) + 1)},
               {"us", std::round(point.seconds[i][v] * 1e8) / 100}});
  nlohmann::ordered_json json = {{"artifact", plan.artifact},
                                 {"function", function->name},
                                 {"device", deviceText()},
                                 {"seed", plan.seed},
                                 {"times", times}};
  return writeWhole(plan.json, json.dump(1) + "\n");
}

Status Tuning::write() const {
  if (!plan.json.empty())
    MOERT_TRY(writeTimes());
  return writeWhole(plan.table, table.text(deviceText()));
}

Status Tuning::perform() {
  MOERT_TRY(open());
  std::printf("`%s` on %s\n", function->name.c_str(), deviceText().c_str());
  for (int64_t tokens : plan.tokens)
    MOERT_TRY(measure(tokens).in(concat(tokens, " tokens")));
  for (size_t i = 0; i < function->variants.size(); ++i)
    if (function->variants[i].isLayer)
      chooseFew(i);
    else
      chooseTiles(i);
  return write();
}

int moert::tuneArtifact(const TunePlan &plan) {
  Status status = Tuning(plan).perform();
  return status.ok() ? ExitOk : reportError(status);
}
