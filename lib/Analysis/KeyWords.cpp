#include "moe/Analysis/KeyWords.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe;

// The choice that `word` most likely means: of those that it is a part of, or
// that are a part of it (`tp` and `etp`), else of all, the one that is the
// fewest edits away. None where half of the word would have to change.
static std::optional<StringRef> nearestWord(StringRef word,
                                            ArrayRef<StringRef> choices) {
  auto edits = [&](StringRef choice) {
    return StringRef(word.lower()).edit_distance(choice.lower());
  };
  std::string lower = word.lower();
  SmallVector<StringRef> related =
      llvm::filter_to_vector(choices, [&](StringRef choice) {
        return choice.lower().find(lower) != std::string::npos ||
               lower.find(choice.lower()) != std::string::npos;
      });
  ArrayRef<StringRef> list = related.empty() ? choices : ArrayRef(related);
  const StringRef *best = llvm::min_element(
      list, [&](StringRef a, StringRef b) { return edits(a) < edits(b); });
  if (best == list.end() ||
      (related.empty() && edits(*best) > std::max<size_t>(1, word.size() / 2)))
    return std::nullopt;
  return *best;
}

std::string moe::theNearest(StringRef word, ArrayRef<StringRef> choices,
                            const Twine &before) {
  std::optional<StringRef> nearest = nearestWord(word, choices);
  return nearest ? ("; the nearest is `" + before + *nearest + "`").str() : "";
}

LogicalResult KeyWords::read(StringRef text, ArrayRef<StringRef> known,
                             ArrayRef<StringRef> planned) {
  SmallVector<StringRef> words;
  llvm::SplitString(text, words, " \t\n");
  for (StringRef word : words) {
    auto [key, value] = word.split('=');
    if (!llvm::is_contained(known, key) && llvm::is_contained(planned, key))
      return emitError() << "`" << key
                         << "` is a word of plans, which need a `machine`, but "
                            "the words pin a layout: give one, or leave `"
                         << key << "` out";
    if (!llvm::is_contained(known, key))
      return emitError() << "`" << key
                         << "` is not a word of --place, but one of "
                         << llvm::join(known, ", ") << " is expected"
                         << theNearest(key, known);
    if (value.empty())
      return emitError() << "`" << key << "` has no value, but `" << key
                         << "=value` is expected";
    if (auto [entry, isNew] = values.try_emplace(key, value.str()); !isNew)
      return emitError() << "`" << key << "` is given twice, as "
                         << entry->second << " and as " << value
                         << ", but once is expected";
  }
  return success();
}

std::optional<StringRef> KeyWords::find(StringRef key) const {
  auto entry = values.find(key);
  if (entry == values.end())
    return std::nullopt;
  return entry->second;
}

LogicalResult KeyWords::number(StringRef key, int64_t limit,
                               std::optional<int64_t> &value) const {
  std::optional<StringRef> text = find(key);
  if (!text)
    return success();
  int64_t number = 0;
  if (!llvm::all_of(*text, llvm::isDigit) || text->getAsInteger(10, number) ||
      number < 1 || number > limit)
    return emitError() << "`" << key << "=" << *text
                       << "` is given, but a number from 1 to " << limit
                       << " is expected";
  value = number;
  return success();
}

LogicalResult KeyWords::number(StringRef key, int64_t limit,
                               int64_t &value) const {
  std::optional<int64_t> given;
  if (failed(number(key, limit, given)))
    return failure();
  value = given.value_or(value);
  return success();
}

LogicalResult KeyWords::choice(StringRef key, ArrayRef<StringRef> choices,
                               StringRef &value) const {
  std::optional<StringRef> text = find(key);
  if (!text)
    return success();
  if (!llvm::is_contained(choices, *text))
    return emitError() << "`" << key << "=" << *text
                       << "` is given, but one of " << llvm::join(choices, ", ")
                       << " is expected"
                       << theNearest(*text, choices, key + "=");
  value = *text;
  return success();
}
