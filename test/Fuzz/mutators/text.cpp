#include "mutators.h"

#include <algorithm>
#include <cctype>
#include <vector>

using namespace fuzz;

using Tokens = std::vector<std::string>;

static bool isWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
}

// A string, a word, or one character; what follows a string's escape is part of
// it.
static size_t tokenSize(std::string_view text) {
  if (text[0] == '"') {
    size_t end = 1;
    while (end < text.size() && text[end] != '"' && text[end] != '\n')
      end += text[end] == '\\' ? 2 : 1;
    return std::min(end + 1, text.size());
  }
  size_t end = 0;
  while (end < text.size() && isWord(text[end]))
    ++end;
  return std::max<size_t>(end, 1);
}

static Tokens split(std::string_view text) {
  Tokens tokens;
  while (!text.empty()) {
    size_t size = tokenSize(text);
    tokens.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return tokens;
}

static Tokens splitLines(std::string_view text) {
  Tokens lines;
  while (!text.empty()) {
    size_t size = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

static std::string join(const Tokens &tokens) {
  std::string text;
  for (const std::string &token : tokens)
    text += token;
  return text;
}

// Spaces matter little: another one is taken where there is one near.
static size_t choose(const Tokens &tokens, Random &random) {
  size_t at = random.below(tokens.size());
  for (int i = 0; i < 4 && tokens[at][0] == ' '; ++i)
    at = random.below(tokens.size());
  return at;
}

static void rearrange(Tokens &tokens, Random &random) {
  size_t at = choose(tokens, random), other = choose(tokens, random);
  auto where = tokens.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random.below(5)) {
  case 0: {
    std::string copy = tokens[at];
    tokens.insert(where, std::move(copy));
    return;
  }
  case 1:
    tokens.erase(where);
    return;
  case 2:
    return std::swap(tokens[at], tokens[other]);
  case 3:
    tokens[at] = std::string(tokens[other]);
    return;
  default: { // a part again
    size_t size = std::min(1 + random.below(16), tokens.size() - other);
    auto first = tokens.begin() + static_cast<std::ptrdiff_t>(other);
    Tokens part(first, first + static_cast<std::ptrdiff_t>(size));
    tokens.insert(where, part.begin(), part.end());
  }
  }
}

static bool isNumber(const std::string &token) {
  return std::isdigit(static_cast<unsigned char>(token[0]));
}

static void changeToken(Tokens &tokens, Random &random) {
  size_t at = choose(tokens, random);
  // Numbers first, if there are any.
  for (int i = 0; i < 8 && !isNumber(tokens[at]); ++i)
    at = choose(tokens, random);
  std::string &token = tokens[at];
  switch (random.below(4)) {
  case 0: { // nesting, and what is long
    std::string once = token;
    for (size_t i = 0, times = random.below(random.oneIn(4) ? 300 : 6);
         i < times; ++i)
      token += once;
    return;
  }
  case 1:
    token = mutateBytes(token, token.size() + 8);
    return;
  default:
    token = numberAtLimit(random);
  }
}

std::string fuzz::mutateText(std::string_view text, Random &random) {
  bool byLine = random.oneIn(5);
  Tokens tokens = byLine ? splitLines(text) : split(text);
  if (tokens.empty())
    return {};
  if (byLine || random.oneIn(2))
    rearrange(tokens, random);
  else
    changeToken(tokens, random);
  return join(tokens);
}
