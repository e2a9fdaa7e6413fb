// Typed fields of config.json.
#ifndef MOE_LIB_IMPORT_CONFIG_H
#define MOE_LIB_IMPORT_CONFIG_H

#include "dialects/Moe/MoeDialect.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <optional>
#include <string>
#include <vector>

namespace moe::import {

/// Reads fields and remembers what was wrong, so that family files read like
/// tables and a user sees all mistakes at once. After a mistake a getter
/// returns a value that is safe to compute with; nothing computed counts
/// unless `takeError` succeeds.
///
/// A field is looked up by all the names that families use for it; null counts
/// as absent. Two names with different values are a mistake.
class Config {
public:
  using Names = llvm::ArrayRef<llvm::StringRef>;

  Config(const llvm::json::Object &fields, std::string file)
      : fields(fields), file(std::move(file)),
        mistakes(std::make_shared<std::vector<std::string>>()) {}

  /// The fields under `name`, which report to this object.
  Config nested(llvm::StringRef name) const;
  bool has(llvm::StringRef name) const { return find({name}); }

  /// A dimension or count, from 1 (or `minimum`) on.
  int64_t size(Names names, int64_t minimum = 1) const;
  int64_t size(Names names, int64_t minimum, int64_t absent) const;
  /// A number of layers: each is described before anything else is known.
  int64_t layers(Names names, std::optional<int64_t> absent = {}) const;
  /// A finite number.
  double number(Names names, std::optional<double> absent = {}) const;
  bool flag(Names names, std::optional<bool> absent = {}) const;
  /// One of `legal`.
  std::string word(Names names, llvm::ArrayRef<llvm::StringRef> legal,
                   std::optional<llvm::StringRef> absent = {}) const;
  /// Integers that are not negative; an absent list is empty.
  std::vector<int64_t> integerList(llvm::StringRef name) const;
  std::vector<std::string> wordList(llvm::StringRef name) const;
  ActivationKind activation(Names names,
                            std::optional<llvm::StringRef> absent = {}) const;

  /// Records a mistake about the fields read; the file's name is added.
  void mistake(const llvm::Twine &message) const;
  /// What was wrong, one message per line.
  llvm::Error takeError() const;

private:
  int64_t integer(Names names, int64_t minimum, int64_t maximum) const;
  const llvm::json::Value *find(Names names) const;
  const llvm::json::Value *expect(Names names, bool required,
                                  const llvm::Twine &expected) const;
  void wrong(Names names, const llvm::json::Value &found,
             const llvm::Twine &expected) const;
  std::string path(llvm::StringRef name) const;
  std::string paths(Names names) const;
  std::vector<const llvm::json::Value *> list(llvm::StringRef name) const;

  const llvm::json::Object &fields;
  std::string file;
  std::string prefix;
  std::shared_ptr<std::vector<std::string>> mistakes;
};

} // namespace moe::import
#endif
