// sanitizer-canary KIND: does one thing that is wrong, so that scripts/sanitize
// knows that it would be told.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

// More than one piece: addresses of some may be left on the stack.
static void leak() {
  for (int i = 0; i < 100; ++i) {
    void *volatile lost = std::malloc(64);
    (void)lost;
  }
}

template <typename Function> static void twiceAtATime(Function function) {
  std::thread one(function), two(function);
  one.join();
  two.join();
}

int main(int argc, char **argv) {
  std::string_view kind = argc == 2 ? argv[1] : "";
  if (kind == "address") {
    std::vector<int> four(4);
    const volatile int *data = four.data();
    return data[4];
  }
  if (kind == "leak") {
    leak();
    return 0;
  }
  if (kind == "undefined") {
    volatile int bits = 40;
    return 1 << bits;
  }
  static volatile int counter = 0;
  static std::vector<char> from(64), to(64);
  if (kind == "race") {
    twiceAtATime([] { counter = counter + 1; });
    return 0;
  }
  if (kind == "race-of-copies") {
    twiceAtATime([] { std::memcpy(to.data(), from.data(), to.size()); });
    return to[0];
  }
  std::fprintf(stderr, "sanitizer-canary: `%s` is not known\n",
               std::string(kind).c_str());
  return 2;
}
