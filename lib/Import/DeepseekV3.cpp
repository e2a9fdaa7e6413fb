// DeepSeek-V3 and R1: sigmoid scores, a bias for selection alone, groups, a
// scale, and a shared expert without a gate. The layer after the last one
// predicts further tokens and is no part of the model proper.
#include "Family.h"

namespace moe::import {

Model readDeepseekV3(FamilyInput &in) {
  const Config &config = in.config;
  Sizes sizes = readSizes(config, "moe_intermediate_size");
  int64_t sharedExperts = config.size({"n_shared_experts"}, 0);
  ActivationKind kind = config.activation({"hidden_act"}, "silu");
  config.word({"scoring_func"}, {"sigmoid"}, "sigmoid");
  config.word({"topk_method"}, {"noaux_tc"}, "noaux_tc");
  return layersWhere(sizes.layers, denseFirstRule(config), [&](Layer &layer) {
    std::string block = "model.layers." + std::to_string(layer.index) + ".mlp.";
    layer.hidden = sizes.hidden;
    layer.experts = sizes.experts;
    layer.activation.kind = kind;
    deepseekRouter(in, sizes, layer, block + "gate.");
    layer.routed = swigluExperts(in.context, in.formatOf(block + "experts"),
                                 {sizes.experts, sizes.width, sizes.hidden},
                                 block + "experts.", block + "experts.");
    if (sharedExperts > 0)
      layer.shared = swigluShared(
          in.context, in.formatOf(block + "shared_experts"),
          sharedExperts * sizes.width, sizes.hidden, block + "shared_experts.");
  });
}

} // namespace moe::import
