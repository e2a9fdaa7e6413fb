// NLLB-MoE: two experts per token, renormalised after drops; experts without a
// gate, with biases, scaled at inference by 1 - `moe_token_dropout` (here a
// factor of the routing weights). Layers of the encoder come first.
#include "Family.h"

namespace moe::import {

static Router readRouter(const Config &config, int64_t experts) {
  Router router;
  router.topK = 2;
  router.scale = 1 - config.number({"moe_token_dropout"});
  bool isF32 = config.word({"router_dtype"}, {"float32", "bfloat16", "float16"},
                           "float32") == "float32";
  router.matmul = isF32 ? MatmulType::F32 : MatmulType::Model;
  config.word({"second_expert_policy"}, {"all"}, "all");
  double fraction = config.number({"moe_eval_capacity_token_fraction"});
  if (fraction <= 0)
    config.mistake("field `moe_eval_capacity_token_fraction` is not positive, "
                   "but capacities are read as a fraction of the tokens");
  // An expert that may take all tokens drops none, and the order of drops and
  // renormalisation no longer matters.
  if (fraction >= 1) {
    router.normalize = Normalize::Sum;
    return router;
  }
  bool isBefore = config.flag({"normalize_router_prob_before_dropping"}, false);
  router.normalize = isBefore ? Normalize::Sum : Normalize::AfterDrop;
  router.capacity = Capacity::TwoChoice;
  router.capacityFactor = fraction > 0 ? fraction * experts : 1;
  return router;
}

static void describe(FamilyInput &in, const Sizes &sizes,
                     const std::string &block, bool hasBias, Layer &layer) {
  int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
  std::string router = block + "router.classifier.";
  layer.gate = plainWeight(in.context, router + "weight", {e, h});
  if (hasBias)
    layer.gateBias = plainWeight(in.context, router + "bias", {e});
  std::string expert = block + "experts.expert_{e}.";
  auto firstProduct = [&](std::string name, llvm::ArrayRef<int64_t> shape) {
    // P = 1 of a layer without a gate does not show in the file.
    Weight weight;
    weight.shape.assign(shape.begin(), shape.end());
    Source source =
        stacked(in.context, std::move(name), shape.drop_front(2), shape.size(),
                [](llvm::ArrayRef<mlir::AffineExpr> d) {
                  return Exprs(d.drop_front(2).begin(), d.end());
                });
    source.expertDim = 0;
    weight.sources = {source};
    return weight;
  };
  auto secondProduct = [&](std::string name, llvm::ArrayRef<int64_t> shape) {
    Weight weight;
    weight.shape.assign(shape.begin(), shape.end());
    weight.sources = {perExpert(in.context, std::move(name), shape)};
    return weight;
  };
  layer.routed.up = firstProduct(expert + "fc1.weight", {e, 1, i, h});
  layer.routed.upBias = firstProduct(expert + "fc1.bias", {e, 1, i});
  layer.routed.down = secondProduct(expert + "fc2.weight", {e, h, i});
  layer.routed.downBias = secondProduct(expert + "fc2.bias", {e, h});
}

Model readNllbMoe(FamilyInput &in) {
  const Config &config = in.config;
  int64_t encoder = config.layers({"encoder_layers"});
  int64_t decoder = config.layers({"decoder_layers"});
  // 0: no layer is MoE.
  int64_t encoderStep = config.size({"encoder_sparse_step"}, 0);
  int64_t decoderStep = config.size({"decoder_sparse_step"}, 0);
  int64_t encoderWidth = config.size({"encoder_ffn_dim"});
  int64_t decoderWidth = config.size({"decoder_ffn_dim"});
  int64_t hidden = config.size({"d_model"});
  int64_t experts = config.size({"num_experts"});
  Router router = readRouter(config, experts);
  bool hasBias = config.flag({"router_bias"}, false);
  ActivationKind kind = config.activation({"activation_function"}, "relu");
  return layersWhere(
      encoder + decoder,
      [&](int64_t layer) {
        int64_t step = layer < encoder ? encoderStep : decoderStep;
        int64_t own = layer < encoder ? layer : layer - encoder;
        return step > 0 && (own + 1) % step == 0;
      },
      [&](Layer &layer) {
        bool isEncoder = layer.index < encoder;
        int64_t own = isEncoder ? layer.index : layer.index - encoder;
        layer.hidden = hidden;
        layer.experts = experts;
        layer.router = router;
        layer.activation.kind = kind;
        layer.activation.gated = false;
        Sizes sizes = {encoder + decoder, hidden,
                       isEncoder ? encoderWidth : decoderWidth, experts, 2};
        describe(
            in, sizes,
            (isEncoder ? "model.encoder.layers." : "model.decoder.layers.") +
                std::to_string(own) + ".ffn.",
            hasBias, layer);
      });
}

} // namespace moe::import
