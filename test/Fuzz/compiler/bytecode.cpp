// MLIR's bytecode, as moe-opt reads it: upstream's reader may crash, but only
// where that is expected.
#include "../fuzz.h"
#include "ir.h"

#include "input_limits.h"

#include <pthread.h>

extern "C" void __sanitizer_set_death_callback(void (*callback)());

// What ends the process of upstream's reader is no finding: there libFuzzer
// neither counts memory nor keeps the input.
extern "C" const char *__asan_default_options() {
  return "max_allocation_size_mb=3072";
}
extern "C" int LLVMFuzzerInitialize(int *argc, char ***argv) {
  static std::vector<char *> arguments(*argv, *argv + *argc);
  static char limit[] = "-malloc_limit_mb=1000000";
  arguments.push_back(limit);
  *argc = static_cast<int>(arguments.size());
  *argv = arguments.data();
  ::pthread_atfork(nullptr, nullptr,
                   [] { __sanitizer_set_death_callback(nullptr); });
  return 0;
}

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
