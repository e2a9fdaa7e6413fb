#include "input_limits.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llvm;

// The exit code of a reader whose module is too long to be written.
static constexpr int tooLong = 3;

namespace {

// Keeps nothing, and ends the process once too much was written.
class Counter : public raw_ostream {
public:
  Counter() : raw_ostream(/*unbuffered=*/false) {}
  ~Counter() override { flush(); }

private:
  void write_impl(const char *, size_t size) override {
    written += size;
    if (written > moe::maxInputBytes)
      ::_exit(tooLong);
  }
  uint64_t current_pos() const override { return written; }

  uint64_t written = 0;
};

} // namespace

static void limitTo(int resource, rlim_t most) {
  rlimit limit = {most, most};
  (void)::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

// In a process of its own; what it has to say is said again by the next reader.
[[noreturn]] static void readBytecode(MemoryBufferRef input,
                                      const mlir::DialectRegistry &registry) {
  if (int nowhere = ::open("/dev/null", O_WRONLY); nowhere >= 0) {
    ::dup2(nowhere, 1);
    ::dup2(nowhere, 2);
  }
  limitTo(RLIMIT_CORE, 0);
  limitTo(RLIMIT_CPU, 60);
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  limitTo(RLIMIT_AS, rlim_t(8) << 30);
#endif
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::Operation *> op =
      mlir::parseSourceString(input.getBuffer(), &context);
  // Attributes that hold others twice are short here and endless as text.
  if (op) {
    Counter counter;
    op->print(counter, mlir::OpPrintingFlags().assumeVerified());
  }
  ::_exit(0);
}

Error moe::checkBytecode(MemoryBufferRef input,
                         const mlir::DialectRegistry &registry) {
  if (!isBytecode(input))
    return Error::success();
  auto refuse = [&](const Twine &why) {
    return createStringError(input.getBufferIdentifier() + ": " + why);
  };
  pid_t child = ::fork();
  if (child < 0)
    return refuse("cannot be read in a process of its own: " +
                  Twine(std::strerror(errno)));
  if (child == 0)
    readBytecode(input, registry);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return refuse("cannot be read in a process of its own: " +
                    Twine(std::strerror(errno)));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return Error::success();
  if (WIFEXITED(status) && WEXITSTATUS(status) == tooLong)
    return refuse("is bytecode of more than " + Twine(maxInputBytes) +
                  " bytes of text, but at most as many are read");
  return refuse("is damaged bytecode: its reader ended by " +
                (WIFSIGNALED(status)
                     ? "signal " + Twine(WTERMSIG(status))
                     : "exit code " + Twine(WEXITSTATUS(status))));
}
