// How the runtime reports errors inside: a code and a message, or a value.
#ifndef MOERT_STATUS_H
#define MOERT_STATUS_H

#include "moert/moert.h"
#include "text.h"

#include <string>
#include <utility>
#include <variant>

namespace moert {

class [[nodiscard]] Status {
public:
  Status() = default;
  template <typename... Args>
  static Status error(moert_status code, const Args &...args) {
    Status status;
    status.value = code;
    status.text = concat(args...);
    return status;
  }

  bool ok() const { return value == MOERT_OK; }
  moert_status code() const { return value; }
  const std::string &message() const { return text; }
  // The same error, told from further outside: "prefix: message".
  Status in(std::string_view prefix) const {
    return ok() ? *this : error(value, prefix, ": ", text);
  }

private:
  moert_status value = MOERT_OK;
  std::string text;
};

template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : content(std::move(value)) {}
  Result(Status status) : content(std::move(status)) {}

  bool ok() const { return std::holds_alternative<T>(content); }
  Status status() const { return ok() ? Status() : std::get<Status>(content); }
  T &operator*() { return std::get<T>(content); }
  T *operator->() { return &std::get<T>(content); }

private:
  std::variant<Status, T> content;
};

// Leaves the calling function with the status of `expression` if it is an
// error.
#define MOERT_TRY(expression)                                                  \
  do {                                                                         \
    if (::moert::Status moertStatus = (expression); !moertStatus.ok())         \
      return moertStatus;                                                      \
  } while (false)

} // namespace moert

#endif
