// FLOPs follow from the weights' shapes: a token meets top_k of the routed
// experts and every other matrix once.
#include "calibrate.h"

#include <algorithm>

using namespace moert;

namespace {
constexpr int64_t FewTokens = 256, MostTokens = 16384;
constexpr double LongEnough = 0.02; // seconds of a call
} // namespace

static std::string productType(moert_dtype dtype) {
  std::string name = dtypeName(dtype);
  return name == "f32" || name == "bf16"        ? name
         : name.find("f8") != std::string::npos ? "fp8"
         : name.find("f4") != std::string::npos ? "fp4"
                                                : "";
}

static double flopsPerToken(const Function &function, std::string &type) {
  double flops = 0;
  int64_t largest = 0;
  for (const Weight &weight : function.weights) {
    if (weight.localShape.size() < 2 || productType(weight.dtype).empty())
      continue;
    bool routed =
        weight.localShape.size() > 2 &&
        weight.localShape[0] == static_cast<int64_t>(function.slots.size()) &&
        function.slots.size() > 1;
    double elements = 1;
    for (size_t dim = routed ? 1 : 0; dim < weight.localShape.size(); ++dim)
      elements *= static_cast<double>(weight.localShape[dim]);
    flops += 2 * elements * (routed ? static_cast<double>(function.topK) : 1.0);
    if (weight.sliceBytes() > largest) {
      largest = weight.sliceBytes();
      type = productType(weight.dtype);
    }
  }
  return flops;
}

Result<ProductRate> moert::measureProducts(const CalibratePlan &plan,
                                           const std::string &artifact) {
  std::shared_ptr<Artifact> opened;
  const Function *function = nullptr;
  MOERT_TRY(openFunction(artifact, "", opened, function));
  if (opened->manifest().worldSize != 1)
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT, "'", printable(artifact), "' is for ",
        opened->manifest().worldSize,
        " ranks, but efficiency is measured on one: an artifact compiled with "
        "--place=\"ranks=1\" is expected");
  ProductRate rate;
  rate.artifact = artifact;
  double flops = flopsPerToken(*function, rate.type);
  if (rate.type.empty())
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "'", printable(artifact),
                         "' has no matrices, but a layer with experts is "
                         "expected");
  BenchPlan bench;
  bench.artifact = artifact;
  bench.function = function->name;
  bench.communicator = "local";
  bench.device.name = plan.device.name;
  if (!plan.device.numbers.empty()) // one rank
    bench.device.numbers = {plan.device.numbers.front()};
  bench.sets = 1;
  bench.quiet = true;
  double seconds = 0;
  for (int64_t tokens = FewTokens; tokens <= MostTokens && seconds < LongEnough;
       tokens *= 4) {
    bench.tokens = {tokens};
    Result<double> measured = timeLayer(bench);
    if (!measured.ok())
      return measured.status().in(artifact);
    seconds = *measured;
    rate.flopsPerSecond = std::max(
        rate.flopsPerSecond, flops * static_cast<double>(tokens) / seconds);
  }
  return rate;
}
