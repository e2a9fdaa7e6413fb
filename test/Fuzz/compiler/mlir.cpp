// MLIR's text, as moe-opt reads it: what is parsed is verified, and can be read
// again once it is printed. Bytecode is another fuzzer's.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "input_limits.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, OpPrintingFlags().assumeVerified());
  return text;
}

MOE_FUZZ_MUTATE_BY(fuzz::mutateText);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Context context;
  context.renew();
  // Files end with a zero for upstream's lexer, which needs one.
  std::string input(fuzz::text(data, size));
  llvm::StringRef text = input;
  if (text.starts_with("ML\xefR"))
    return 0;
  if (llvm::Error error =
          moe::checkInputLimits(llvm::MemoryBufferRef(text, "input"))) {
    llvm::consumeError(std::move(error));
    return 0;
  }
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(text, context.get());
  if (!module)
    return 0;
  std::string once = print(*module);
  OwningOpRef<ModuleOp> again =
      parseSourceString<ModuleOp>(once, context.get());
  fuzz::require(bool(again), "what is printed can be read");
  return 0;
}
