#include "input_limits.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include <utility>

using namespace llvm;

static constexpr StringLiteral bytecodeMagic = "ML\xefR";

// Beyond these the parser takes time that grows with the square.
static constexpr size_t maxDigits = 4096, maxOperators = 1024;
static constexpr uint64_t maxBits = 4096; // of an integer
// Of results, all numbers added up: the parser keeps room, 16 bytes each, for
// as many as a value has that is not known yet.
static constexpr uint64_t maxResults = moe::maxInputBytes / 16;

namespace {

// What stands in one pair of brackets; the outermost has none.
struct Level {
  char bracket = 0;
  size_t operators = 0; // since the last comma
};

class Scan {
public:
  explicit Scan(MemoryBufferRef input)
      : bytes(input.getBuffer()), name(input.getBufferIdentifier()),
        total(bytes.size()) {}
  Error run();

private:
  Error token();
  Error bracket(char byte);
  Error countOperator();
  Error word();
  Error alias();
  void endAlias();
  Error arrayElement();
  Error refuse(const Twine &what) const {
    return createStringError(name + ":" + Twine(line) + ": " + what);
  }
  Error tooDeep(StringRef what) const {
    return refuse(what + " nest deeper than the " +
                  Twine(moe::maxInputNesting) + " levels that are read");
  }
  char next() const { return at + 1 < bytes.size() ? bytes[at + 1] : '\0'; }
  // A string ends on its line; one that does not is the parser's to refuse.
  void skipString() {
    while (++at < bytes.size() && bytes[at] != '"')
      if (bytes[at] == '\n')
        return void(++line);
      else if (bytes[at] == '\\')
        ++at;
  }

  StringRef bytes, name;
  size_t at = 0, line = 1, arrows = 0, signs = 0;
  SmallVector<Level> levels = {Level()};
  uint64_t results = 0; // their numbers, added up
  // Bytes with aliases written out: of all, and of each alias.
  uint64_t total;
  StringMap<uint64_t> aliases;
  // The alias whose value is read, where it begins, and what it uses.
  StringRef defined;
  size_t begin = 0;
  uint64_t used = 0;
  bool isNewLine = false, isOpen = false; // is it still to be continued?
  // Whether the last token was `array`, and what comes next its elements' type.
  bool isArray = false, isElement = false;
};

} // namespace

static bool isWordByte(char byte) {
  return isAlnum(byte) || byte == '_' || byte == '.' || byte == '$';
}

// `>` closes only what `<` opened: it also ends `->` and stands in `>=`.
Error Scan::bracket(char byte) {
  if (byte == '<' || byte == '(' || byte == '[' || byte == '{') {
    levels.push_back({byte, 0});
    return levels.size() - 1 > moe::maxInputNesting ? tooDeep("brackets")
                                                    : Error::success();
  }
  // What was taken for a bracket may have been `less than`.
  while (byte != '>' && levels.back().bracket == '<')
    levels.pop_back();
  bool closes = byte == '>' ? levels.back().bracket == '<' : levels.size() > 1;
  if (!closes)
    return Error::success();
  size_t operators = byte == ')' ? levels.back().operators : 0;
  levels.pop_back();
  levels.back().operators += operators;
  return Error::success();
}

Error Scan::countOperator() {
  if (++levels.back().operators > maxOperators)
    return refuse("an expression has more than the " + Twine(maxOperators) +
                  " operators that are read");
  return Error::success();
}

// A number, a name, a type or an operator that is a word.
Error Scan::word() {
  size_t end = at;
  while (end < bytes.size() && isWordByte(bytes[end]))
    ++end;
  StringRef word = bytes.slice(at, end);
  bool isName = at > 0 && StringRef("%@^").contains(bytes[at - 1]);
  at = end - 1;
  if (isName)
    return Error::success();
  if (isDigit(word[0]) && word.size() > maxDigits)
    return refuse("a number has " + Twine(word.size()) +
                  " digits, but at most " + Twine(maxDigits) + " are read");
  StringRef width = word.substr(word.rfind('x') + 1); // 4x8xi32
  (void)(width.consume_front("s") || width.consume_front("u"));
  uint64_t bits = 0;
  if (width.consume_front("i") && !width.getAsInteger(10, bits) &&
      bits > maxBits)
    return refuse("`" + word + "` is an integer of " + Twine(bits) +
                  " bits, but at most " + Twine(maxBits) + " are read");
  isArray = word == "array";
  if (word == "mod" || word == "floordiv" || word == "ceildiv")
    return countOperator();
  return Error::success();
}

void Scan::endAlias() {
  if (!defined.empty())
    aliases[defined] = at - begin + used;
  defined = {};
}

// `#name` or `!name`: of an attribute or type of a dialect, an alias, or where
// one is defined. `#5`: a result of the value before.
Error Scan::alias() {
  size_t end = at + 1;
  while (end < bytes.size() && (isWordByte(bytes[end]) || bytes[end] == '-'))
    ++end;
  StringRef name = bytes.slice(at, end);
  StringRef digits = name.drop_front();
  uint64_t result = 0;
  if (bytes[at] == '#' && !digits.empty() && all_of(digits, isDigit) &&
      (digits.getAsInteger(10, result) || result > maxResults - results))
    return refuse("numbers of results like `" + name.take_front(32) +
                  "` come to more than the " + Twine(maxResults) +
                  " that are read");
  results += result;
  StringRef rest = bytes.drop_front(end).ltrim();
  bool defines = levels.size() == 1 && rest.starts_with("=");
  if (defines) {
    endAlias();
    defined = name;
    begin = at;
    used = 0;
    isNewLine = false;
  } else if (auto known = aliases.find(name); known != aliases.end()) {
    used += known->second;
    total += known->second;
    if (total > moe::maxInputBytes)
      return refuse("aliases written out make more than the " +
                    Twine(moe::maxInputBytes) + " bytes that are read");
  }
  at = end - 1;
  return Error::success();
}

// MLIR 22 takes `index` for a type of known width there, and crashes. An alias
// may stand for it.
Error Scan::arrayElement() {
  bool isAlias = bytes[at] == '!';
  if (!isAlias && bytes.drop_front(at).take_while(isWordByte) != "index")
    return Error::success();
  return refuse("an array has elements of " +
                Twine(isAlias ? "an alias" : "`index`") +
                ", but an integer or a float like `i64` is expected");
}

// What is neither a blank, a string nor a comment.
Error Scan::token() {
  char byte = bytes[at];
  // The value of an alias ends with its line, unless something is missing.
  if (isNewLine && !isOpen && byte != ':' && byte != '-' && levels.size() == 1)
    endAlias();
  isNewLine = false;
  isOpen = byte == '=' || byte == ':';
  if (std::exchange(isElement, std::exchange(isArray, false) && byte == '<'))
    if (Error error = arrayElement())
      return error;
  if (byte == '-' && next() == '>') {
    ++at;
    isOpen = true;
    return ++arrows > moe::maxInputNesting ? tooDeep("function types")
                                           : Error::success();
  }
  if (byte == '<' && next() == '=') {
    ++at;
    return Error::success();
  }
  signs = byte == '-' ? signs + 1 : 0;
  if (signs > moe::maxInputNesting)
    return tooDeep("signs");
  // A type's results are read inside the type; any of these ends it.
  if (StringRef("{},=%@^").contains(byte))
    arrows = 0;
  if (byte == ',' || byte == '=')
    levels.back().operators = 0;
  if (StringRef("+-*").contains(byte))
    return countOperator();
  if (byte == '#' || byte == '!')
    return alias();
  if (isWordByte(byte))
    return word();
  return StringRef("<>()[]{}").contains(byte) ? bracket(byte)
                                              : Error::success();
}

Error Scan::run() {
  for (; at < bytes.size(); ++at) {
    char byte = bytes[at];
    if (byte == '\n') {
      ++line;
      isNewLine = true;
    } else if (byte == '"') {
      skipString();
      isOpen = false;
    } else if (byte == '/' && next() == '/') {
      at = bytes.find('\n', at);
      if (at == StringRef::npos)
        break;
      ++line;
      isNewLine = true;
    } else if (!isSpace(byte)) {
      if (Error error = token())
        return error;
    }
  }
  return Error::success();
}

bool moe::isBytecode(MemoryBufferRef input) {
  return input.getBuffer().starts_with(bytecodeMagic);
}

Error moe::checkInputLimits(MemoryBufferRef input) {
  if (input.getBufferSize() > maxInputBytes)
    return createStringError(
        input.getBufferIdentifier() + ": has " + Twine(input.getBufferSize()) +
        " bytes, but at most " + Twine(maxInputBytes) + " are read");
  if (isBytecode(input))
    return Error::success();
  return Scan(input).run();
}
