// MLIR's bytecode, as moe-opt reads it: upstream's reader may crash, but only
// where that is expected.
#include "../fuzz.h"
#include "ir.h"

#include "input_limits.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const mlir::DialectRegistry registry = [] {
    mlir::DialectRegistry dialects;
    moe::registerAllDialects(dialects);
    return dialects;
  }();
  std::string bytes = "ML\xefR";
  bytes += fuzz::text(data, size);
  if (llvm::Error error =
          moe::checkBytecode(llvm::MemoryBufferRef(bytes, "input"), registry))
    fuzz::require(llvm::toString(std::move(error)).find("damaged") !=
                      std::string::npos,
                  "a refusal says what is wrong");
  return 0;
}
