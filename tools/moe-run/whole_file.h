// Results that are written whole or not at all.
#ifndef MOE_RUN_WHOLE_FILE_H
#define MOE_RUN_WHOLE_FILE_H

#include "atomic_file.h"
#include "status.h"

namespace moert {

inline Status writeWhole(const std::string &path,
                         std::span<const std::string_view> pieces) {
  std::string error = writeFileAtomically(path, pieces);
  return error.empty() ? Status() : Status::error(MOERT_ERROR_IO, error);
}

inline Status writeWhole(const std::string &path, std::string_view text) {
  return writeWhole(path, std::span(&text, 1));
}

} // namespace moert

#endif
