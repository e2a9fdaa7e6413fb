// Integer arithmetic that notices when it leaves 64 bits.
#ifndef MOERT_CHECKED_H
#define MOERT_CHECKED_H

#include <cstdint>
#include <optional>
#include <span>

namespace moert {

class Checked {
public:
  Checked(int64_t value) : number(value) {}
  Checked operator+(Checked other) const {
    Checked result(0);
    result.overflow =
        __builtin_add_overflow(number, other.number, &result.number) ||
        overflow || other.overflow;
    return result;
  }
  Checked operator*(Checked other) const {
    Checked result(0);
    result.overflow =
        __builtin_mul_overflow(number, other.number, &result.number) ||
        overflow || other.overflow;
    return result;
  }
  // Nothing if any step left the range.
  std::optional<int64_t> get() const {
    return overflow ? std::nullopt : std::optional(number);
  }

private:
  int64_t number;
  bool overflow = false;
};

// The product of the dimensions; nothing if it leaves 64 bits.
inline std::optional<int64_t> elementCount(std::span<const int64_t> shape) {
  Checked product(1);
  for (int64_t size : shape) {
    if (size == 0)
      return 0;
    product = product * size;
  }
  return product.get();
}

} // namespace moert

#endif
