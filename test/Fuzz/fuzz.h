// What fuzzers share. Each reads bytes as a reader of ours would get them; it
// must answer with an error or a result, and never crash, hang or leak.
#ifndef MOE_TEST_FUZZ_FUZZ_H
#define MOE_TEST_FUZZ_FUZZ_H

#include "../Runtime/temporary_folder.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace fuzz {

inline std::string_view text(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

// The parts between newlines.
inline std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> result;
  while (true) {
    size_t end = text.find('\n');
    result.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos)
      return result;
    text.remove_prefix(end + 1);
  }
}

// Decisions, taken from the fuzzer's bytes; 0 when they are used up.
class Choices {
public:
  Choices(const uint8_t *data, size_t size) : data(data), left(size) {}
  bool done() const { return left == 0; }
  uint64_t below(uint64_t bound) {
    if (bound <= 1)
      return 0;
    uint64_t value = byte();
    if (bound > 256)
      value = value << 8 | byte();
    return value % bound;
  }
  // Up to so many of the bytes as they are.
  std::string_view take(size_t most) {
    size_t size = most < left ? most : left;
    std::string_view bytes(reinterpret_cast<const char *>(data), size);
    data += size;
    left -= size;
    return bytes;
  }

private:
  uint8_t byte() { return left ? --left, *data++ : 0; }
  const uint8_t *data;
  size_t left;
};

// In memory, for readers that open files.
class Folder : public moert::test::TemporaryFolder {
public:
  Folder() : TemporaryFolder("/dev/shm") {}
};

// Fails the fuzzer, with what was expected.
inline void require(bool holds, const char *what) {
  if (holds)
    return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

} // namespace fuzz

#endif
