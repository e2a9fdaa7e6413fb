// Names and shapes of a checkpoint's tensors: the header of a safetensors file,
// and the same bytes as the index of several.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "moe/Import/Import.h"

static const char config[] = R"({"model_type": "mixtral", "hidden_size": 64,
  "intermediate_size": 96, "num_local_experts": 8, "num_experts_per_tok": 2,
  "num_hidden_layers": 2, "hidden_act": "silu", "torch_dtype": "float32"})";

static void import(fuzz::Context &context, const std::string &folder) {
  context.renew();
  llvm::Expected<moe::ImportedModel> model =
      moe::importCheckpoint(context.get(), folder, {});
  if (!model)
    llvm::consumeError(model.takeError());
}

MOE_FUZZ_MUTATE_BY(fuzz::mutateSafetensors);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder whole, sharded;
  static fuzz::Context context;
  whole.write("config.json", config);
  whole.write("model.safetensors", fuzz::text(data, size));
  import(context, whole.path);
  sharded.write("config.json", config);
  sharded.write("a.safetensors", fuzz::text(data, size));
  sharded.write("model.safetensors.index.json", fuzz::text(data, size));
  import(context, sharded.path);
  return 0;
}
