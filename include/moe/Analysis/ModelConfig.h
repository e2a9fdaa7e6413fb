// The model around the MoE layers, as config.json describes it.
#ifndef MOE_ANALYSIS_MODELCONFIG_H
#define MOE_ANALYSIS_MODELCONFIG_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace moe {

/// Sizes in elements; 0 for what the model has not.
struct ModelConfig {
  int64_t hidden = 0, layers = 0, moeLayers = 0, vocab = 0;
  int64_t heads = 0, kvHeads = 0, headDim = 0;
  int64_t denseWidth = 0; // of the layers that are not MoE
  // Latent attention (MLA): kvLora > 0.
  int64_t qLora = 0, kvLora = 0, ropeDim = 0, nopeDim = 0, valueDim = 0;

  int64_t denseLayers() const { return layers - moeLayers; }
  bool isLatent() const { return kvLora > 0; }
  /// Parameters of one layer's attention.
  double attentionParameters() const;
  /// Elements of the cache that one token leaves in one layer, on one of `tp`
  /// ranks; what cannot be split over them is held by each.
  double cacheElements(int64_t tp) const;
};

/// Reads the keys of a Hugging Face config.json; a nested text_config counts.
mlir::FailureOr<ModelConfig> readModelConfig(llvm::StringRef path,
                                             std::string &error);

} // namespace moe
#endif
