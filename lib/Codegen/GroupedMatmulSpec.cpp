// What a grouped matmul may be, and what follows from it for memory and
// parameters.
#include "GroupedMatmulFactors.h"
#include "GroupedMatmulFp8.h"
#include "GroupedMatmulSplit.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

/// Shared memory that one CTA of sm_90 may have.
static constexpr int64_t maxSharedBytes = 227 * 1024;
static constexpr int64_t maxStages = 12;
/// About as many rows of x as weight rows are in work on a device at a time.
static constexpr int64_t passRows = 2048;

/// Accumulators of one thread with tails: the rest of its registers must do for
/// everything else.
static constexpr int64_t maxAccumulators = 192, maxScaledAccumulators = 112;

/// Parts of an expert that has several are taller than half a tile: narrow
/// steps there, coarser ones below.
static SmallVector<int64_t> getSides(int64_t tileTokens, int64_t step) {
  SmallVector<int64_t> sides{tileTokens};
  int64_t coarse = std::max<int64_t>(step, 32);
  while (true) {
    int64_t least = sides.back();
    int64_t next = least > tileTokens / 2 ? least - step
                                          : llvm::alignDown(least - 1, coarse);
    if (next <= 0)
      break;
    sides.push_back(next);
  }
  std::reverse(sides.begin(), sides.end());
  return sides;
}

/// Of the producer and of consumers.
static std::pair<uint32_t, uint32_t>
splitRegisters(const GroupedMatmulSpec &spec) {
  // Threads that gather and make factors keep addresses and scales of rows.
  if (spec.gather)
    return hasFactors(spec) ? std::pair(72, 216) : std::pair(56, 224);
  // With tails, or partial sums beside the sums, a thread may have 192
  // accumulators.
  if (!hasFactors(spec) && ((spec.tails && !spec.split) || spec.fp8))
    return {24, 240};
  return {40, 232};
}

GroupedMatmulPlan moe::planGroupedMatmul(const GroupedMatmulSpec &spec) {
  GroupedMatmulPlan plan;
  std::tie(plan.producerRegisters, plan.consumerRegisters) =
      splitRegisters(spec);
  int64_t perPair = spec.isPaired() ? 2 : 1;
  plan.fragments =
      spec.swap ? spec.tileWeights / (consumers * wgmmaRows) : int64_t(1);
  plan.passTiles =
      spec.passTiles
          ? spec.passTiles
          : std::max<int64_t>(passRows / (spec.cluster * spec.tileTokens), 1);
  // With tails only boxes with live rows are loaded.
  plan.tokensBox = spec.tileTokens;
  if (spec.tails)
    plan.tokensBox = spec.tileTokens % 32 == 0 && spec.tileTokens >= 160 ? 32
                     : spec.tileTokens % 16 == 0                         ? 16
                                                                         : 8;
  // A CTA of a cluster loads its share for all.
  plan.weightsBox = spec.tileWeights > 256 || spec.cluster > 1
                        ? spec.tileWeights / 2
                        : spec.tileWeights;
  if (spec.quantize)
    perPair *= 2; // and two e4m3 to an element
  // Two tickets on their way from the thread that draws them to all that
  // gather.
  int64_t ticketBytes = spec.split && spec.gather ? 16 : 0;
  // A place and a factor for each row of a consumer's tile; a store reads those
  // of 16 rows.
  plan.placeRows =
      spec.swap ? llvm::alignTo(spec.tileTokens, 16) : int64_t(wgmmaRows);
  int64_t placeBytes = spec.scatter ? consumers * 8 * plan.placeRows : 0;
  // An f32 for each token, two of weights.
  int64_t factorBytes = hasFactors(spec) ? 4 * (spec.tileTokens + 4) : 0;
  int64_t ringBytes = (spec.tileTokens + spec.tileWeights) * 128 + 32;
  int64_t stageBytes = ringBytes + factorBytes;
  if (spec.tails) {
    plan.sides = getSides(spec.tileTokens, spec.tails);
    // A whole fragment is one box.
    plan.boxRows = spec.tileTokens;
    plan.boxColumns = wgmmaRows / perPair;
    plan.boxes = plan.fragments;
  } else if (spec.swap) {
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
  int64_t boxBytes = plan.boxRows * plan.boxColumns * 2;
  auto place = [&](int64_t buffers) {
    plan.ringOffset = llvm::alignTo(consumers * buffers * boxBytes, 1024);
    return (maxSharedBytes - ticketBytes - placeBytes - plan.ringOffset) /
           stageBytes;
  };
  // With tails a tile has few, large boxes: a third and a fourth stage are
  // worth more.
  int64_t least = spec.tails ? std::min<int64_t>(place(1), 4) : 0;
  while (!spec.buffers && plan.buffers > 1 &&
         (plan.boxes % plan.buffers || place(plan.buffers) < least))
    --plan.buffers;
  int64_t fitting = place(plan.buffers);
  plan.stages = spec.stages ? spec.stages : std::min(fitting, maxStages);
  plan.factorsOffset = plan.ringOffset + plan.stages * ringBytes;
  plan.sharedBytes = plan.ringOffset + plan.stages * stageBytes;
  plan.ticketOffset = plan.sharedBytes;
  plan.placesOffset = plan.ticketOffset + ticketBytes;
  plan.sharedBytes = plan.placesOffset + placeBytes;
  return plan;
}

using ErrorFn = function_ref<InFlightDiagnostic()>;

static LogicalResult verifyProblem(const GroupedMatmulSpec &spec,
                                   ErrorFn emitError) {
  if (spec.experts < 1 || spec.n < 1 || spec.k < 1)
    return emitError() << "grouped matmul of " << spec.experts << " experts, n "
                       << spec.n << ", k " << spec.k
                       << ", expected all positive";
  for (int64_t size : {spec.experts, spec.n, spec.k})
    if (size > INT32_MAX)
      return emitError() << "grouped matmul of " << spec.experts
                         << " experts, n " << spec.n << ", k " << spec.k
                         << ", expected at most 2147483647 of each";
  int64_t perRow = spec.fp8 ? 16 : 8;
  if (spec.k % perRow)
    return emitError() << "k is " << spec.k
                       << ", but a row of x must be a multiple of 16 bytes; "
                          "pad k to "
                       << llvm::alignTo(spec.k, perRow);
  int64_t unit = spec.isPaired() ? 16 : 8;
  if (spec.n % unit)
    return emitError() << "n is " << spec.n << ", expected a multiple of "
                       << unit << " such as " << llvm::alignTo(spec.n, unit);
  if (spec.blockedWeights && spec.k % spec.getBlockElements())
    return emitError() << "k is " << spec.k
                       << ", but blocked weights have whole blocks; pad k to "
                       << llvm::alignTo(spec.k, spec.getBlockElements());
  if (spec.experts * spec.n > INT32_MAX)
    return emitError() << spec.experts << " experts of " << spec.n
                       << " weight rows exceed the 2147483647 rows that a "
                          "tensor map coordinate reaches, expected at most "
                       << INT32_MAX / spec.n << " experts";
  return success();
}

static LogicalResult verifyTails(const GroupedMatmulSpec &spec,
                                 ErrorFn emitError) {
  if (!spec.swap)
    return emitError() << "tails choose the token side of wgmma, which tokens "
                          "have with swap only";
  if (spec.tails < 8 || spec.tails % 8 || spec.tileTokens % spec.tails)
    return emitError() << "tails of " << spec.tails << " for a tile of "
                       << spec.tileTokens
                       << " tokens, expected a multiple of 8 that divides it";
  if (!llvm::is_contained({128, 256, 384}, spec.tileWeights))
    return emitError() << "tile with tails has " << spec.tileWeights
                       << " weight rows, expected 128, 256 or 384";
  int64_t accumulators =
      spec.rowScale ? maxScaledAccumulators : maxAccumulators;
  int64_t most = accumulators * 2 * 128 / spec.tileWeights / 8 * 8;
  most = std::min<int64_t>(most, 256);
  if (spec.tileTokens < 16 || spec.tileTokens > most)
    return emitError() << "tile with tails has " << spec.tileTokens
                       << " tokens, expected 16 to " << most << " for "
                       << spec.tileWeights << " weight rows"
                       << (spec.rowScale ? " and row weights" : "");
  return success();
}

static LogicalResult verifyTile(const GroupedMatmulSpec &spec,
                                ErrorFn emitError) {
  if (spec.cluster != 1 && !(spec.cluster == 2 && spec.tails))
    return emitError() << "clusters of " << spec.cluster
                       << " CTAs are not generated, expected 1"
                       << (spec.tails ? " or 2" : " (or 2 with tails)");
  if (spec.swap && spec.skipDead)
    return emitError() << "skipDead has no effect on a swapped tile, whose "
                          "warpgroups share all tokens; leave it out";
  if (spec.gather && spec.tileTokens % 16)
    return emitError() << "gathered tile has " << spec.tileTokens
                       << " tokens, expected a multiple of 16 such as "
                       << llvm::alignTo(spec.tileTokens, 16);
  if (spec.gatherDivisor < 1 ||
      (spec.gatherDivisor != 1 && !(spec.gather && spec.gatherIndex)))
    return emitError() << "index is divided by " << spec.gatherDivisor
                       << ", expected "
                       << (spec.gather && spec.gatherIndex
                               ? "a positive number"
                               : "1 without a gathered index");
  if (spec.weightsFirst &&
      (spec.gather || spec.tails || spec.fp8 || spec.split > 1))
    return emitError() << "weights are asked for first with "
                       << (spec.gather  ? "gathered rows"
                           : spec.tails ? "tails"
                           : spec.fp8   ? "fp8 operands"
                                        : "slices of k")
                       << ", expected neither gather, tails, fp8 nor more "
                          "than 1 slice";
  if (spec.tails)
    return verifyTails(spec, emitError);
  if (spec.swap) {
    if (spec.tileWeights != consumers * wgmmaRows)
      return emitError() << "swapped tile has " << spec.tileWeights
                         << " weight rows, expected 128";
    if (!llvm::is_contained({8, 16, 32, 64, 128, 192, 256}, spec.tileTokens))
      return emitError() << "swapped tile has " << spec.tileTokens
                         << " tokens, expected 8, 16, 32, 64, 128, 192 or 256"
                            " (or tails)";
  } else {
    if (spec.tileTokens != consumers * wgmmaRows)
      return emitError() << "tile has " << spec.tileTokens
                         << " tokens, expected 128 (or swap)";
    if (!llvm::is_contained({64, 128, 192, 256}, spec.tileWeights))
      return emitError() << "tile has " << spec.tileWeights
                         << " weight rows, expected 64, 128, 192 or 256";
  }
  return success();
}

static LogicalResult verifyScatter(const GroupedMatmulSpec &spec,
                                   ErrorFn emitError) {
  if (spec.scatterFactors && !spec.scatter)
    return emitError() << "rows have factors of their places, expected a "
                          "scatter";
  if (!spec.scatter)
    return success();
  StringRef other = spec.isPaired()    ? "pairs"
                    : spec.rowScale    ? "row weights"
                    : spec.split > 1   ? "slices of k"
                    : spec.cluster > 1 ? "clusters"
                                       : "";
  if (!other.empty())
    return emitError() << "rows are scattered with " << other
                       << ", expected neither pairs, row weights, slices of k "
                          "nor clusters";
  return success();
}

LogicalResult moe::verifyGroupedMatmul(const GroupedMatmulSpec &spec,
                                       ErrorFn emitError) {
  if (failed(verifyProblem(spec, emitError)) ||
      failed(verifyTile(spec, emitError)) ||
      failed(verifyScaled(spec, emitError)) ||
      failed(verifySplit(spec, emitError)) ||
      failed(verifyScatter(spec, emitError)))
    return failure();
  if (spec.passTiles < 0)
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
  interface.cluster = spec.cluster;
  auto &parameters = interface.parameters;
  auto map = [&](StringRef name, ParameterKind kind, int64_t columns,
                 int64_t boxRows, int64_t boxColumns) {
    parameters.push_back(
        {name.str(), kind, columns, boxRows, boxColumns, /*elementBytes=*/2});
  };
  auto pointer = [&](StringRef name) { parameters.push_back({name.str()}); };
  // Maps see two-byte elements.
  int64_t mappedK = spec.k * 64 / spec.getBlockElements();
  if (spec.gather) {
    pointer("x");
    if (spec.gatherIndex)
      pointer("index");
  } else {
    map("x", ParameterKind::MatrixMap, mappedK, plan.tokensBox, blockColumns);
  }
  map("w",
      spec.blockedWeights ? ParameterKind::BlockedMap
                          : ParameterKind::MatrixMap,
      mappedK, plan.weightsBox, blockColumns);
  if (spec.scatter)
    pointer("y");
  else
    map("y", ParameterKind::RaggedMap,
        spec.getOutputColumns() / (spec.quantize ? 2 : 1), plan.boxRows,
        plan.boxColumns);
  pointer("offsets");
  if (spec.split)
    pointer("state");
  if (spec.split > 1)
    pointer("parts");
  if (spec.scatter)
    pointer("places");
  if (spec.scatterFactors)
    pointer("factors");
  if (spec.bias)
    pointer("bias");
  if (spec.rowScale)
    pointer("scale");
  if (spec.fp8) {
    pointer("x_scale");
    pointer("w_scale");
    if (spec.quantize)
      pointer("y_scale");
    parameters.push_back({"scale_rows", ParameterKind::Integer});
  }
  return interface;
}
