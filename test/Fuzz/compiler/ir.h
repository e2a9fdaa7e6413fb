// A context for fuzzers of the compiler. What is made unique in it is never
// freed, so it is made anew from time to time.
#ifndef MOE_TEST_FUZZ_IR_H
#define MOE_TEST_FUZZ_IR_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "moe/Pipelines/Registration.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <memory>

namespace fuzz {

class Context {
public:
  // True when the context is another than at the last call.
  bool renew(unsigned runs = 1000) {
    if (context && ++used < runs)
      return false;
    used = 0;
    silence.reset();
    context = std::make_unique<mlir::MLIRContext>(
        registry(), mlir::MLIRContext::Threading::DISABLED);
    silence = std::make_unique<mlir::ScopedDiagnosticHandler>(
        context.get(), [](mlir::Diagnostic &diagnostic) {
          // To look at one input.
          if (std::getenv("MOE_FUZZ_VERBOSE"))
            llvm::errs() << diagnostic << "\n";
          return mlir::success();
        });
    return true;
  }
  mlir::MLIRContext *get() { return context.get(); }

private:
  static const mlir::DialectRegistry &registry() {
    static const mlir::DialectRegistry all = [] {
      mlir::DialectRegistry dialects;
      moe::registerAllDialects(dialects);
      return dialects;
    }();
    return all;
  }
  std::unique_ptr<mlir::MLIRContext> context;
  std::unique_ptr<mlir::ScopedDiagnosticHandler> silence;
  unsigned used = 0;
};

inline llvm::StringRef bytes(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

} // namespace fuzz

#endif
