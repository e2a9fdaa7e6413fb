#include "moe/Json/StrictJson.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace moe {

constexpr size_t kMaxDepth = 64;

Error fileError(StringRef file, const Twine &message) {
  return createStringError(Twine(file) + ": " + message);
}

namespace {

// One open object or array. Keys are known to be unique when it closes.
struct Scope {
  bool isObject = false;
  bool expectsKey = false;
  StringSet<> keys;
};

} // namespace

// The text of a string token, escapes resolved; the token as it is where it is
// malformed, which the parser will report.
static std::string decode(StringRef token) {
  if (!token.contains('\\'))
    return token.drop_front().drop_back().str();
  Expected<json::Value> value = json::parse(token);
  if (!value) {
    consumeError(value.takeError());
    return token.str();
  }
  return value->getAsString().value_or(token).str();
}

// Looks at brackets, strings and commas only; whatever else is wrong is left
// to the parser.
static Error checkBytes(StringRef bytes, StringRef file) {
  SmallVector<Scope> scopes;
  size_t line = 1;
  for (size_t i = 0; i < bytes.size(); ++i) {
    switch (bytes[i]) {
    case '\n':
      ++line;
      break;
    case '{':
    case '[':
      if (scopes.size() == kMaxDepth)
        return fileError(file, "line " + Twine(line) +
                                   " nests deeper than the " +
                                   Twine(kMaxDepth) + " levels that are read");
      scopes.emplace_back();
      scopes.back().isObject = scopes.back().expectsKey = bytes[i] == '{';
      break;
    case '}':
    case ']':
      if (!scopes.empty())
        scopes.pop_back();
      break;
    case ',':
      if (!scopes.empty())
        scopes.back().expectsKey = scopes.back().isObject;
      break;
    case '"': {
      size_t end = i + 1;
      while (end < bytes.size() && bytes[end] != '"')
        end += bytes[end] == '\\' ? 2 : 1;
      if (end >= bytes.size())
        return Error::success();
      if (!scopes.empty() && scopes.back().expectsKey) {
        scopes.back().expectsKey = false;
        std::string key = decode(bytes.slice(i, end + 1));
        if (!scopes.back().keys.insert(key).second)
          return fileError(file, "line " + Twine(line) + " gives field `" +
                                     key +
                                     "` a second time, but once is expected");
      }
      i = end;
      break;
    }
    default:
      break;
    }
  }
  return Error::success();
}

Expected<json::Object> parseObject(StringRef bytes, StringRef file,
                                   uint64_t maxBytes) {
  if (bytes.size() > maxBytes)
    return fileError(file, "holds " + Twine(bytes.size()) +
                               " bytes of JSON, but at most " +
                               Twine(maxBytes) + " are expected");
  if (Error error = checkBytes(bytes, file))
    return std::move(error);
  Expected<json::Value> value = json::parse(bytes);
  if (!value)
    return fileError(file, "is not JSON: " + toString(value.takeError()));
  json::Object *object = value->getAsObject();
  if (!object)
    return fileError(file,
                     "holds " + spell(*value) + ", but an object is expected");
  return std::move(*object);
}

Expected<json::Object> readObject(StringRef file, uint64_t maxBytes) {
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(file, status))
    return fileError(file, "cannot be read: " + code.message());
  if (status.type() != sys::fs::file_type::regular_file)
    return fileError(file, "is not a regular file");
  if (status.getSize() > maxBytes)
    return fileError(file, "has " + Twine(status.getSize()) +
                               " bytes, but at most " + Twine(maxBytes) +
                               " are expected");
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer = MemoryBuffer::getFile(
      file, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fileError(file, "cannot be read: " + buffer.getError().message());
  return parseObject((*buffer)->getBuffer(), file, maxBytes);
}

std::optional<int64_t> integerOf(const json::Value &value) {
  std::optional<double> number = value.getAsNumber();
  if (!number || !(*number >= -0x1p63 && *number < 0x1p63))
    return std::nullopt;
  return value.getAsInteger();
}

std::optional<int64_t> integerOf(const json::Object &object, StringRef key) {
  const json::Value *value = object.get(key);
  return value ? integerOf(*value) : std::nullopt;
}

std::string spell(const json::Value &value) {
  std::string text;
  raw_string_ostream(text) << value;
  constexpr size_t kShown = 60;
  if (text.size() > kShown) {
    // Not in the middle of a UTF-8 sequence.
    text = json::fixUTF8(StringRef(text).take_front(kShown)) + "...";
  }
  return text;
}

} // namespace moe
