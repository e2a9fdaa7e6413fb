// Mixtral: softmax over all experts, the chosen weights renormalised; every
// layer is MoE. Version 5 of transformers renames the block to `mlp`.
#include "Family.h"

namespace moe::import {

Model readMixtral(FamilyInput &in) {
  Sizes sizes = readSizes(in.config, "intermediate_size");
  ActivationKind kind = in.config.activation({"hidden_act"}, "silu");
  return layersWhere(
      sizes.layers, [](int64_t) { return true; },
      [&](Layer &layer) {
        std::string prefix =
            "model.layers." + std::to_string(layer.index) + ".";
        std::string block = prefix + "block_sparse_moe.";
        std::string fused = prefix + "mlp.";
        layer.hidden = sizes.hidden;
        layer.experts = sizes.experts;
        layer.router.topK = sizes.topK;
        layer.router.normalize = Normalize::Sum;
        layer.activation.kind = kind;
        layer.gate = plainWeight(in.context, block + "gate.weight",
                                 {sizes.experts, sizes.hidden});
        layer.gate.sources.push_back(
            whole(in.context, fused + "gate.weight", layer.gate.shape));
        layer.routed = swigluExperts(in.context, WeightFormat::Plain,
                                     {sizes.experts, sizes.width, sizes.hidden},
                                     block + "experts.", fused + "experts.",
                                     {"w1.weight", "w3.weight", "w2.weight"});
      });
}

} // namespace moe::import
