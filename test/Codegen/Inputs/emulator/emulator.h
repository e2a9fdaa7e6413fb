// Runs a generated kernel on the host: every thread of the grid is a fiber of
// one thread, warps and CTAs are resumed in random order.  Asynchronous copies
// are made as late as allowed, when they are waited for.
#ifndef EMULATOR_H
#define EMULATOR_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <random>
#include <string>
#include <ucontext.h>
#include <utility>
#include <vector>

extern "C" {
alignas(1024) char dynamic_shared[227 * 1024];
}

namespace emulator {

struct Copy {
  char *to;
  const char *from;
  int size, width; ///< bytes that are read, and those that are written
};

enum class Wait { None, Warp, Barrier };

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  int thread = 0;
  bool done = false;
  Wait wait = Wait::None;
  int64_t generation = 0;
  int barrier = 0;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

/// Lanes meet here for shuffles, votes, products and warp barriers.
struct Warp {
  int arrived = 0, operation = 0;
  int64_t generation = 0;
  uint64_t in[32][10], out[32][4];
};

struct Cta {
  int block = 0;
  bool done = false;
  std::vector<char> shared;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  int arrived[16] = {};
  int64_t generation[16] = {};
};

inline std::mt19937 random(1);
inline std::vector<Cta> ctas;
inline Cta *cta;
inline Fiber *fiber;
inline ucontext_t scheduler;
inline int grid, threads;
inline bool leaveCta;
inline std::function<void()> body;

[[noreturn]] inline void fail(const char *what) {
  printf("emulator: %s\n", what);
  exit(1);
}

inline void yield() { swapcontext(&fiber->context, &scheduler); }

inline void startFiber() {
  body();
  fiber->done = true;
  yield();
}

using Results = uint64_t[4];

/// All 32 lanes bring `in`; the last one fills `out` of all.
template <typename Finish>
uint64_t *meet(int operation, std::initializer_list<uint64_t> in,
               Finish finish) {
  Warp &warp = cta->warps[fiber->thread / 32];
  int lane = fiber->thread % 32;
  if (warp.arrived == 0)
    warp.operation = operation;
  if (warp.operation != operation)
    fail("lanes of a warp meet in different operations");
  std::copy(in.begin(), in.end(), warp.in[lane]);
  int64_t generation = warp.generation;
  if (++warp.arrived == 32) {
    finish(warp);
    warp.arrived = 0;
    ++warp.generation;
  } else {
    fiber->wait = Wait::Warp;
    fiber->generation = generation;
    while (warp.generation == generation)
      yield();
    fiber->wait = Wait::None;
  }
  return warp.out[lane];
}

inline void barrier(int id, int count) {
  int64_t generation = cta->generation[id];
  if (++cta->arrived[id] == count) {
    cta->arrived[id] = 0;
    ++cta->generation[id];
    return;
  }
  fiber->wait = Wait::Barrier;
  fiber->barrier = id;
  fiber->generation = generation;
  while (cta->generation[id] == generation)
    yield();
  fiber->wait = Wait::None;
}

inline bool isBlocked(const Fiber &other) {
  if (other.wait == Wait::Warp)
    return cta->warps[other.thread / 32].generation == other.generation;
  return other.wait == Wait::Barrier &&
         cta->generation[other.barrier] == other.generation;
}

/// Resumes the fibers of one warp, from a random lane on; whether any ran.
inline bool resumeWarp(int warp) {
  bool any = false;
  int first = random() % 32;
  for (int i = 0; i < 32; ++i) {
    Fiber &next = cta->fibers[warp * 32 + (first + i) % 32];
    if (next.done || isBlocked(next))
      continue;
    any = true;
    fiber = &next;
    swapcontext(&scheduler, &next.context);
  }
  return any;
}

/// Runs one CTA until nothing moves, it polls, or for a while.
inline bool resumeCta() {
  bool moved = false, any = true;
  leaveCta = false;
  for (int round = 0; any && !leaveCta && round < 400; ++round) {
    any = false;
    int warps = threads / 32, first = random() % warps;
    for (int i = 0; i < warps && !leaveCta; ++i) {
      if (random() % 4 == 0)
        any = true; // not its turn
      else
        any |= resumeWarp((first + i) % warps);
    }
    moved |= any;
  }
  return moved;
}

inline void prepare(Cta &next, int block) {
  next.block = block;
  next.shared.resize(sizeof dynamic_shared);
  for (char &byte : next.shared)
    byte = static_cast<char>(0xA5 + random() % 3);
  next.warps.resize(threads / 32);
  next.fibers.resize(threads);
  for (int i = 0; i < threads; ++i) {
    Fiber &one = next.fibers[i];
    one.thread = i;
    one.stack.resize(48 << 10);
    getcontext(&one.context);
    one.context.uc_stack.ss_sp = one.stack.data();
    one.context.uc_stack.ss_size = one.stack.size();
    one.context.uc_link = &scheduler;
    makecontext(&one.context, startFiber, 0);
  }
}

inline void launch(int ctaCount, int threadCount,
                   std::function<void()> kernel) {
  grid = ctaCount;
  threads = threadCount;
  body = std::move(kernel);
  ctas.clear();
  ctas.resize(grid);
  for (int i = 0; i < grid; ++i)
    prepare(ctas[i], i);
  int64_t idle = 0;
  for (int left = grid; left;) {
    cta = &ctas[random() % grid];
    if (cta->done)
      continue;
    memcpy(dynamic_shared, cta->shared.data(), sizeof dynamic_shared);
    resumeCta();
    memcpy(cta->shared.data(), dynamic_shared, sizeof dynamic_shared);
    bool done = true;
    for (const Fiber &one : cta->fibers)
      done &= one.done;
    if (done) {
      cta->done = true;
      --left;
      idle = 0;
    } else if (++idle > 1000000) {
      fail("no CTA ends any more");
    }
  }
}

inline float fromBf16(uint16_t value) {
  uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  memcpy(&result, &bits, 4);
  return result;
}
inline uint32_t bitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}
inline float floatOf(uint64_t value) {
  uint32_t bits = static_cast<uint32_t>(value);
  float result;
  memcpy(&result, &bits, 4);
  return result;
}
/// To nearest, ties to even; finite values.
inline uint16_t toBf16(float value) {
  uint32_t bits = bitsOf(value);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float fromE4M3(uint8_t code) {
  int exponent = code >> 3 & 15, mantissa = code & 7;
  float sign = code & 128 ? -1 : 1;
  if (exponent == 15 && mantissa == 7)
    return NAN;
  return sign * (exponent ? ldexpf(8 + mantissa, exponent - 10)
                          : ldexpf(mantissa, -9));
}

/// To nearest, ties to even, at most 448.
inline uint8_t toE4M3(float value) {
  if (std::isnan(value))
    return 0x7F;
  uint8_t sign = std::signbit(value) ? 128 : 0, best = 0;
  float most = std::fabs(value);
  for (int code = 1; code < 0x7F; ++code) {
    float error = std::fabs(fromE4M3(code) - most);
    float least = std::fabs(fromE4M3(best) - most);
    if (error < least || (error == least && code % 2 == 0))
      best = code;
  }
  return sign | best;
}

inline float fromF16(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, 2);
  return value;
}

/// D = A B + C of m16n8k16, fragments as in the instruction set's manual.
template <float (*element)(uint16_t)> void multiply(Warp &warp) {
  float a[16][16], b[16][8];
  auto half = [](uint64_t word, int j) {
    return element(static_cast<uint16_t>(word >> (16 * j)));
  };
  for (int lane = 0; lane < 32; ++lane) {
    int row = lane / 4, first = lane % 4 * 2;
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j)
        a[row + 8 * (i & 1)][first + 8 * (i >> 1) + j] =
            half(warp.in[lane][i], j);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        b[first + 8 * i + j][row] = half(warp.in[lane][4 + i], j);
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      int row = lane / 4 + 8 * (i >> 1), column = lane % 4 * 2 + (i & 1);
      float sum = floatOf(warp.in[lane][6 + i]);
      for (int k = 0; k < 16; ++k)
        sum += a[row][k] * b[k][column];
      warp.out[lane][i] = bitsOf(sum);
    }
}

enum class Shuffle { Xor, Up, Index };

inline uint32_t shuffle(Shuffle kind, uint32_t value, int by) {
  return static_cast<uint32_t>(
      meet(10 + static_cast<int>(kind), {value, static_cast<uint32_t>(by)},
           [&](Warp &warp) {
             for (int lane = 0; lane < 32; ++lane) {
               int distance = static_cast<int>(warp.in[lane][1]);
               int from = kind == Shuffle::Xor ? lane ^ distance
                          : kind == Shuffle::Up
                              ? (lane < distance ? lane : lane - distance)
                              : (distance & 31);
               warp.out[lane][0] = warp.in[from][0];
             }
           })[0]);
}

} // namespace emulator

//===----------------------------------------------------------------------===//
// What calls in the kernel's IR become
//===----------------------------------------------------------------------===//

#define SHUFFLE(NAME, KIND)                                                    \
  int emulate_shfl_##NAME##_i32(int, int value, int by, int) {                 \
    return emulator::shuffle(emulator::Shuffle::KIND, value, by);              \
  }                                                                            \
  float emulate_shfl_##NAME##_f32(int, float value, int by, int) {             \
    return emulator::floatOf(emulator::shuffle(emulator::Shuffle::KIND,        \
                                               emulator::bitsOf(value), by));  \
  }

extern "C" {
int emulate_tid() { return emulator::fiber->thread; }
int emulate_ctaid() { return emulator::cta->block; }
int emulate_nctaid() { return emulator::grid; }
SHUFFLE(bfly, Xor)
SHUFFLE(up, Up)
SHUFFLE(idx, Index)
int emulate_ballot(int, bool vote) {
  return emulator::meet(20, {vote}, [](emulator::Warp &warp) {
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane)
      votes |= static_cast<uint32_t>(warp.in[lane][0] & 1) << lane;
    for (auto &out : warp.out)
      out[0] = votes;
  })[0];
}
/// The lanes that bring the same value.
int emulate_match_any(int, int value) {
  return emulator::meet(
      21, {static_cast<uint32_t>(value)}, [](emulator::Warp &warp) {
        for (int lane = 0; lane < 32; ++lane) {
          uint32_t same = 0;
          for (int other = 0; other < 32; ++other)
            same |= static_cast<uint32_t>(warp.in[other][0] == warp.in[lane][0])
                    << other;
          warp.out[lane][0] = same;
        }
      })[0];
}
int emulate_redux_or(int value, int) {
  return emulator::meet(22, {static_cast<uint32_t>(value)},
                        [](emulator::Warp &warp) {
                          uint32_t all = 0;
                          for (auto &in : warp.in)
                            all |= in[0];
                          for (auto &out : warp.out)
                            out[0] = all;
                        })[0];
}
void emulate_warpsync(int) {
  emulator::meet(30, {}, [](emulator::Warp &) {});
}
void emulate_barrier_all(int id) { emulator::barrier(id, emulator::threads); }
void emulate_barrier_count(int id, int count) { emulator::barrier(id, count); }
void emulate_cp_async(char *to, const char *from, int size) {
  emulator::fiber->open.push_back({to, from, size, 16});
}
void emulate_cp_async_word(char *to, const char *from) {
  emulator::fiber->open.push_back({to, from, 4, 4});
}
void emulate_cp_async_line(char *to, const char *from) {
  emulator::fiber->open.push_back({to, from, 16, 16});
}
void emulate_commit() {
  emulator::fiber->groups.push_back(std::move(emulator::fiber->open));
  emulator::fiber->open.clear();
}
void emulate_wait_group(int pending) {
  auto &groups = emulator::fiber->groups;
  while (static_cast<int>(groups.size()) > pending) {
    for (const emulator::Copy &copy : groups.front()) {
      memset(copy.to, 0, copy.width);
      memcpy(copy.to, copy.from, copy.size);
    }
    groups.pop_front();
  }
}
void emulate_nanosleep(int) { emulator::yield(); }
void emulate_griddepcontrol() {}
void emulate_fence() {}
struct Four {
  float values[4];
};
static void multiplyInto(Four *out, int a0, int a1, int a2, int a3, int b0,
                         int b1, float c0, float c1, float c2, float c3,
                         void (*multiply)(emulator::Warp &)) {
  auto word = [](int value) { return static_cast<uint32_t>(value); };
  uint64_t *sums =
      emulator::meet(40,
                     {word(a0), word(a1), word(a2), word(a3), word(b0),
                      word(b1), emulator::bitsOf(c0), emulator::bitsOf(c1),
                      emulator::bitsOf(c2), emulator::bitsOf(c3)},
                     multiply);
  for (int i = 0; i < 4; ++i)
    out->values[i] = emulator::floatOf(sums[i]);
}
void emulate_mma_into(Four *out, int a0, int a1, int a2, int a3, int b0, int b1,
                      float c0, float c1, float c2, float c3) {
  multiplyInto(out, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3,
               emulator::multiply<emulator::fromBf16>);
}
void emulate_mma16_into(Four *out, int a0, int a1, int a2, int a3, int b0,
                        int b1, float c0, float c1, float c2, float c3) {
  multiplyInto(out, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3,
               emulator::multiply<emulator::fromF16>);
}
/// The first code stands in the lower byte.
uint32_t emulate_from_e4m3(int16_t codes) {
  uint32_t word = 0;
  for (int i = 0; i < 2; ++i) {
    _Float16 value = emulator::fromE4M3(static_cast<uint8_t>(codes >> 8 * i));
    uint16_t bits;
    memcpy(&bits, &value, 2);
    word |= static_cast<uint32_t>(bits) << 16 * i;
  }
  return word;
}
/// The first value stands in the upper byte.
int16_t emulate_to_e4m3_pair(float high, float low) {
  return static_cast<int16_t>(emulator::toE4M3(high) << 8 |
                              emulator::toE4M3(low));
}
float emulate_ex2(float x) { return exp2f(x); }
float emulate_rcp(float x) { return 1.0f / x; }
uint64_t emulate_add64(uint64_t *target, uint64_t value) {
  return std::exchange(*target, *target + value);
}
uint32_t emulate_count32(uint32_t *target) {
  return std::exchange(*target, *target + 1);
}
void emulate_reduce64(uint64_t *target, uint64_t value) { *target += value; }
/// A poll: others must come to move.
uint64_t emulate_load64(uint64_t *source) {
  emulator::leaveCta = true;
  emulator::yield();
  return *source;
}
__bf16 __truncsfbf2(float value) {
  uint16_t bits = emulator::toBf16(value);
  __bf16 result;
  memcpy(&result, &bits, 2);
  return result;
}
}

//===----------------------------------------------------------------------===//
// For the drivers
//===----------------------------------------------------------------------===//

/// Settings of the command line; arrays and integers by the names of the
/// parameters, an integer that is not there being `tokens`.
inline std::map<std::string, std::string> settings;
inline std::map<std::string, void *> arrays;
inline std::map<std::string, int> integers;
inline int tokens;
/// Made by emulate.py: calls the kernel with them.
extern "C" void callKernel();
extern "C" void *emulatedArray(const char *name) { return arrays.at(name); }
extern "C" int emulatedInteger(const char *name) {
  auto it = integers.find(name);
  return it == integers.end() ? tokens : it->second;
}

inline double setting(const char *name, double otherwise = 0) {
  auto it = settings.find(name);
  return it == settings.end() ? otherwise : atof(it->second.c_str());
}
inline bool isSet(const char *name, const char *value) {
  auto it = settings.find(name);
  return it != settings.end() && it->second == value;
}
inline void readSettings(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    std::string text = argv[i];
    size_t at = text.find('=');
    settings[text.substr(0, at)] = text.substr(at + 1);
  }
  tokens = static_cast<int>(setting("tokens"));
  emulator::random.seed(static_cast<unsigned>(setting("seed", 1)));
}

#endif
