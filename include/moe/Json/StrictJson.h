// JSON from untrusted files. The parser of LLVM recurses and keeps the last of
// two equal keys, so size, depth and keys are checked on the bytes first.
#ifndef MOE_JSON_STRICTJSON_H
#define MOE_JSON_STRICTJSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <optional>
#include <string>

namespace moe {

/// An error that starts with the file's name.
llvm::Error fileError(llvm::StringRef file, const llvm::Twine &message);

/// Parses an object. `file` stands in messages; `bytes` longer than
/// `maxBytes`, nested deeper than 64 or with a key given twice are refused.
llvm::Expected<llvm::json::Object>
parseObject(llvm::StringRef bytes, llvm::StringRef file, uint64_t maxBytes);

/// Reads and parses a whole file.
llvm::Expected<llvm::json::Object> readObject(llvm::StringRef file,
                                              uint64_t maxBytes);

/// The largest header of a safetensors file, as the format has it.
inline constexpr uint64_t maxSafetensorsHeader = 100'000'000;

/// The integer that a value is. LLVM's own reading casts 2^63 to one, which has
/// no meaning.
std::optional<int64_t> integerOf(const llvm::json::Value &value);
/// The same of the value of a key, if there is one.
std::optional<int64_t> integerOf(const llvm::json::Object &object,
                                 llvm::StringRef key);

/// A value as it stands in a file, shortened, for messages.
std::string spell(const llvm::json::Value &value);

} // namespace moe
#endif
