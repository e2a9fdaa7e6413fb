#include "compare.h"

#include "checked.h"

#include <cmath>

using namespace moert;

// "[3, 17]" for element `flat` of a tensor of this shape.
static std::string indexText(const std::vector<int64_t> &shape, int64_t flat) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = flat % shape[d];
    flat /= shape[d];
  }
  return bracketed(index);
}

static std::string exact(double value) {
  std::ostringstream out;
  out.precision(9);
  out << value;
  return out.str();
}

Comparison moert::compareTensors(const OwnedTensor &got,
                                 const FileTensor &expected, double rtol,
                                 bool equalNan) {
  const void *gotData = got.buffer.data();
  const void *expectedData = expected.view.bytes.data();
  FileDtype gotType = fileDtype(got.dtype);
  int64_t count = elementCount(got.shape).value_or(0);
  double largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    double value = elementAsDouble(expected.view.dtype, expectedData, i);
    if (std::isfinite(value))
      largest = std::max(largest, std::abs(value));
  }

  double limit = rtol * largest, worst = 0;
  int64_t first = -1, differing = 0;
  for (int64_t i = 0; i < count; ++i) {
    double a = elementAsDouble(gotType, gotData, i);
    double b = elementAsDouble(expected.view.dtype, expectedData, i);
    bool good;
    if (std::isnan(a) || std::isnan(b)) {
      good = equalNan && std::isnan(a) && std::isnan(b);
    } else if (std::isinf(a) || std::isinf(b)) {
      good = a == b;
    } else {
      good = std::abs(a - b) <= limit;
      worst = std::max(worst, std::abs(a - b));
    }
    if (good)
      continue;
    ++differing;
    if (first < 0)
      first = i;
  }
  std::string scale =
      concat(rtol, " x ", exact(largest), ", the largest expected value");
  if (first < 0)
    return {true, concat("`", got.name, "` is as expected: largest error ",
                         worst, " of at most ", scale)};
  double a = elementAsDouble(gotType, gotData, first);
  double b = elementAsDouble(expected.view.dtype, expectedData, first);
  return {false,
          concat("`", got.name, "` differs at ", indexText(got.shape, first),
                 ": got ", exact(a), ", expected ", exact(b), ", error ",
                 std::abs(a - b), " is above ", limit, " (", scale, "); ",
                 differing, " of ", count, " values differ")};
}
