// gpt-oss: the router has a bias and takes its softmax over the chosen logits;
// experts have biases, a clamp and their own activation, whatever `hidden_act`
// says. Gate and up rows alternate; plain tensors are input-major, mxfp4 ones
// output-major.
#include "Family.h"

namespace moe::import {

using Dims = llvm::ArrayRef<mlir::AffineExpr>;

static FeedForward plainExperts(mlir::MLIRContext *context, const Sizes &sizes,
                                const std::string &prefix) {
  int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
  FeedForward result;
  result.up.shape = {e, 2, i, h};
  result.up.sources = {
      stacked(context, prefix + "gate_up_proj", {e, h, 2 * i}, 4,
              [](Dims d) { return Exprs{d[0], d[3], d[2] * 2 + d[1]}; })};
  result.down.shape = {e, h, i};
  result.down.sources = {
      stacked(context, prefix + "down_proj", {e, i, h}, 3,
              [](Dims d) { return Exprs{d[0], d[2], d[1]}; })};
  return result;
}

static FeedForward mxfp4Experts(mlir::MLIRContext *context, const Sizes &sizes,
                                const std::string &prefix) {
  int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
  FeedForward result;
  result.format = WeightFormat::Mxfp4;
  auto layouts = [&](int64_t columns, int64_t downColumns, Element element,
                     llvm::StringRef suffix) {
    Weight up, down;
    up.element = down.element = element;
    up.shape = {e, 2, i, columns};
    up.sources = {stacked(
        context, (prefix + "gate_up_proj" + suffix).str(), {e, 2 * i, columns},
        4, [](Dims d) { return Exprs{d[0], d[2] * 2 + d[1], d[3]}; })};
    down.shape = {e, h, downColumns};
    down.sources = {
        whole(context, (prefix + "down_proj" + suffix).str(), down.shape)};
    return std::pair(up, down);
  };
  int64_t hBlocks = h / mxfp4BlockSize, iBlocks = i / mxfp4BlockSize;
  std::tie(result.up, result.down) = layouts(h, i, Element::F4E2M1, "_blocks");
  // Two elements to a byte, 16 bytes to a block.
  result.up.sources[0].storedShape = {e, 2 * i, hBlocks, mxfp4BlockSize / 2};
  result.down.sources[0].storedShape = {e, h, iBlocks, mxfp4BlockSize / 2};
  std::tie(result.upScales, result.downScales) =
      layouts(hBlocks, iBlocks, Element::Byte, "_scales");
  return result;
}

Model readGptOss(FamilyInput &in) {
  const Config &config = in.config;
  Sizes sizes = readSizes(config, "intermediate_size");
  Activation activation;
  activation.alpha = config.number({"swiglu_alpha"}, 1.702);
  activation.limit = config.number({"swiglu_limit"}, 7.0);
  activation.upOffset = 1;
  if (activation.limit < 0)
    config.mistake("field `swiglu_limit` is negative, but a limit of at least "
                   "0 is expected");
  if (in.quantization.format == WeightFormat::Mxfp4 &&
      (sizes.hidden % mxfp4BlockSize || sizes.width % mxfp4BlockSize))
    config.mistake("`hidden_size` is " + std::to_string(sizes.hidden) +
                   " and `intermediate_size` " + std::to_string(sizes.width) +
                   ", but multiples of 32, the block of mxfp4, are expected");
  return layersWhere(
      sizes.layers, [](int64_t) { return true; },
      [&](Layer &layer) {
        std::string block =
            "model.layers." + std::to_string(layer.index) + ".mlp.";
        std::string experts = block + "experts.";
        int64_t e = sizes.experts, i = sizes.width, h = sizes.hidden;
        layer.hidden = h;
        layer.experts = e;
        layer.router.topK = sizes.topK;
        layer.router.scoreAfterTopK = true;
        layer.activation = activation;
        layer.gate = plainWeight(in.context, block + "router.weight", {e, h});
        layer.gateBias = plainWeight(in.context, block + "router.bias", {e});
        layer.routed = in.formatOf(block + "experts") == WeightFormat::Mxfp4
                           ? mxfp4Experts(in.context, sizes, experts)
                           : plainExperts(in.context, sizes, experts);
        layer.routed.upBias = Weight{};
        layer.routed.upBias->shape = {e, 2, i};
        layer.routed.upBias->sources = {
            stacked(in.context, experts + "gate_up_proj_bias", {e, 2 * i}, 3,
                    [](Dims d) { return Exprs{d[0], d[2] * 2 + d[1]}; })};
        layer.routed.downBias =
            plainWeight(in.context, experts + "down_proj_bias", {e, h});
      });
}

} // namespace moe::import
