// Qwen2-MoE: softmax over all experts, usually not renormalised, and a shared
// expert behind a sigmoid gate. Qwen3-Next has the same block.
#include "Family.h"

namespace moe::import {

Model readQwen2Moe(FamilyInput &in) {
  const Config &config = in.config;
  Sizes sizes = readSizes(config, "moe_intermediate_size");
  int64_t sharedWidth = config.size({"shared_expert_intermediate_size"});
  ActivationKind kind = config.activation({"hidden_act"}, "silu");
  bool normalize = config.flag({"norm_topk_prob"});
  return layersWhere(sizes.layers, qwenLayerRule(config), [&](Layer &layer) {
    std::string block = "model.layers." + std::to_string(layer.index) + ".mlp.";
    layer.hidden = sizes.hidden;
    layer.experts = sizes.experts;
    layer.router.topK = sizes.topK;
    layer.router.normalize = normalize ? Normalize::Sum : Normalize::None;
    layer.activation.kind = kind;
    layer.gate = plainWeight(in.context, block + "gate.weight",
                             {sizes.experts, sizes.hidden});
    layer.routed = swigluExperts(in.context, in.formatOf(block + "experts"),
                                 {sizes.experts, sizes.width, sizes.hidden},
                                 block + "experts.", block + "experts.");
    layer.shared =
        swigluShared(in.context, in.formatOf(block + "shared_expert"),
                     sharedWidth, sizes.hidden, block + "shared_expert.");
    layer.sharedGate = plainWeight(
        in.context, block + "shared_expert_gate.weight", {1, sizes.hidden});
  });
}

} // namespace moe::import
