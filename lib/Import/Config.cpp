#include "Config.h"
#include "moe/Json/StrictJson.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace llvm;

namespace moe::import {

// Larger than any model's, and small enough that the bytes of all experts of a
// layer fit in 64 bits.
constexpr int64_t kMaxSize = 1 << 18;
constexpr int64_t kMaxLayers = 4096;

static const json::Object kNoFields;

void Config::mistake(const Twine &message) const {
  // Rules are read once per layer, mistakes told once.
  std::string text = (Twine(file) + ": " + message).str();
  if (!is_contained(*mistakes, text))
    mistakes->push_back(std::move(text));
}

Error Config::takeError() const {
  if (mistakes->empty())
    return Error::success();
  return createStringError(join(*mistakes, "\n"));
}

std::string Config::path(StringRef name) const {
  return ("`" + prefix + name + "`").str();
}

std::string Config::paths(Names names) const {
  std::string text;
  for (auto [i, name] : enumerate(names))
    text += (i ? " or " : "") + path(name);
  return text;
}

const json::Value *Config::find(Names names) const {
  const json::Value *found = nullptr;
  StringRef foundName;
  for (StringRef name : names) {
    const json::Value *value = fields.get(name);
    if (!value || value->getAsNull())
      continue;
    if (found && *found != *value)
      mistake("field " + path(foundName) + " is " + spell(*found) + ", but " +
              path(name) + " is " + spell(*value) +
              "; equal values are expected");
    if (!found) {
      found = value;
      foundName = name;
    }
  }
  return found;
}

void Config::wrong(Names names, const json::Value &found,
                   const Twine &expected) const {
  // Name the spelling that was used.
  StringRef used = *find_if(names, [&](StringRef name) {
    const json::Value *value = fields.get(name);
    return value && !value->getAsNull();
  });
  mistake("field " + path(used) + " is " + spell(found) + ", but " + expected +
          " is expected");
}

const json::Value *Config::expect(Names names, bool required,
                                  const Twine &expected) const {
  const json::Value *value = find(names);
  if (!value && required)
    mistake("field " + paths(names) + " is missing, but " + expected +
            " is expected");
  return value;
}

Config Config::nested(StringRef name) const {
  std::string expected = "an object";
  const json::Value *value = expect({name}, /*required=*/true, expected);
  const json::Object *object = value ? value->getAsObject() : nullptr;
  if (value && !object)
    wrong({name}, *value, expected);
  Config inner(object ? *object : kNoFields, file);
  inner.prefix = prefix + name.str() + ".";
  inner.mistakes = mistakes;
  return inner;
}

int64_t Config::integer(Names names, int64_t minimum, int64_t maximum) const {
  std::string expected =
      formatv("an integer from {0} to {1}", minimum, maximum);
  const json::Value *value = expect(names, /*required=*/true, expected);
  if (!value)
    return std::max<int64_t>(minimum, 1);
  std::optional<int64_t> number = integerOf(*value);
  if (number && *number >= minimum && *number <= maximum)
    return *number;
  wrong(names, *value, expected);
  return std::max<int64_t>(minimum, 1);
}

int64_t Config::size(Names names, int64_t minimum) const {
  return integer(names, minimum, kMaxSize);
}

int64_t Config::layers(Names names, std::optional<int64_t> absent) const {
  return absent && !find(names) ? *absent : integer(names, 1, kMaxLayers);
}

int64_t Config::size(Names names, int64_t minimum, int64_t absent) const {
  return find(names) ? size(names, minimum) : absent;
}

double Config::number(Names names, std::optional<double> absent) const {
  std::string expected = "a finite number";
  const json::Value *value = expect(names, !absent, expected);
  if (!value)
    return absent.value_or(1);
  std::optional<double> number = value->getAsNumber();
  if (number && std::isfinite(*number))
    return *number;
  wrong(names, *value, expected);
  return 1;
}

bool Config::flag(Names names, std::optional<bool> absent) const {
  std::string expected = "true or false";
  const json::Value *value = expect(names, !absent, expected);
  if (!value)
    return absent.value_or(false);
  if (std::optional<bool> flag = value->getAsBoolean())
    return *flag;
  wrong(names, *value, expected);
  return false;
}

std::string Config::word(Names names, ArrayRef<StringRef> legal,
                         std::optional<StringRef> absent) const {
  std::string expected = "\"" + join(legal, "\" or \"") + "\"";
  const json::Value *value = expect(names, !absent, expected);
  if (!value)
    return absent.value_or(legal.front()).str();
  std::optional<StringRef> word = value->getAsString();
  if (word && is_contained(legal, *word))
    return word->str();
  wrong(names, *value, expected);
  return legal.front().str();
}

std::vector<const json::Value *> Config::list(StringRef name) const {
  const json::Value *value = find({name});
  if (!value)
    return {};
  const json::Array *array = value->getAsArray();
  if (!array) {
    wrong({name}, *value, "a list");
    return {};
  }
  std::vector<const json::Value *> entries;
  for (const json::Value &entry : *array)
    entries.push_back(&entry);
  return entries;
}

std::vector<int64_t> Config::integerList(StringRef name) const {
  std::vector<int64_t> integers;
  for (const json::Value *entry : list(name)) {
    std::optional<int64_t> integer = integerOf(*entry);
    if (integer && *integer >= 0)
      integers.push_back(*integer);
    else
      mistake("field " + path(name) + " lists " + spell(*entry) +
              ", but integers that are not negative are expected");
  }
  return integers;
}

std::vector<std::string> Config::wordList(StringRef name) const {
  std::vector<std::string> words;
  for (const json::Value *entry : list(name)) {
    if (std::optional<StringRef> word = entry->getAsString())
      words.push_back(word->str());
    else
      mistake("field " + path(name) + " lists " + spell(*entry) +
              ", but a string is expected");
  }
  return words;
}

ActivationKind Config::activation(Names names,
                                  std::optional<StringRef> absent) const {
  std::string name = word(names,
                          {"silu", "swish", "relu", "gelu", "gelu_new",
                           "gelu_pytorch_tanh", "gelu_fast"},
                          absent);
  if (name == "relu")
    return ActivationKind::Relu;
  if (name == "gelu")
    return ActivationKind::Gelu;
  if (StringRef(name).starts_with("gelu_"))
    return ActivationKind::GeluTanh;
  return ActivationKind::Silu;
}

} // namespace moe::import
