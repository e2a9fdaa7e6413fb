// Qwen3-MoE: softmax over all experts, renormalised where the config says so.
#include "Family.h"

namespace moe::import {

Model readQwen3Moe(FamilyInput &in) {
  const Config &config = in.config;
  Sizes sizes = readSizes(config, "moe_intermediate_size");
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
  });
}

} // namespace moe::import
