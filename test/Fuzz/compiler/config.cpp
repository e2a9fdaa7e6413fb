// config.json of a checkpoint, by the importer and as the model around a layer.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "mlir/IR/Verifier.h"
#include "moe/Analysis/ModelConfig.h"
#include "moe/Import/Import.h"

MOE_FUZZ_MUTATE_BY(fuzz::mutateJson);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder folder;
  static fuzz::Context context;
  context.renew();
  std::string path = folder.write("config.json", fuzz::text(data, size));
  std::string error;
  fuzz::require(mlir::succeeded(moe::readModelConfig(path, error)) ||
                    !error.empty(),
                "an error says what is wrong");
  llvm::Expected<moe::ImportedModel> model =
      moe::importCheckpoint(context.get(), folder.path, {});
  if (model)
    fuzz::require(mlir::succeeded(mlir::verify(*model->module)),
                  "what is imported is valid");
  else
    llvm::consumeError(model.takeError());
  return 0;
}
