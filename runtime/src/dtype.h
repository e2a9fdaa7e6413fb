// Element types: those of programs (moert_dtype) and all that files may hold.
#ifndef MOERT_DTYPE_H
#define MOERT_DTYPE_H

#include "moert/abi.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

size_t dtypeSize(moert_dtype dtype);
// "f32", ...
const char *dtypeName(moert_dtype dtype);
std::optional<moert_dtype> dtypeFromName(std::string_view name);
const std::vector<std::string> &dtypeNames();
// Those that inputs and outputs may have.
std::vector<std::string> valueDtypeNames();
bool isFloat(moert_dtype dtype);
bool isValidDtype(int32_t dtype);

// An element type of the safetensors format; `I8` stands for bytes of either
// sign; `Other` has a size, but nothing
// here reads its values.
enum class FileDtype { F64, F32, BF16, F16, I64, I32, F8E4M3, I8, Other };
// "f64", ...
const char *fileDtypeName(FileDtype dtype);
bool isFloat(FileDtype dtype);
// Bytes an element; 0 for `Other`.
int64_t fileDtypeSize(FileDtype dtype);
FileDtype fileDtype(moert_dtype dtype);

float bf16ToFloat(uint16_t bits);
float f16ToFloat(uint16_t bits);
// Round to nearest, ties to even; NaN stays NaN.
uint16_t floatToBf16(float value);
uint16_t floatToF16(float value);

// Whether values of `from` can become `to`: the same type, or both floats.
bool canConvert(FileDtype from, moert_dtype to);
// Converts `count` elements; `stride` is the distance between elements of
// `source`, in elements. Sources need not be aligned.
void convertElements(FileDtype from, const void *source, int64_t stride,
                     moert_dtype to, void *target, int64_t count);
// One element as a double; integers of more than 53 bits are rounded.
double elementAsDouble(FileDtype dtype, const void *data, int64_t index);

} // namespace moert

#endif
