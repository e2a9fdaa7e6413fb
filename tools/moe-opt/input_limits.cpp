#include "input_limits.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/SourceMgr.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llvm;

static constexpr StringLiteral bytecodeMagic = "ML\xefR";

namespace {

class Scan {
public:
  explicit Scan(MemoryBufferRef input)
      : bytes(input.getBuffer()), name(input.getBufferIdentifier()) {}
  Error run();

private:
  Error step(char byte);
  Error tooDeep(StringRef what) const {
    return createStringError(
        name + ":" + Twine(line) + ": " + what + " nest deeper than the " +
        Twine(moe::maxInputNesting) + " levels that are read");
  }
  // A string ends on its line; one that does not is the parser's to refuse.
  void skipString() {
    while (++at < bytes.size() && bytes[at] != '"')
      if (bytes[at] == '\n')
        return void(++line);
      else if (bytes[at] == '\\')
        ++at;
  }
  void skipComment() { at = bytes.find('\n', at); }

  StringRef bytes, name;
  size_t at = 0, line = 1, arrows = 0, signs = 0;
  SmallVector<char> open;
};

} // namespace

// `>` closes only what `<` opened: it also ends `->` and stands in `>=`.
Error Scan::step(char byte) {
  switch (byte) {
  case '<':
  case '(':
  case '[':
  case '{':
    open.push_back(byte);
    if (open.size() > moe::maxInputNesting)
      return tooDeep("brackets");
    break;
  case '>':
    if (!open.empty() && open.back() == '<')
      open.pop_back();
    break;
  case ')':
  case ']':
  case '}':
    // What was taken for a bracket may have been `less than`.
    while (!open.empty() && open.back() == '<')
      open.pop_back();
    if (!open.empty())
      open.pop_back();
    break;
  default:
    break;
  }
  return Error::success();
}

Error Scan::run() {
  for (; at < bytes.size(); ++at) {
    char byte = bytes[at], next = at + 1 < bytes.size() ? bytes[at + 1] : '\0';
    if (byte == '\n')
      ++line;
    if (isSpace(byte))
      continue;
    if (byte == '"') {
      skipString();
      continue;
    }
    if (byte == '/' && next == '/') {
      skipComment();
      if (at == StringRef::npos)
        break;
      ++line;
      continue;
    }
    if (byte == '-' && next == '>') {
      ++at;
      if (++arrows > moe::maxInputNesting)
        return tooDeep("function types");
      continue;
    }
    if (byte == '<' && next == '=') {
      ++at;
      continue;
    }
    signs = byte == '-' ? signs + 1 : 0;
    if (signs > moe::maxInputNesting)
      return tooDeep("signs");
    // A type's results are read inside the type; any of these ends it.
    if (StringRef("{},=%@^").contains(byte))
      arrows = 0;
    if (Error error = step(byte))
      return error;
  }
  return Error::success();
}

Error moe::checkInputLimits(MemoryBufferRef input) {
  if (input.getBufferSize() > maxInputBytes)
    return createStringError(
        input.getBufferIdentifier() + ": has " + Twine(input.getBufferSize()) +
        " bytes, but at most " + Twine(maxInputBytes) + " are read");
  if (input.getBuffer().starts_with(bytecodeMagic))
    return Error::success();
  return Scan(input).run();
}

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
  ::_exit(0);
}

Error moe::checkBytecode(MemoryBufferRef input,
                         const mlir::DialectRegistry &registry) {
  if (!input.getBuffer().starts_with(bytecodeMagic))
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
  return refuse("is damaged bytecode: its reader ended by " +
                (WIFSIGNALED(status)
                     ? "signal " + Twine(WTERMSIG(status))
                     : "exit code " + Twine(WEXITSTATUS(status))));
}
