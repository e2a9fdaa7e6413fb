// Recorded routings: as a histogram of experts, and token by token.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "moe/Analysis/PayloadPrediction.h"
#include "moe/Analysis/RoutingModel.h"

MOE_FUZZ_MUTATE_BY(fuzz::mutateSafetensors);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder folder;
  std::string path =
      folder.write("routing.safetensors", fuzz::text(data, size));
  std::string error;
  fuzz::require(
      mlir::succeeded(moe::parseRoutingModel("histogram:" + path, error)) ||
          !error.empty(),
      "an error says what is wrong");
  error.clear();
  mlir::FailureOr<moe::RecordedRouting> routing =
      moe::readRouting(path, 0, error);
  if (mlir::failed(routing))
    fuzz::require(!error.empty(), "an error says what is wrong");
  else
    fuzz::require(static_cast<int64_t>(routing->ids.size()) ==
                      routing->tokens * routing->topK,
                  "a token has as many experts as are said");
  return 0;
}
