// Writing files so that a reader sees all of them or nothing.
#ifndef MOERT_ATOMIC_FILE_H
#define MOERT_ATOMIC_FILE_H

#include <span>
#include <string>
#include <string_view>

namespace moert {

// Writes the pieces one after the other to a temporary file beside `path` and
// renames it. A `path` that is no regular file (a pipe, a device) is written to
// directly. Returns an error text, or an empty string; on error nothing is
// left.
std::string writeFileAtomically(const std::string &path,
                                std::span<const std::string_view> pieces);

} // namespace moert

#endif
