// The table of families, and the rules that several of them share.
#include "Family.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/GlobPattern.h"

using namespace llvm;

namespace moe::import {

ArrayRef<Family> families() {
  static constexpr Family table[] = {
      {"dbrx", readDbrx},
      {"deepseek_v2", readDeepseekV2, WeightFormat::Fp8Block},
      {"deepseek_v3", readDeepseekV3, WeightFormat::Fp8Block},
      {"glm4_moe", readGlm4Moe, WeightFormat::Fp8Block},
      {"gpt_oss", readGptOss, WeightFormat::Mxfp4},
      {"jamba", readJamba},
      {"llama4", readLlama4},
      {"llama4_text", readLlama4},
      {"mixtral", readMixtral},
      {"nllb-moe", readNllbMoe},
      {"olmoe", readOlmoe},
      {"phimoe", readPhimoe},
      {"qwen2_moe", readQwen2Moe, WeightFormat::Fp8Block},
      {"qwen3_moe", readQwen3Moe, WeightFormat::Fp8Block},
      {"qwen3_next", readQwen3Next, WeightFormat::Fp8Block},
      {"switch_transformers", readSwitchTransformers},
  };
  return table;
}

WeightFormat FamilyInput::formatOf(StringRef module) const {
  for (StringRef pattern : quantization.excluded) {
    Expected<GlobPattern> glob = GlobPattern::create(pattern);
    if (!glob) {
      consumeError(glob.takeError());
      config.mistake("`quantization_config.modules_to_not_convert` lists \"" +
                     pattern + "\", but names with `*` are expected");
      continue;
    }
    // An entry covers the module itself and all that lies in it.
    StringRef part = module;
    while (!part.empty()) {
      if (glob->match(part))
        return WeightFormat::Plain;
      part = part.contains('.') ? part.rsplit('.').first : "";
    }
  }
  return quantization.format;
}

Quantization readQuantization(const Config &config, const Family &family) {
  Quantization result;
  if (!config.has("quantization_config"))
    return result;
  if (family.quantized == WeightFormat::Plain) {
    config.mistake("field `quantization_config` is given, but checkpoints of "
                   "`" +
                   family.modelType + "` are read without quantisation only");
    return result;
  }
  Config fields = config.nested("quantization_config");
  bool isFp8 = family.quantized == WeightFormat::Fp8Block;
  fields.word({"quant_method"}, {isFp8 ? "fp8" : "mxfp4"});
  result.format = family.quantized;
  result.excluded = fields.wordList("modules_to_not_convert");
  if (isFp8) {
    fields.word({"fmt"}, {"e4m3"}, "e4m3");
    std::vector<int64_t> block = fields.integerList("weight_block_size");
    if (block != std::vector<int64_t>{128, 128})
      fields.mistake("field `quantization_config.weight_block_size` is not "
                     "[128, 128], the only block that is read");
  }
  return result;
}

Sizes readSizes(const Config &config, StringRef widthName) {
  return {config.layers({"num_hidden_layers"}), config.size({"hidden_size"}),
          config.size({widthName}),
          config.size({"num_experts", "num_local_experts", "n_routed_experts"}),
          config.size({"num_experts_per_tok", "experts_per_token"})};
}

Model layersWhere(int64_t layers, function_ref<bool(int64_t)> isMoe,
                  function_ref<void(Layer &)> describe) {
  Model model;
  model.layers = layers;
  for (int64_t index = 0; index < layers; ++index) {
    if (!isMoe(index))
      continue;
    model.moeLayers.emplace_back();
    model.moeLayers.back().index = index;
    describe(model.moeLayers.back());
  }
  return model;
}

std::function<bool(int64_t)> qwenLayerRule(const Config &config) {
  int64_t step = config.size({"decoder_sparse_step"}, 1, /*absent=*/1);
  std::vector<int64_t> dense = config.integerList("mlp_only_layers");
  return [=](int64_t layer) {
    return (layer + 1) % step == 0 && !is_contained(dense, layer);
  };
}

std::function<bool(int64_t)> denseFirstRule(const Config &config) {
  int64_t first = config.size({"first_k_dense_replace"}, 0);
  int64_t step = config.size({"moe_layer_freq"}, 1, /*absent=*/1);
  return [=](int64_t layer) { return layer >= first && layer % step == 0; };
}

void deepseekRouter(FamilyInput &in, const Sizes &sizes, Layer &layer,
                    StringRef gate) {
  const Config &config = in.config;
  Router &router = layer.router;
  router.topK = sizes.topK;
  router.score = Score::Sigmoid;
  router.nGroup = config.size({"n_group"}, 1, /*absent=*/1);
  router.topkGroup = config.size({"topk_group"}, 1, /*absent=*/1);
  if (router.nGroup > 1)
    router.groupScore = GroupScore::Top2Sum;
  if (config.flag({"norm_topk_prob"})) {
    router.normalize = Normalize::Sum;
    router.normalizeEpsilon = 1e-20;
  }
  router.scale = config.number({"routed_scaling_factor"});
  router.matmul = MatmulType::F32;
  layer.gate = plainWeight(in.context, (gate + "weight").str(),
                           {sizes.experts, sizes.hidden});
  layer.selectionBias =
      plainWeight(in.context, (gate + "e_score_correction_bias").str(),
                  {sizes.experts}, Element::F32);
}

} // namespace moe::import
