#include "mutators.h"

#include <algorithm>
#include <cstring>

using namespace fuzz;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

std::string fuzz::numberAtLimit(Random &random) {
  static const char *const numbers[] = {"0",
                                        "-0",
                                        "1",
                                        "-1",
                                        "2",
                                        "3",
                                        "63",
                                        "64",
                                        "65",
                                        "127",
                                        "128",
                                        "255",
                                        "256",
                                        "4095",
                                        "4096",
                                        "65535",
                                        "65536",
                                        "1048576",
                                        "2147483647",
                                        "2147483648",
                                        "-2147483648",
                                        "-2147483649",
                                        "4294967295",
                                        "4294967296",
                                        "1099511627776",
                                        "9007199254740993",
                                        "4611686018427387904",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "-9223372036854775808",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "0.5",
                                        "-0.25",
                                        "1e-400",
                                        "5e-324",
                                        "1e18",
                                        "1e30",
                                        "1.7976931348623157e308",
                                        "1e309",
                                        "-1e309",
                                        "1e99999"};
  return numbers[random.below(std::size(numbers))];
}

std::string fuzz::mutateBytes(std::string_view bytes, size_t most) {
  std::string result(bytes.substr(0, most));
  size_t used = result.size();
  result.resize(most);
  result.resize(
      LLVMFuzzerMutate(reinterpret_cast<uint8_t *>(result.data()), used, most));
  return result;
}

size_t fuzz::mutateInput(uint8_t *data, size_t size, size_t most, unsigned seed,
                         Change change) {
  Random random(seed);
  if (size == 0 || random.oneIn(4))
    return LLVMFuzzerMutate(data, size, most);
  std::string result(reinterpret_cast<const char *>(data), size);
  for (size_t i = 0, times = 1 + random.below(3); i < times; ++i)
    if (std::string changed = change(result, random); changed.size() <= most)
      result = std::move(changed);
  if (result == std::string_view(reinterpret_cast<const char *>(data), size))
    return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, result.data(), result.size());
  return result.size();
}

std::string fuzz::mutateSafetensors(std::string_view bytes, Random &random) {
  uint64_t size = 0;
  if (bytes.size() < sizeof(size))
    return std::string(bytes);
  std::memcpy(&size, bytes.data(), sizeof(size));
  if (size > bytes.size() - sizeof(size))
    return std::string(bytes);
  std::string data(bytes.substr(sizeof(size) + size));
  std::string header(bytes.substr(sizeof(size), size));
  if (random.oneIn(6) && !data.empty())
    data.resize(random.below(2 * data.size()));
  else
    header = mutateJson(header, random);
  size = header.size();
  std::string result(sizeof(size), 0);
  std::memcpy(result.data(), &size, sizeof(size));
  return result + header + data;
}
