// DBRX: softmax over all experts, the chosen weights divided by their p-norm;
// flat [E * I, H] tensors, the second product's too (input-major per expert).
#include "Family.h"

namespace moe::import {

using Dims = llvm::ArrayRef<mlir::AffineExpr>;

static void describe(mlir::MLIRContext *context, const Sizes &sizes,
                     Layer &layer) {
  int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
  std::string block =
      "transformer.blocks." + std::to_string(layer.index) + ".ffn.";
  std::string mlp = block + "experts.mlp.";
  layer.gate = plainWeight(context, block + "router.layer.weight", {e, h});
  layer.routed.up.shape = {e, 2, i, h};
  Source up = stacked(context, mlp + "w1", {e * i, h}, 4,
                      [&](Dims d) { return Exprs{d[0] * i + d[2], d[3]}; });
  up.names.push_back(mlp + "v1");
  up.partDim = 1;
  layer.routed.up.sources = {up};
  layer.routed.down.shape = {e, h, i};
  layer.routed.down.sources = {
      stacked(context, mlp + "w2", {e * i, h}, 3,
              [&](Dims d) { return Exprs{d[0] * i + d[2], d[1]}; })};
}

Model readDbrx(FamilyInput &in) {
  const Config &config = in.config;
  Config ffn = config.nested("ffn_config");
  Sizes sizes = {config.layers({"n_layers"}), config.size({"d_model"}),
                 ffn.size({"ffn_hidden_size"}), ffn.size({"moe_num_experts"}),
                 ffn.size({"moe_top_k"})};
  ActivationKind kind = ActivationKind::Silu;
  if (ffn.has("ffn_act_fn"))
    kind = ffn.nested("ffn_act_fn").activation({"name"});
  bool isNormalized = ffn.has("moe_normalize_expert_weights");
  if (isNormalized && ffn.number({"moe_normalize_expert_weights"}) != 1)
    config.mistake("field `ffn_config.moe_normalize_expert_weights` is not 1, "
                   "the only norm that is supported");
  return layersWhere(
      sizes.layers, [](int64_t) { return true; },
      [&](Layer &layer) {
        layer.hidden = sizes.hidden;
        layer.experts = sizes.experts;
        layer.router.topK = sizes.topK;
        layer.router.normalize =
            isNormalized ? Normalize::PNorm : Normalize::None;
        layer.activation.kind = kind;
        describe(in.context, sizes, layer);
      });
}

} // namespace moe::import
