// Jamba: softmax over all experts, never renormalised; one layer in
// `expert_layer_period` is MoE.
#include "Family.h"

namespace moe::import {

Model readJamba(FamilyInput &in) {
  const Config &config = in.config;
  Sizes sizes = readSizes(config, "intermediate_size");
  ActivationKind kind = config.activation({"hidden_act"}, "silu");
  int64_t period = config.size({"expert_layer_period"});
  int64_t offset = config.size({"expert_layer_offset"}, 0);
  return layersWhere(
      sizes.layers,
      // A single expert is stored as a dense block.
      [&](int64_t layer) {
        return layer % period == offset && sizes.experts > 1;
      },
      [&](Layer &layer) {
        std::string block =
            "model.layers." + std::to_string(layer.index) + ".feed_forward.";
        layer.hidden = sizes.hidden;
        layer.experts = sizes.experts;
        layer.router.topK = sizes.topK;
        layer.activation.kind = kind;
        layer.gate = plainWeight(in.context, block + "router.weight",
                                 {sizes.experts, sizes.hidden});
        layer.routed = swigluExperts(in.context, WeightFormat::Plain,
                                     {sizes.experts, sizes.width, sizes.hidden},
                                     block + "experts.", block + "experts.");
      });
}

} // namespace moe::import
