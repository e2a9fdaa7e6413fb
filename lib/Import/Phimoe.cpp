// Phi-3.5-MoE: the sparse mixer takes two experts in two masked softmaxes, with
// the router's jitter as its threshold; every layer is MoE.
#include "Family.h"

namespace moe::import {

Model readPhimoe(FamilyInput &in) {
  Sizes sizes = readSizes(in.config, "intermediate_size");
  ActivationKind kind = in.config.activation({"hidden_act"}, "silu");
  double jitter = in.config.number({"router_jitter_noise"});
  if (sizes.topK != 2)
    in.config.mistake("field `num_experts_per_tok` is " +
                      std::to_string(sizes.topK) +
                      ", but the sparse mixer of `phimoe` chooses 2");
  return layersWhere(
      sizes.layers, [](int64_t) { return true; },
      [&](Layer &layer) {
        std::string prefix =
            "model.layers." + std::to_string(layer.index) + ".";
        std::string block = prefix + "block_sparse_moe.";
        std::string fused = prefix + "mlp.";
        layer.hidden = sizes.hidden;
        layer.experts = sizes.experts;
        layer.router.topK = 2;
        layer.router.score = Score::SparseMixer;
        layer.router.jitter = jitter;
        layer.activation.kind = kind;
        layer.gate = plainWeight(in.context, block + "gate.weight",
                                 {sizes.experts, sizes.hidden});
        layer.gate.sources.push_back(
            whole(in.context, fused + "router.weight", layer.gate.shape));
        layer.routed = swigluExperts(in.context, WeightFormat::Plain,
                                     {sizes.experts, sizes.width, sizes.hidden},
                                     block + "experts.", fused + "experts.",
                                     {"w1.weight", "w3.weight", "w2.weight"});
      });
}

} // namespace moe::import
