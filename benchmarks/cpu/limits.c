// What the machine gives, with all threads at once: bytes read from memory, and
// products of registers in f32 and bf16. Without AVX512-BF16 nothing multiplies
// bf16, which is widened: its products are those of f32.
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifdef __AVX512F__
// `Chains` sums and two factors fill most registers.
enum { Lanes = 16, Chains = 24 };
typedef __m512 Vector;
static Vector splat(float value) { return _mm512_set1_ps(value); }
static Vector load(const char *data) { return _mm512_load_ps(data); }
static Vector add(Vector x, Vector y) { return _mm512_add_ps(x, y); }
static Vector multiplyAdd(Vector x, Vector y, Vector sum) {
  return _mm512_fmadd_ps(x, y, sum);
}
#else
enum { Lanes = 8, Chains = 12 };
typedef __m256 Vector;
static Vector splat(float value) { return _mm256_set1_ps(value); }
static Vector load(const char *data) {
  return _mm256_load_ps((const float *)data);
}
static Vector add(Vector x, Vector y) { return _mm256_add_ps(x, y); }
static Vector multiplyAdd(Vector x, Vector y, Vector sum) {
  return _mm256_fmadd_ps(x, y, sum);
}
#endif

enum { MaxThreads = 64, Line = 64, Lines = 8, VectorBytes = 4 * Lanes };

typedef struct {
  int kind, index;
  size_t amount; // bytes, or steps
  const char *data;
  atomic_int *missing; // threads that have not arrived
  double begin, end;
  float result;
} Work;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static float firstOf(Vector sums[], int count) {
  for (int i = 1; i < count; ++i)
    sums[0] = add(sums[0], sums[i]);
  return sums[0][0];
}

static float readMemory(const char *data, size_t bytes) {
  enum { Block = Lines * Line, Vectors = Block / VectorBytes };
  Vector sums[Lines];
  for (int i = 0; i < Lines; ++i)
    sums[i] = splat(0);
  for (size_t at = 0; at + Block <= bytes; at += Block) {
    for (int i = 0; i < Lines; ++i)
      _mm_prefetch(data + at + 4096 + Line * i, _MM_HINT_T0);
    for (int i = 0; i < Vectors; ++i)
      sums[i % Lines] = add(sums[i % Lines], load(data + at + VectorBytes * i));
  }
  return firstOf(sums, Lines);
}

// Four pieces by turns, left to the processor, whose own prefetcher follows
// each: on some the faster way.
static float readPieces(const char *data, size_t bytes) {
  enum { Pieces = 4, Piece = 128 << 10, Vectors = Line / VectorBytes };
  Vector sums[Lines];
  for (int i = 0; i < Lines; ++i)
    sums[i] = splat(0);
  for (size_t at = 0; at + Pieces * Piece <= bytes; at += Pieces * Piece)
    for (size_t line = 0; line < Piece; line += Line)
      for (int i = 0; i < Pieces * Vectors; ++i)
        sums[i % Lines] = add(sums[i % Lines],
                              load(data + at + (size_t)(i / Vectors) * Piece +
                                   line + (size_t)(i % Vectors) * VectorBytes));
  return firstOf(sums, Lines);
}

static float multiplyF32(size_t steps) {
  Vector sums[Chains], x = splat(1.0000001f), y = splat(0.999999f);
  for (int i = 0; i < Chains; ++i)
    sums[i] = splat((float)i);
  for (size_t step = 0; step < steps; ++step)
    for (int i = 0; i < Chains; ++i) {
      sums[i] = multiplyAdd(x, y, sums[i]);
      __asm__ volatile("" : "+v"(sums[i]));
    }
  return firstOf(sums, Chains);
}

#ifdef __AVX512BF16__
enum { Bf16Lanes = 2 * Lanes };
static float multiplyBf16(size_t steps) {
  Vector sums[Chains];
  __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80), y = x;
  for (int i = 0; i < Chains; ++i)
    sums[i] = splat((float)i);
  for (size_t step = 0; step < steps; ++step)
    for (int i = 0; i < Chains; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], x, y);
      __asm__ volatile("" : "+v"(sums[i]));
    }
  return firstOf(sums, Chains);
}
#else
enum { Bf16Lanes = Lanes };
static float multiplyBf16(size_t steps) { return multiplyF32(steps); }
#endif

// To the `index`-th of the processors that the process may use.
static void stayOn(int index) {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed) && index-- == 0)
      CPU_SET(cpu, &one);
  if (CPU_COUNT(&one) == 1)
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static void *run(void *argument) {
  Work *work = argument;
  stayOn(work->index);
  // They look for one another: to be woken takes a part of a short reading.
  atomic_fetch_sub(work->missing, 1);
  while (atomic_load(work->missing) > 0)
    _mm_pause();
  work->begin = now();
  switch (work->kind) {
  case 0:
    work->result = readMemory(work->data, work->amount);
    break;
  case 1:
    work->result = multiplyF32(work->amount);
    break;
  case 2:
    work->result = multiplyBf16(work->amount);
    break;
  default:
    work->result = readPieces(work->data, work->amount);
  }
  work->end = now();
  return NULL;
}

// `bytes` of a buffer much larger than all caches, of which each call takes the
// next piece, so that what is read has not been read lately. Null where there
// is no memory.
static const char *nextPiece(size_t bytes) {
  enum { Size = 512 << 20, Page = 2 << 20 };
  static char *data;
  static size_t at;
  if (!data) {
    void *memory = NULL;
    if (posix_memalign(&memory, Page, Size) != 0)
      return NULL;
    madvise(memory, Size, MADV_HUGEPAGE);
    memset(memory, 0, Size);
    data = memory;
  }
  if (bytes > Size)
    return NULL;
  if (at + bytes > Size)
    at = 0;
  const char *piece = data + at;
  at += bytes;
  return piece;
}

// kind 0: bytes a second, of `amount` bytes, asked for ahead; 1 and 2:
// operations a second in f32 and bf16, of `amount` steps a thread; 3: as 0,
// left to the processor. 0 where it cannot be measured.
double limit(int kind, int threads, size_t amount) {
  const int reads = kind == 0 || kind == 3;
  if (threads < 1 || threads > MaxThreads)
    return 0;
  atomic_int missing = threads;
  Work work[MaxThreads];
  pthread_t handles[MaxThreads];
  size_t share = amount / (size_t)threads / (512 << 10) * (512 << 10);
  const char *data = reads ? nextPiece(share * (size_t)threads) : NULL;
  if (reads && !data)
    return 0;
  for (int i = 0; i < threads; ++i) {
    work[i] = (Work){.kind = kind,
                     .index = i,
                     .amount = reads ? share : amount,
                     .data = reads ? data + share * (size_t)i : NULL,
                     .missing = &missing};
    pthread_create(&handles[i], NULL, run, &work[i]);
  }
  double begin = 0, end = 0;
  for (int i = 0; i < threads; ++i) {
    pthread_join(handles[i], NULL);
    begin = i == 0 || work[i].begin < begin ? work[i].begin : begin;
    end = i == 0 || work[i].end > end ? work[i].end : end;
  }
  int lanes = kind == 1 ? Lanes : Bf16Lanes;
  double done = reads ? (double)(share * (size_t)threads)
                      : (double)amount * Chains * 2 * lanes * threads;
  return done / (end - begin);
}
