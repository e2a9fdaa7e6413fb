// What family files are written with, and the table of families.
#ifndef MOE_LIB_IMPORT_FAMILY_H
#define MOE_LIB_IMPORT_FAMILY_H

#include "Config.h"
#include "Layouts.h"
#include "Model.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace moe::import {

/// `quantization_config`.
struct Quantization {
  WeightFormat format = WeightFormat::Plain;
  /// Modules that stay as they are; `*` stands for any text.
  std::vector<std::string> excluded;
};

struct FamilyInput {
  Config &config;
  mlir::MLIRContext *context;
  Quantization quantization;

  /// The format of the weights of a module such as
  /// "model.layers.3.mlp.experts".
  WeightFormat formatOf(llvm::StringRef module) const;
};

/// A family reads its fields and describes each MoE layer.
struct Family {
  /// `model_type` in config.json.
  llvm::StringLiteral modelType;
  Model (*read)(FamilyInput &in);
  /// The one quantised format that the family's checkpoints come in.
  WeightFormat quantized = WeightFormat::Plain;
};

/// All families, sorted by name.
llvm::ArrayRef<Family> families();

/// The sizes that nearly all families spell alike.
struct Sizes {
  int64_t layers, hidden, width, experts, topK;
};
/// `widthName`: the field that holds the width of one expert.
Sizes readSizes(const Config &config, llvm::StringRef widthName);

/// Reads `quantization_config` where there is one.
Quantization readQuantization(const Config &config, const Family &family);

/// Layers 0 to `layers` - 1 for which `isMoe` holds, each filled in by
/// `describe`, which finds the index set.
Model layersWhere(int64_t layers, llvm::function_ref<bool(int64_t)> isMoe,
                  llvm::function_ref<void(Layer &)> describe);

/// The rule of Qwen models: not in `mlp_only_layers`, and one layer in
/// `decoder_sparse_step`.
std::function<bool(int64_t)> qwenLayerRule(const Config &config);
/// The rule of DeepSeek and GLM: all but the first ones.
std::function<bool(int64_t)> denseFirstRule(const Config &config);

/// DeepSeek-V3's router, which GLM shares: sigmoid, groups scored by their two
/// best, a bias for selection.
void deepseekRouter(FamilyInput &in, const Sizes &sizes, Layer &layer,
                    llvm::StringRef gate);

// One function per family file.
Model readDbrx(FamilyInput &in);
Model readDeepseekV2(FamilyInput &in);
Model readDeepseekV3(FamilyInput &in);
Model readGlm4Moe(FamilyInput &in);
Model readGptOss(FamilyInput &in);
Model readJamba(FamilyInput &in);
Model readLlama4(FamilyInput &in);
Model readMixtral(FamilyInput &in);
Model readNllbMoe(FamilyInput &in);
Model readOlmoe(FamilyInput &in);
Model readPhimoe(FamilyInput &in);
Model readQwen2Moe(FamilyInput &in);
Model readQwen3Moe(FamilyInput &in);
Model readQwen3Next(FamilyInput &in);
Model readSwitchTransformers(FamilyInput &in);

} // namespace moe::import
#endif
