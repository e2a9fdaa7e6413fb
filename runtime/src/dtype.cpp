#include "dtype.h"

#include <bit>
#include <cstring>

using namespace moert;

size_t moert::dtypeSize(moert_dtype dtype) {
  switch (dtype) {
  case MOERT_F32:
  case MOERT_I32:
    return 4;
  case MOERT_BF16:
  case MOERT_F16:
    return 2;
  case MOERT_I64:
    return 8;
  case MOERT_F8E4M3:
  case MOERT_I8:
    return 1;
  }
  return 0;
}

bool moert::isValidDtype(int32_t dtype) {
  return dtype >= MOERT_F32 && dtype <= MOERT_F16;
}

const char *moert::dtypeName(moert_dtype dtype) {
  return dtypeNames()[dtype].c_str();
}

const std::vector<std::string> &moert::dtypeNames() {
  static const std::vector<std::string> names = {
      "f32", "bf16", "i32", "i64", "f16", "f8E4M3FN", "i8"};
  return names;
}

std::vector<std::string> moert::valueDtypeNames() {
  return {dtypeNames().begin(), dtypeNames().begin() + MOERT_F16 + 1};
}

std::optional<moert_dtype> moert::dtypeFromName(std::string_view name) {
  const std::vector<std::string> &names = dtypeNames();
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return static_cast<moert_dtype>(i);
  return std::nullopt;
}

bool moert::isFloat(moert_dtype dtype) {
  return dtype == MOERT_F32 || dtype == MOERT_BF16 || dtype == MOERT_F16;
}

const char *moert::fileDtypeName(FileDtype dtype) {
  switch (dtype) {
  case FileDtype::F64:
    return "f64";
  case FileDtype::F32:
    return "f32";
  case FileDtype::BF16:
    return "bf16";
  case FileDtype::F16:
    return "f16";
  case FileDtype::I64:
    return "i64";
  case FileDtype::I32:
    return "i32";
  case FileDtype::F8E4M3:
    return "f8E4M3FN";
  case FileDtype::I8:
    return "i8";
  case FileDtype::Other:
    return "another type";
  }
  return "";
}

bool moert::isFloat(FileDtype dtype) {
  return dtype == FileDtype::F64 || dtype == FileDtype::F32 ||
         dtype == FileDtype::BF16 || dtype == FileDtype::F16;
}

int64_t moert::fileDtypeSize(FileDtype dtype) {
  switch (dtype) {
  case FileDtype::F64:
  case FileDtype::I64:
    return 8;
  case FileDtype::F32:
  case FileDtype::I32:
    return 4;
  case FileDtype::BF16:
  case FileDtype::F16:
    return 2;
  case FileDtype::F8E4M3:
  case FileDtype::I8:
    return 1;
  case FileDtype::Other:
    break;
  }
  return 0;
}

FileDtype moert::fileDtype(moert_dtype dtype) {
  switch (dtype) {
  case MOERT_F32:
    return FileDtype::F32;
  case MOERT_BF16:
    return FileDtype::BF16;
  case MOERT_I32:
    return FileDtype::I32;
  case MOERT_I64:
    return FileDtype::I64;
  case MOERT_F16:
    return FileDtype::F16;
  case MOERT_F8E4M3:
    return FileDtype::F8E4M3;
  case MOERT_I8:
    return FileDtype::I8;
  }
  return FileDtype::Other;
}

float moert::bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float moert::f16ToFloat(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fff) << 13;
  uint32_t exponent = magnitude & 0x0f800000;
  if (exponent == 0x0f800000) // infinity or NaN
    return std::bit_cast<float>(sign | magnitude | 0x7f800000);
  // Scaling by a power of two is exact and normalises subnormals.
  float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

uint16_t moert::floatToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) // keep NaN quiet, and a NaN
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t moert::floatToF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return sign | 0x7e00;
  if (bits >= 0x477ff000) // rounds to 2^16 or more
    return sign | 0x7c00;
  if (bits < 0x38800000) { // subnormal: let the addition round
    float aligned = std::bit_cast<float>(bits) + 0.5f;
    return static_cast<uint16_t>(
        sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000));
  }
  bits += 0xfff + (bits >> 13 & 1);
  return static_cast<uint16_t>(sign | (bits - 0x38000000) >> 13);
}

bool moert::canConvert(FileDtype from, moert_dtype to) {
  return from == fileDtype(to) || (isFloat(from) && isFloat(to));
}

template <typename T> static T load(const std::byte *from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

namespace {
struct ReadF64 {
  using Type = double;
  // By way of f32 on purpose: programs compute in f32 at most.
  static float get(const std::byte *p) {
    return static_cast<float>(load<double>(p));
  }
};
struct ReadF32 {
  using Type = float;
  static float get(const std::byte *p) { return load<float>(p); }
};
struct ReadBF16 {
  using Type = uint16_t;
  static float get(const std::byte *p) {
    return bf16ToFloat(load<uint16_t>(p));
  }
};
struct ReadF16 {
  using Type = uint16_t;
  static float get(const std::byte *p) { return f16ToFloat(load<uint16_t>(p)); }
};
} // namespace

template <typename T>
static void copyStrided(const std::byte *source, int64_t stride, void *target,
                        int64_t count) {
  if (stride == 1) {
    std::memcpy(target, source, static_cast<size_t>(count) * sizeof(T));
    return;
  }
  T *out = static_cast<T *>(target);
  for (int64_t i = 0; i < count; ++i)
    out[i] = load<T>(source + i * stride * static_cast<int64_t>(sizeof(T)));
}

template <typename Read>
static void convertFrom(const std::byte *source, int64_t stride, moert_dtype to,
                        void *target, int64_t count) {
  int64_t step = stride * static_cast<int64_t>(sizeof(typename Read::Type));
  float *floats = static_cast<float *>(target);
  uint16_t *halves = static_cast<uint16_t *>(target);
  for (int64_t i = 0; i < count; ++i) {
    float value = Read::get(source + i * step);
    if (to == MOERT_F32)
      floats[i] = value;
    else
      halves[i] = to == MOERT_BF16 ? floatToBf16(value) : floatToF16(value);
  }
}

void moert::convertElements(FileDtype from, const void *source, int64_t stride,
                            moert_dtype to, void *target, int64_t count) {
  if (count == 0)
    return;
  const std::byte *bytes = static_cast<const std::byte *>(source);
  if (from == fileDtype(to)) {
    switch (dtypeSize(to)) {
    case 1:
      return copyStrided<uint8_t>(bytes, stride, target, count);
    case 2:
      return copyStrided<uint16_t>(bytes, stride, target, count);
    case 4:
      return copyStrided<uint32_t>(bytes, stride, target, count);
    default:
      return copyStrided<uint64_t>(bytes, stride, target, count);
    }
  }
  if (from == FileDtype::F64)
    convertFrom<ReadF64>(bytes, stride, to, target, count);
  else if (from == FileDtype::F32)
    convertFrom<ReadF32>(bytes, stride, to, target, count);
  else if (from == FileDtype::BF16)
    convertFrom<ReadBF16>(bytes, stride, to, target, count);
  else
    convertFrom<ReadF16>(bytes, stride, to, target, count);
}

double moert::elementAsDouble(FileDtype dtype, const void *data,
                              int64_t index) {
  const std::byte *bytes = static_cast<const std::byte *>(data);
  switch (dtype) {
  case FileDtype::F64:
    return load<double>(bytes + index * 8);
  case FileDtype::F32:
    return load<float>(bytes + index * 4);
  case FileDtype::BF16:
    return bf16ToFloat(load<uint16_t>(bytes + index * 2));
  case FileDtype::F16:
    return f16ToFloat(load<uint16_t>(bytes + index * 2));
  case FileDtype::I64:
    return static_cast<double>(load<int64_t>(bytes + index * 8));
  case FileDtype::I32:
    return load<int32_t>(bytes + index * 4);
  case FileDtype::F8E4M3:
  case FileDtype::I8:
  case FileDtype::Other:
    break;
  }
  return 0;
}
