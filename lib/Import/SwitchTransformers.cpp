// Switch Transformers: one expert per token, tokens over `expert_capacity` of
// their sequence dropped; experts without a gate. Layers of the encoder come
// first, then those of the decoder.
#include "Family.h"

namespace moe::import {

// Layers of one stack that are MoE: with `sparse` of `layers`, layer i where
// i % step = 1, or all where the step is 1.
static bool isSparse(int64_t layer, int64_t layers, int64_t sparse) {
  int64_t step = sparse > 0 ? layers / sparse : 0;
  return step == 1 || (step > 1 && layer % step == 1);
}

static void describe(FamilyInput &in, const Sizes &sizes,
                     const std::string &block, bool hasBias, Layer &layer) {
  int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
  std::string router = block + "router.classifier.";
  layer.gate = plainWeight(in.context, router + "weight", {e, h});
  if (hasBias)
    layer.gateBias = plainWeight(in.context, router + "bias", {e});
  std::string expert = block + "experts.expert_{e}.";
  layer.routed.up.shape = {e, 1, i, h};
  Source up = stacked(
      in.context, expert + "wi.weight", {i, h}, 4,
      [](llvm::ArrayRef<mlir::AffineExpr> d) { return Exprs{d[2], d[3]}; });
  up.expertDim = 0;
  layer.routed.up.sources = {up};
  layer.routed.down.shape = {e, h, i};
  layer.routed.down.sources = {
      perExpert(in.context, expert + "wo.weight", layer.routed.down.shape)};
}

Model readSwitchTransformers(FamilyInput &in) {
  const Config &config = in.config;
  int64_t encoder = config.layers({"num_layers"});
  int64_t decoder = config.layers({"num_decoder_layers"}, /*absent=*/encoder);
  int64_t sparseEncoder = config.size({"num_sparse_encoder_layers"}, 0);
  int64_t sparseDecoder = config.size({"num_sparse_decoder_layers"}, 0);
  Sizes sizes = {encoder + decoder, config.size({"d_model"}),
                 config.size({"d_ff"}), config.size({"num_experts"}), 1};
  Router router;
  router.topK = 1;
  router.capacity = Capacity::PerSequence;
  router.capacityFactor = config.size({"expert_capacity"});
  bool isF32 = config.word({"router_dtype"}, {"float32", "bfloat16", "float16"},
                           "float32") == "float32";
  router.matmul = isF32 ? MatmulType::F32 : MatmulType::Model;
  bool hasBias = config.flag({"router_bias"}, false);
  ActivationKind kind = config.activation({"dense_act_fn"}, "relu");
  return layersWhere(
      sizes.layers,
      [&](int64_t layer) {
        return layer < encoder
                   ? isSparse(layer, encoder, sparseEncoder)
                   : isSparse(layer - encoder, decoder, sparseDecoder);
      },
      [&](Layer &layer) {
        layer.hidden = sizes.hidden;
        layer.experts = sizes.experts;
        layer.router = router;
        layer.activation.kind = kind;
        layer.activation.gated = false;
        std::string block =
            layer.index < encoder
                ? "encoder.block." + std::to_string(layer.index) +
                      ".layer.1.mlp."
                : "decoder.block." + std::to_string(layer.index - encoder) +
                      ".layer.2.mlp.";
        describe(in, sizes, block, hasBias, layer);
      });
}

} // namespace moe::import
