// Llama 4: sigmoid of the chosen logits, which scales the expert's input; a
// shared expert of the same width; stacked input-major tensors with the gate's
// columns first. Multimodal checkpoints keep the text model in `text_config`.
#include "Family.h"
#include "llvm/ADT/STLExtras.h"

namespace moe::import {

using Dims = llvm::ArrayRef<mlir::AffineExpr>;

static std::function<bool(int64_t)> layerRule(const Config &config) {
  if (config.has("moe_layers")) {
    std::vector<int64_t> layers = config.integerList("moe_layers");
    return [=](int64_t layer) { return llvm::is_contained(layers, layer); };
  }
  int64_t step = config.size({"interleave_moe_layer_step"});
  return [=](int64_t layer) { return (layer + 1) % step == 0; };
}

static void describe(mlir::MLIRContext *context, const Sizes &sizes,
                     const std::string &block, Layer &layer) {
  int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
  layer.gate = plainWeight(context, block + "router.weight", {e, h});
  FeedForward &routed = layer.routed;
  routed.up.shape = {e, 2, i, h};
  routed.up.sources = {
      stacked(context, block + "experts.gate_up_proj", {e, h, 2 * i}, 4,
              [&](Dims d) { return Exprs{d[0], d[3], d[1] * i + d[2]}; })};
  routed.down.shape = {e, h, i};
  routed.down.sources = {
      stacked(context, block + "experts.down_proj", {e, i, h}, 3,
              [](Dims d) { return Exprs{d[0], d[2], d[1]}; })};
  layer.shared = swigluShared(context, WeightFormat::Plain, i, h,
                              block + "shared_expert.");
}

Model readLlama4(FamilyInput &in) {
  bool isMultimodal = in.config.has("text_config");
  Config config = isMultimodal ? in.config.nested("text_config") : in.config;
  std::string model = isMultimodal ? "language_model.model." : "model.";
  Sizes sizes = readSizes(config, "intermediate_size");
  ActivationKind kind = config.activation({"hidden_act"}, "silu");
  return layersWhere(sizes.layers, layerRule(config), [&](Layer &layer) {
    layer.hidden = sizes.hidden;
    layer.experts = sizes.experts;
    layer.router.topK = sizes.topK;
    layer.router.score = Score::Sigmoid;
    layer.router.scoreAfterTopK = true;
    layer.router.weightOn = WeightOn::Input;
    layer.activation.kind = kind;
    describe(in.context, sizes,
             model + "layers." + std::to_string(layer.index) + ".feed_forward.",
             layer);
  });
}

} // namespace moe::import
