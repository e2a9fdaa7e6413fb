// DeepSeek-V2: softmax scores; the large model keeps the groups with the best
// single expert. Renormalisation and the scale exclude each other, as in the
// code that came with the checkpoints.
#include "Family.h"

namespace moe::import {

static Router readRouter(const Config &config, int64_t topK) {
  Router router;
  router.topK = topK;
  router.matmul = MatmulType::F32;
  config.word({"scoring_func"}, {"softmax"}, "softmax");
  std::string method =
      config.word({"topk_method"}, {"greedy", "group_limited_greedy"});
  if (method == "group_limited_greedy") {
    router.nGroup = config.size({"n_group"});
    router.topkGroup = config.size({"topk_group"});
    if (router.nGroup > 1)
      router.groupScore = GroupScore::Max;
  }
  if (config.flag({"norm_topk_prob"})) {
    router.normalize = Normalize::Sum;
    router.normalizeEpsilon = 1e-20;
  } else {
    router.scale = config.number({"routed_scaling_factor"});
  }
  return router;
}

Model readDeepseekV2(FamilyInput &in) {
  const Config &config = in.config;
  Sizes sizes = readSizes(config, "moe_intermediate_size");
  int64_t sharedExperts = config.size({"n_shared_experts"}, 0, /*absent=*/0);
  ActivationKind kind = config.activation({"hidden_act"}, "silu");
  Router router = readRouter(config, sizes.topK);
  return layersWhere(sizes.layers, denseFirstRule(config), [&](Layer &layer) {
    std::string block = "model.layers." + std::to_string(layer.index) + ".mlp.";
    layer.hidden = sizes.hidden;
    layer.experts = sizes.experts;
    layer.router = router;
    layer.activation.kind = kind;
    layer.gate = plainWeight(in.context, block + "gate.weight",
                             {sizes.experts, sizes.hidden});
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
