// Changes to inputs that keep their form, so that more of them come past the
// parsers.
#ifndef MOE_TEST_FUZZ_MUTATORS_MUTATORS_H
#define MOE_TEST_FUZZ_MUTATORS_MUTATORS_H

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace fuzz {

class Random {
public:
  explicit Random(unsigned seed) : engine(seed) {}
  // 0 to bound - 1; 0 for nothing to choose from.
  size_t below(size_t bound) { return bound < 2 ? 0 : engine() % bound; }
  bool oneIn(size_t times) { return below(times) == 0; }

private:
  std::minstd_rand engine;
};

// A number where sizes, signs or types end, as text.
std::string numberAtLimit(Random &random);
// The bytes changed as libFuzzer does by itself.
std::string mutateBytes(std::string_view bytes, size_t most);

// Members and elements that come twice, elsewhere or not at all, numbers at
// limits, nesting, other types. What is no JSON comes back as it is.
std::string mutateJson(std::string_view text, Random &random);
// Words and lines that come twice, elsewhere or not at all, numbers at limits,
// nesting.
std::string mutateText(std::string_view text, Random &random);
// A file's header as JSON, with its size put right.
std::string mutateSafetensors(std::string_view bytes, Random &random);

// What LLVMFuzzerCustomMutator does: a few changes, one in four times bytes.
using Change = std::string (*)(std::string_view, Random &);
size_t mutateInput(uint8_t *data, size_t size, size_t most, unsigned seed,
                   Change change);

} // namespace fuzz

// In the one source of a fuzzer whose inputs have that form.
#define MOE_FUZZ_MUTATE_BY(change)                                             \
  extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,        \
                                            size_t most, unsigned seed) {      \
    return fuzz::mutateInput(data, size, most, seed, change);                  \
  }                                                                            \
  static_assert(true)

#endif
