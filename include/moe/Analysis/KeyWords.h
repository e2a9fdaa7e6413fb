// Words between spaces, `key=value`, as --place takes them.
#ifndef MOE_ANALYSIS_KEYWORDS_H
#define MOE_ANALYSIS_KEYWORDS_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringMap.h"
#include <optional>
#include <string>

namespace moe {

/// "; the nearest is `etp`", or nothing where no choice is like `word`.
std::string theNearest(llvm::StringRef word,
                       llvm::ArrayRef<llvm::StringRef> choices,
                       const llvm::Twine &before = "");

class KeyWords {
public:
  using EmitError = llvm::function_ref<mlir::InFlightDiagnostic()>;
  /// `emitError` must outlive the words: it reports what is wrong with one.
  explicit KeyWords(EmitError emitError) : emitError(emitError) {}

  /// Takes the words of `text`. Refused: a key that is not in `known`, one
  /// without value, and one that is given twice. One of `planned` is said to
  /// need a machine.
  llvm::LogicalResult read(llvm::StringRef text,
                           llvm::ArrayRef<llvm::StringRef> known,
                           llvm::ArrayRef<llvm::StringRef> planned = {});

  /// The value of `key`, none where it is not given.
  std::optional<llvm::StringRef> find(llvm::StringRef key) const;
  /// From 1 to `limit`; `value` stays as it is where `key` is not given.
  llvm::LogicalResult number(llvm::StringRef key, int64_t limit,
                             std::optional<int64_t> &value) const;
  llvm::LogicalResult number(llvm::StringRef key, int64_t limit,
                             int64_t &value) const;
  /// One of `choices`.
  llvm::LogicalResult choice(llvm::StringRef key,
                             llvm::ArrayRef<llvm::StringRef> choices,
                             llvm::StringRef &value) const;

private:
  EmitError emitError;
  llvm::StringMap<std::string> values;
};

} // namespace moe
#endif
