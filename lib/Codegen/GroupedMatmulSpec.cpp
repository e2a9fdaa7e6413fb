// What a grouped matmul may be, and what follows from it for memory and
// parameters.
#include "GroupedMatmulPlan.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

/// Shared memory that one CTA of sm_90 may have.
static constexpr int64_t maxSharedBytes = 227 * 1024;
static constexpr int64_t maxStages = 12;

GroupedMatmulPlan moe::planGroupedMatmul(const GroupedMatmulSpec &spec) {
  GroupedMatmulPlan plan;
  int64_t perPair = spec.isPaired() ? 2 : 1;
  if (spec.swap) {
    plan.boxRows = std::min<int64_t>(spec.tileTokens, 64);
    plan.boxColumns = wgmmaRows / perPair;
    plan.boxes = spec.tileTokens / plan.boxRows;
  } else {
    int64_t columns = spec.tileWeights / perPair;
    plan.boxRows = wgmmaRows;
    plan.boxColumns = columns % 64 ? 32 : 64;
    plan.boxes = columns / plan.boxColumns;
  }
  plan.buffers = spec.buffers ? spec.buffers : std::min<int64_t>(plan.boxes, 4);
  while (!spec.buffers && plan.boxes % plan.buffers)
    --plan.buffers;
  int64_t boxBytes = plan.boxRows * plan.boxColumns * 2;
  plan.ringOffset = llvm::alignTo(consumers * plan.buffers * boxBytes, 1024);
  int64_t stageBytes = (spec.tileTokens + spec.tileWeights) * 128 + 16;
  int64_t fitting = (maxSharedBytes - plan.ringOffset) / stageBytes;
  plan.stages = spec.stages ? spec.stages : std::min(fitting, maxStages);
  plan.sharedBytes = plan.ringOffset + plan.stages * stageBytes;
  return plan;
}

using ErrorFn = function_ref<InFlightDiagnostic()>;

static LogicalResult verifyProblem(const GroupedMatmulSpec &spec,
                                   ErrorFn emitError) {
  if (spec.experts < 1 || spec.n < 1 || spec.k < 1)
    return emitError() << "grouped matmul of " << spec.experts << " experts, n "
                       << spec.n << ", k " << spec.k
                       << ", expected all positive";
  if (spec.k % 8)
    return emitError() << "k is " << spec.k
                       << ", but a row of x must be a multiple of 16 bytes; "
                          "pad k to "
                       << llvm::alignTo(spec.k, 8);
  int64_t unit = spec.isPaired() ? 16 : 8;
  if (spec.n % unit)
    return emitError() << "n is " << spec.n << ", expected a multiple of "
                       << unit << " such as " << llvm::alignTo(spec.n, unit);
  if (spec.blockedWeights && spec.k % blockColumns)
    return emitError() << "k is " << spec.k
                       << ", but blocked weights have whole blocks; pad k to "
                       << llvm::alignTo(spec.k, blockColumns);
  if (spec.experts * spec.n > INT32_MAX)
    return emitError() << spec.experts << " experts of " << spec.n
                       << " weight rows exceed the 2147483647 rows that a "
                          "tensor map coordinate reaches";
  return success();
}

static LogicalResult verifyTile(const GroupedMatmulSpec &spec,
                                ErrorFn emitError) {
  if (spec.cluster != 1)
    return emitError() << "clusters of " << spec.cluster
                       << " CTAs are not generated, expected 1";
  if (spec.swap) {
    if (spec.tileWeights != consumers * wgmmaRows)
      return emitError() << "swapped tile has " << spec.tileWeights
                         << " weight rows, expected 128";
    if (!llvm::is_contained({8, 16, 32, 64, 128, 192, 256}, spec.tileTokens))
      return emitError() << "swapped tile has " << spec.tileTokens
                         << " tokens, expected 8, 16, 32, 64, 128, 192 or 256";
  } else {
    if (spec.tileTokens != consumers * wgmmaRows)
      return emitError() << "tile has " << spec.tileTokens
                         << " tokens, expected 128 (or swap)";
    if (!llvm::is_contained({64, 128, 192, 256}, spec.tileWeights))
      return emitError() << "tile has " << spec.tileWeights
                         << " weight rows, expected 64, 128, 192 or 256";
  }
  if (spec.gather && spec.tileTokens % 16)
    return emitError() << "gathered tile has " << spec.tileTokens
                       << " tokens, expected a multiple of 16 such as 16";
  if (spec.gatherDivisor < 1 ||
      (spec.gatherDivisor != 1 && !(spec.gather && spec.gatherIndex)))
    return emitError() << "index is divided by " << spec.gatherDivisor
                       << ", expected "
                       << (spec.gather && spec.gatherIndex
                               ? "a positive number"
                               : "1 without a gathered index");
  if (spec.swap && spec.skipDead)
    return emitError() << "skipDead has no effect on a swapped tile, whose "
                          "warpgroups share all tokens; leave it out";
  return success();
}

LogicalResult moe::verifyGroupedMatmul(const GroupedMatmulSpec &spec,
                                       ErrorFn emitError) {
  if (failed(verifyProblem(spec, emitError)) ||
      failed(verifyTile(spec, emitError)))
    return failure();
  if (spec.passTiles < 1)
    return emitError() << "passes of " << spec.passTiles
                       << " row tiles, expected at least 1";
  GroupedMatmulPlan plan = planGroupedMatmul(spec);
  if (plan.buffers < 1 || plan.boxes % plan.buffers)
    return emitError() << "tile has " << plan.boxes
                       << " output boxes per warpgroup for " << plan.buffers
                       << " buffers, expected a divisor";
  if (plan.stages < 2)
    return emitError() << "ring has " << plan.stages
                       << " stages, expected at least 2";
  if (plan.sharedBytes > maxSharedBytes)
    return emitError() << "kernel needs " << plan.sharedBytes
                       << " bytes of shared memory, but a CTA has "
                       << maxSharedBytes << "; use fewer than " << plan.stages
                       << " stages";
  return success();
}

KernelInterface moe::getGroupedMatmulInterface(const GroupedMatmulSpec &spec) {
  GroupedMatmulPlan plan = planGroupedMatmul(spec);
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = 128 * (1 + consumers);
  interface.sharedBytes = plan.sharedBytes;
  interface.persistent = true;
  auto &parameters = interface.parameters;
  auto map = [&](StringRef name, ParameterKind kind, int64_t columns,
                 int64_t boxRows, int64_t boxColumns) {
    parameters.push_back(
        {name.str(), kind, columns, boxRows, boxColumns, /*elementBytes=*/2});
  };
  auto pointer = [&](StringRef name) { parameters.push_back({name.str()}); };
  if (spec.gather) {
    pointer("x");
    if (spec.gatherIndex)
      pointer("index");
  } else {
    map("x", ParameterKind::MatrixMap, spec.k, spec.tileTokens, blockColumns);
  }
  map("w",
      spec.blockedWeights ? ParameterKind::BlockedMap
                          : ParameterKind::MatrixMap,
      spec.k, spec.tileWeights, blockColumns);
  map("y", ParameterKind::RaggedMap, spec.getOutputColumns(), plan.boxRows,
      plan.boxColumns);
  pointer("offsets");
  if (spec.bias)
    pointer("bias");
  if (spec.rowScale)
    pointer("scale");
  return interface;
}
