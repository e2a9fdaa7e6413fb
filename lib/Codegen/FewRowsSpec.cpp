// What a few-rows kernel may be, and what follows from it for memory, work and
// parameters.
#include "FewRowsPlan.h"

#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;
using namespace moe;

static constexpr int64_t maxSharedBytes = 227 * 1024;
/// More stages do not help; fewer bytes let the CTA of the next kernel begin
/// beside this one.
static constexpr int64_t maxStages = 5, minStages = 3;

/// The number of warps per unit with which the busiest one makes the fewest
/// steps, the smallest of them: each exchange of sums costs about half a step.
static int64_t chooseSharers(int64_t units, int64_t steps, int64_t shares,
                             int64_t warps) {
  int64_t best = 1, perShare = llvm::divideCeil(units, shares);
  double least = INFINITY;
  for (int64_t sharers = 1; sharers <= warps; sharers *= 2) {
    int64_t rounds = llvm::divideCeil(perShare, warps / sharers);
    double exchanges = sharers > 1 ? rounds : 0;
    double cost = rounds * llvm::divideCeil(steps, sharers) + 0.5 * exchanges;
    if (cost < least) {
      least = cost;
      best = sharers;
    }
  }
  return best;
}

/// Warps for a unit of gate/up whose steps read whole lines: as many as leave
/// each four steps (eight of fp8, which have more to do), eight at most.  A CTA
/// then reads few long rows at a time, up to 8 % faster than many short pieces.
static int64_t chooseUpSharers(int64_t steps, int64_t warps, bool fp8) {
  int64_t sharers = 1, leastSteps = fp8 ? 8 : 4;
  while (2 * sharers <= std::min<int64_t>(8, warps) &&
         steps >= 2 * sharers * leastSteps)
    sharers *= 2;
  return sharers;
}

/// Experts that `maxTokens` tokens hit, equally likely ones.
static int64_t expectExperts(const FewRowsSpec &spec) {
  // Of a token's experts more than are here may be elsewhere.
  double missed = std::max(0.0, 1.0 - double(spec.topK) / spec.experts);
  double hit = spec.experts * (1.0 - std::pow(missed, spec.maxTokens));
  return std::max<int64_t>(1, std::llround(hit));
}

static FewRowsPlan planWithWarps(const FewRowsSpec &spec, int64_t warps) {
  FewRowsPlan plan;
  plan.warps = warps;
  plan.lines = std::min<int64_t>(spec.maxTokens, 8);
  plan.slices = 8 / plan.lines;
  plan.blocks = plan.lines == 8 ? 2 : 1;
  plan.elementBytes = spec.fp8 ? 1 : 2;
  plan.lineElements = 64 / plan.elementBytes;
  plan.block = plan.lineElements * plan.slices * plan.blocks;
  plan.weightBytes = 1024 * plan.blocks;
  plan.stepBytes = plan.weightBytes + (spec.fp8 ? 256 : 0);
  plan.tiles = llvm::divideCeil(spec.maxTokens, 8);
  plan.maxPairs = spec.maxTokens * spec.topK;
  plan.maxExperts = std::min(spec.experts, plan.maxPairs);

  int64_t experts = expectExperts(spec);
  int64_t upBlocks = llvm::divideCeil(spec.hidden, plan.block);
  plan.downBlocks = llvm::divideCeil(spec.inner, plan.block);
  plan.upWarps = spec.upWarps;
  if (!plan.upWarps) {
    // A single tile of fp8 gains nothing, and ptxas would spill.
    bool longRows = plan.lines == 8 && (!spec.fp8 || plan.tiles > 1);
    plan.upWarps = longRows ? chooseUpSharers(upBlocks, warps, spec.fp8)
                            : chooseSharers(experts * spec.inner / plan.lines,
                                            upBlocks, spec.shares, warps);
  }
  plan.downWarps = spec.downWarps;
  if (!plan.downWarps)
    plan.downWarps =
        chooseSharers(spec.hidden / (2 * plan.lines), experts * plan.downBlocks,
                      spec.shares, warps);
  plan.upSteps = llvm::divideCeil(upBlocks, plan.upWarps);

  // Rows of several tokens are read side by side: 64 bytes more keep them out
  // of each other's banks.
  int64_t pad = plan.lines > 1 ? 64 : 0;
  plan.xPitch = plan.elementBytes * spec.hidden + pad;
  plan.hPitch = plan.elementBytes * spec.inner + pad;
  plan.xScaleBlocks = spec.fp8 ? llvm::divideCeil(spec.hidden, 128) : 0;
  plan.hScaleBlocks = spec.fp8 ? llvm::divideCeil(spec.inner, 128) : 0;
  int64_t xBytes = plan.xPitch * spec.maxTokens;
  int64_t hBytes = plan.hPitch * plan.maxPairs;
  // Two buffers, each of a sum per warp that hands one over.
  int64_t partialBytes = std::max(plan.upWarps, plan.downWarps) > 1
                             ? 2 * warps * 512 * plan.tiles
                             : 0;
  int64_t drawnWords = 4 * (warps / plan.upWarps);
  int64_t words = plan.maxExperts * (1 + spec.maxTokens) + 2 * plan.maxPairs +
                  drawnWords + spec.shares + 4 +
                  plan.xScaleBlocks * spec.maxTokens +
                  plan.hScaleBlocks * plan.maxPairs;
  int64_t stageBytes = plan.stepBytes * warps;
  int64_t wanted = spec.stages ? spec.stages : maxStages / plan.blocks + 1;
  int64_t room =
      maxSharedBytes - wanted * stageBytes - partialBytes - 4 * words - 128;
  plan.xShared = xBytes <= room;
  plan.hShared = hBytes <= room;
  int64_t operandBytes =
      std::max(plan.xShared ? xBytes : 0, plan.hShared ? hBytes : 0);
  int64_t restBytes =
      llvm::alignTo(operandBytes, 128) + partialBytes + 4 * words;
  int64_t fitting = (maxSharedBytes - restBytes) / stageBytes;
  plan.stages = spec.stages ? spec.stages : std::min(fitting, maxStages);
  // A unit is known to the warps that share it one unit ahead.  Products of
  // fp8 take the same time everywhere.
  plan.draws = plan.lines == 8 && !spec.fp8 && plan.upSteps >= plan.stages;

  int64_t at = stageBytes * plan.stages;
  auto take = [&](int64_t bytes) { return std::exchange(at, at + bytes); };
  plan.operand = take(llvm::alignTo(operandBytes, 128));
  plan.partials = take(partialBytes);
  plan.list = take(4 * plan.maxExperts);
  plan.pairOf = take(4 * plan.maxExperts * spec.maxTokens);
  plan.slotOf = take(4 * plan.maxPairs);
  plan.weights = take(4 * plan.maxPairs);
  plan.drawn = take(4 * drawnWords);
  plan.owned = take(4 * spec.shares);
  plan.scalars = take(4 * 4);
  plan.xScales = take(4 * plan.xScaleBlocks * spec.maxTokens);
  plan.hScales = take(4 * plan.hScaleBlocks * plan.maxPairs);
  plan.sharedBytes = at;
  return plan;
}

FewRowsPlan moe::planFewRows(const FewRowsSpec &spec) {
  if (spec.warps)
    return planWithWarps(spec, spec.warps);
  // Rows in shared memory are worth half of the warps, and of what they have
  // in flight: 4 to 15 % (run 29 of benchmarks/gpu/NOTES.md).
  auto keepsRows = [&](const FewRowsPlan &plan) {
    return plan.xShared && (plan.hShared || !spec.fp8);
  };
  FewRowsPlan plan = planWithWarps(spec, 16);
  if (keepsRows(plan))
    return plan;
  FewRowsPlan half = planWithWarps(spec, 8);
  return keepsRows(half) ? half : plan;
}

using ErrorFn = function_ref<InFlightDiagnostic()>;

static LogicalResult verifyLayer(const FewRowsSpec &spec, ErrorFn emitError) {
  if (spec.experts < 1 || spec.experts > 1024)
    return emitError() << "few-rows kernel of " << spec.experts
                       << " experts, expected 1 to 1024";
  if (spec.hidden < 16 || spec.hidden % 16)
    return emitError() << "few-rows kernel of hidden size " << spec.hidden
                       << ", expected a multiple of 16 such as "
                       << std::max<int64_t>(16, llvm::alignTo(spec.hidden, 16));
  if (spec.inner < 8 || spec.inner % 8)
    return emitError() << "few-rows kernel of inner size " << spec.inner
                       << ", expected a multiple of 8 such as "
                       << std::max<int64_t>(8, llvm::alignTo(spec.inner, 8));
  // Their rows are multiples of eight by the checks above.
  int64_t unit = spec.fp8 ? 128 : 64;
  if (spec.blockedGateUp && spec.hidden % unit)
    return emitError() << "blocked gate_up of hidden size " << spec.hidden
                       << ", expected a multiple of " << unit << " such as "
                       << llvm::alignTo(spec.hidden, unit);
  if (spec.blockedDown && spec.inner % unit)
    return emitError() << "blocked down of inner size " << spec.inner
                       << ", expected a multiple of " << unit << " such as "
                       << llvm::alignTo(spec.inner, unit);
  if (spec.fp8 && spec.inner % 16)
    return emitError() << "few-rows kernel of inner size " << spec.inner
                       << " in fp8, expected a multiple of 16 such as "
                       << llvm::alignTo(spec.inner, 16);
  if (spec.hidden > INT32_MAX / 4 / spec.inner)
    return emitError() << "an expert of " << spec.hidden << " x " << spec.inner
                       << " exceeds the 2 GiB that an offset reaches";
  if (spec.topK < 1 || spec.topK > 32)
    return emitError() << "few-rows kernel of " << spec.topK
                       << " experts per token, expected 1 to 32";
  if (spec.tableSize < 0)
    return emitError() << "table of " << spec.tableSize
                       << " experts, expected none or a positive number";
  if (spec.epilogue == GroupedEpilogue::None)
    return emitError()
           << "few-rows kernel without an epilogue, expected swiglu "
              "or swiglu-clamped";
  return success();
}

LogicalResult moe::verifyFewRows(const FewRowsSpec &spec, ErrorFn emitError) {
  if (failed(verifyLayer(spec, emitError)))
    return failure();
  if (!llvm::is_contained(fewRowsTokens, spec.maxTokens))
    return emitError() << "few-rows kernel for up to " << spec.maxTokens
                       << " tokens, expected 1, 2, 4, 8 or 16";
  if (spec.shares < 1 || spec.shares > 1024)
    return emitError() << "few-rows kernel of " << spec.shares
                       << " shares, expected 1 to 1024";
  if (!llvm::is_contained({0, 4, 8, 16}, spec.warps))
    return emitError() << "few-rows kernel of " << spec.warps
                       << " warps, expected 4, 8 or 16";
  FewRowsPlan plan = planFewRows(spec);
  for (int64_t sharers : {spec.upWarps, spec.downWarps})
    if (sharers && (!llvm::isPowerOf2_64(sharers) || sharers > plan.warps))
      return emitError() << sharers
                         << " warps per unit, expected a power of two up to "
                         << plan.warps;
  if (spec.experts * spec.inner / plan.lines > INT32_MAX / spec.shares)
    return emitError() << spec.experts << " experts of " << spec.inner
                       << " rows in " << spec.shares
                       << " shares exceed 32-bit counting; use fewer shares";
  if (spec.fp8 && (!plan.xShared || !plan.hShared))
    return emitError() << "few-rows kernel in fp8 keeps all rows in shared "
                          "memory, which "
                       << spec.maxTokens
                       << " tokens exceed; use fewer tokens or warps";
  if (plan.stages < minStages || plan.sharedBytes > maxSharedBytes)
    return emitError() << "few-rows kernel needs " << plan.sharedBytes
                       << " bytes of shared memory for " << plan.stages
                       << " stages, but a CTA has " << maxSharedBytes
                       << " and at least " << minStages
                       << " stages are needed; use fewer tokens or warps";
  return success();
}

KernelInterface moe::getFewRowsInterface(const FewRowsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  FewRowsPlan plan = planFewRows(spec);
  interface.threads = 32 * (plan.warps + 1); // one more, that controls
  interface.sharedBytes = plan.sharedBytes;
  interface.persistent = true;
  auto add = [&](StringRef name, ParameterKind kind = ParameterKind::Pointer) {
    interface.parameters.push_back({name.str(), kind});
  };
  add("x");
  add("ids");
  add("weights");
  if (spec.tableSize)
    add("slots");
  add("gate_up");
  add("down");
  if (spec.fp8) {
    add("gate_up_scale");
    add("down_scale");
  }
  if (spec.bias) {
    add("up_bias");
    add("down_bias");
  }
  if (spec.addend)
    add("addend");
  add("hidden_rows");
  add("state");
  add("y");
  add("tokens", ParameterKind::Integer);
  return interface;
}
