// Building messages.
#ifndef MOERT_TEXT_H
#define MOERT_TEXT_H

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

template <typename... Args> std::string concat(const Args &...args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// `items` separated by ", ".
template <typename Range> std::string join(const Range &items) {
  std::ostringstream out;
  const char *separator = "";
  for (const auto &item : items) {
    out << separator << item;
    separator = ", ";
  }
  return out.str();
}

// "[2, 3]".
template <typename Range> std::string bracketed(const Range &items) {
  return "[" + join(items) + "]";
}

// The choice closest to `word` by edit distance; empty if there is none at all.
std::string nearest(std::string_view word,
                    const std::vector<std::string> &choices);

// "; did you mean `x`?" for a close choice, otherwise the list of choices.
std::string suggest(std::string_view word,
                    const std::vector<std::string> &choices);

// Bytes from files, made fit for a message: no control characters, not too
// long.
std::string printable(std::string_view text);

} // namespace moert

#endif
