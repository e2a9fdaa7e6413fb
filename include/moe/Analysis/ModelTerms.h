// From one MoE layer's time to a step of the whole model: attention, dense
// layers, and what training adds.
#ifndef MOE_ANALYSIS_MODELTERMS_H
#define MOE_ANALYSIS_MODELTERMS_H

#include "moe/Analysis/LayerSimulator.h"
#include "moe/Analysis/ModelConfig.h"
#include <optional>

namespace moe {

enum class PlanPhase { Prefill, Decode, Train };
enum class WeightSharding { None, Zero1, Fsdp };

/// What is given of a step, beside the layout of the experts.
struct StepShape {
  PlanPhase phase = PlanPhase::Prefill;
  double tokens = 1;       // that enter a MoE layer in one pass, global
  int64_t seq = 0;         // tokens of a sequence (train, prefill)
  int64_t context = 0;     // tokens in the cache at a decoding step
  int64_t microBatch = 1;  // sequences of a pass on each data-parallel rank
  int64_t globalBatch = 0; // sequences of a step; 0: not known
  int64_t attnTp = 1, attnDp = 1, cp = 1, pp = 1, vpp = 0;
  WeightSharding sharding = WeightSharding::None;
  bool recompute = false;
  std::optional<bool> overlap;
  bool worstReceive = true; // buffers hold whatever can arrive, not what does
};

/// Where the experts lie, and how big they are.
struct ExpertShape {
  int64_t ep = 1, etp = 1, edp = 1;
  double parameters = 0; // of all routed experts of one layer
  double shared = 0;     // of the shared expert of one layer
  GemmType gemm = GemmType::BF16;
  bool stored = true; // weights are in that format; else they would be
};

struct StepCost {
  double us = 0;
  std::map<std::string, double> terms;
};

/// us of a step. Without `model`, the MoE layers alone: `layers` of them, one
/// pass (training: forward and backward).
StepCost stepCost(const LayerCost &layer, int64_t layers,
                  const ModelConfig *model, const StepShape &step,
                  const ExpertShape &experts, const Machine &machine);

} // namespace moe
#endif
