#include "moe/Analysis/ModelConfig.h"
#include "moe/Json/StrictJson.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace moe;

double ModelConfig::attentionParameters() const {
  double h = hidden, n = heads;
  if (!isLatent())
    return h * headDim * (2 * n + 2 * kvHeads);
  double query = qLora ? h * qLora + qLora * n * (nopeDim + ropeDim)
                       : h * n * (nopeDim + ropeDim);
  return query + h * (kvLora + ropeDim) + kvLora * n * (nopeDim + valueDim) +
         n * valueDim * h;
}

double ModelConfig::cacheElements(int64_t tp) const {
  if (isLatent())
    return kvLora + ropeDim;
  return 2.0 * headDim * std::max<double>(1, static_cast<double>(kvHeads) / tp);
}

FailureOr<ModelConfig> moe::readModelConfig(StringRef path,
                                            std::string &error) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer) {
    error =
        "'" + path.str() + "' cannot be read: " + buffer.getError().message();
    return failure();
  }
  constexpr uint64_t maxConfig = 64 << 20;
  llvm::Expected<llvm::json::Object> object =
      parseObject((*buffer)->getBuffer(), "'" + path.str() + "'", maxConfig);
  if (!object) {
    error = llvm::toString(object.takeError());
    return failure();
  }
  const llvm::json::Object *root = &*object;
  if (const llvm::json::Object *text = root->getObject("text_config"))
    root = text;
  ModelConfig model;
  auto read = [&](std::initializer_list<StringRef> keys, int64_t fallback,
                  bool required = false) -> int64_t {
    for (StringRef key : keys)
      if (std::optional<int64_t> found = integerOf(*root, key);
          found && *found >= 0 && *found < int64_t(1) << 40)
        return *found;
    if (required && error.empty())
      error = "'" + path.str() + "' has no `" + keys.begin()->str() +
              "`, but a whole number is expected";
    return fallback;
  };
  model.hidden = read({"hidden_size", "d_model", "n_embd"}, 0, true);
  // Of encoder-decoder models both stacks count.
  int64_t decoders = read({"num_decoder_layers", "decoder_layers"}, 0);
  model.layers = decoders + read({"num_hidden_layers", "n_layers", "num_layers",
                                  "encoder_layers"},
                                 0, true);
  if (integerOf(*root, "encoder_layers")) // which num_hidden_layers repeats
    model.layers = decoders + read({"encoder_layers"}, 0);
  model.heads = read({"num_attention_heads", "n_heads", "n_head", "num_heads",
                      "encoder_attention_heads"},
                     0, true);
  const llvm::json::Object *attention = root->getObject("attn_config");
  model.kvHeads =
      read({"num_key_value_heads"},
           attention ? integerOf(*attention, "kv_n_heads").value_or(model.heads)
                     : model.heads);
  model.headDim =
      read({"head_dim", "d_kv"}, model.heads ? model.hidden / model.heads : 0);
  model.denseWidth = read({"intermediate_size_mlp", "intermediate_size",
                           "ffn_dim", "d_ff", "encoder_ffn_dim"},
                          0);
  model.vocab = read({"vocab_size"}, 0);
  model.moeLayers = model.layers - read({"first_k_dense_replace"}, 0);
  if (int64_t sparse = read({"num_sparse_encoder_layers"}, 0) +
                       read({"num_sparse_decoder_layers"}, 0);
      sparse > 0)
    model.moeLayers = sparse;
  else if (int64_t step =
               read({"decoder_sparse_step", "interleave_moe_layer_step",
                     "moe_layer_freq", "expert_layer_period"},
                    1);
           step > 1)
    model.moeLayers = model.layers / step;
  if (const llvm::json::Array *dense = root->getArray("mlp_only_layers");
      dense && model.moeLayers > int64_t(dense->size()))
    model.moeLayers -= dense->size();
  model.kvLora = read({"kv_lora_rank"}, 0);
  if (model.isLatent()) {
    model.qLora = read({"q_lora_rank"}, 0);
    model.ropeDim = read({"qk_rope_head_dim"}, 0, true);
    model.nopeDim = read({"qk_nope_head_dim"}, 0, true);
    model.valueDim = read({"v_head_dim"}, 0, true);
  }
  if (error.empty() && (model.hidden < 1 || model.layers < 1 ||
                        model.heads < 1 || model.moeLayers < 1))
    error = "'" + path.str() + "' has hidden_size " +
            std::to_string(model.hidden) + ", " + std::to_string(model.layers) +
            " layers, of which " + std::to_string(model.moeLayers) +
            " are MoE, and " + std::to_string(model.heads) +
            " heads, but at least 1 of each is expected";
  if (!error.empty())
    return failure();
  return model;
}
