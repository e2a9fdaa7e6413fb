// The words of --place: a layout, and questions for a plan.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "mlir/IR/Location.h"
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Analysis/PlacementWords.h"
#include "moe/Analysis/RoutingModel.h"

using namespace mlir;

MOE_FUZZ_MUTATE_BY(fuzz::mutateText);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Context context;
  context.renew(100000);
  llvm::StringRef text = fuzz::bytes(data, size);
  // Files named by words are another fuzzer's.
  if (text.contains('/') || text.contains(".json") ||
      text.contains("histogram"))
    return 0;
  auto emit = [&] { return mlir::emitError(UnknownLoc::get(context.get())); };
  FailureOr<moe::PlacementWords> words = moe::parsePlacementWords(text, emit);
  if (succeeded(words)) {
    FailureOr<moe::PlacementWords> again =
        moe::parsePlacementWords(words->spell(), emit);
    fuzz::require(succeeded(again) && again->spell() == words->spell(),
                  "a spelling says the same again");
  }
  (void)moe::parsePlanRequests(text, emit);
  std::string error;
  (void)moe::parseRoutingModel(text, error);
  return 0;
}
