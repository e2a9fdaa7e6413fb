// Machine files and tables of kernels.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "moe/Analysis/Machine.h"
#include "moe/Codegen/TileTable.h"

MOE_FUZZ_MUTATE_BY(fuzz::mutateJson);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string error;
  fuzz::require(mlir::succeeded(moe::parseMachine(fuzz::bytes(data, size),
                                                  "machine.json", error)) ||
                    !error.empty(),
                "an error says what is wrong");
  error.clear();
  fuzz::require(mlir::succeeded(moe::parseTileTable(fuzz::bytes(data, size),
                                                    "tiles.json", error)) ||
                    !error.empty(),
                "an error says what is wrong");
  return 0;
}
