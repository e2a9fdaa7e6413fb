#include "text.h"

#include <algorithm>

using namespace moert;

static size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string moert::nearest(std::string_view word,
                           const std::vector<std::string> &choices) {
  const std::string *best = nullptr;
  size_t bestDistance = 0;
  for (const std::string &choice : choices) {
    size_t distance = editDistance(word, choice);
    if (!best || distance < bestDistance) {
      best = &choice;
      bestDistance = distance;
    }
  }
  return best ? *best : std::string();
}

std::string moert::suggest(std::string_view word,
                           const std::vector<std::string> &choices) {
  if (choices.empty())
    return "; there are none";
  std::string close = nearest(word, choices);
  if (choices.size() > 8 || editDistance(word, close) <= word.size() / 4)
    return concat("; did you mean `", close, "`?");
  return concat("; choose from: ", join(choices));
}

std::string moert::printable(std::string_view text) {
  constexpr size_t limit = 120;
  std::string out;
  for (char c : text.substr(0, limit))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() > limit)
    out += "...";
  return out;
}
