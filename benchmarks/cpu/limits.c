// What the machine gives, with all threads at once: bytes read from memory, and
// products of registers in f32 and (AVX512-BF16) bf16.
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { Chains = 24, MaxThreads = 64 };

typedef struct {
  int kind, index;
  size_t amount; // bytes, or steps
  const char *data;
  pthread_barrier_t *barrier;
  double begin, end;
  float result;
} Work;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static float readMemory(const char *data, size_t bytes) {
  __m512 sums[8];
  for (int i = 0; i < 8; ++i)
    sums[i] = _mm512_setzero_ps();
  for (size_t at = 0; at + 512 <= bytes; at += 512)
    for (int i = 0; i < 8; ++i) {
      _mm_prefetch(data + at + 4096 + 64 * i, _MM_HINT_T0);
      sums[i] = _mm512_add_ps(
          sums[i], _mm512_load_ps((const float *)(data + at + 64 * i)));
    }
  for (int i = 1; i < 8; ++i)
    sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_reduce_add_ps(sums[0]);
}

static float multiplyF32(size_t steps) {
  __m512 sums[Chains], x = _mm512_set1_ps(1.0000001f),
                       y = _mm512_set1_ps(0.999999f);
  for (int i = 0; i < Chains; ++i)
    sums[i] = _mm512_set1_ps((float)i);
  for (size_t step = 0; step < steps; ++step)
    for (int i = 0; i < Chains; ++i) {
      sums[i] = _mm512_fmadd_ps(x, y, sums[i]);
      __asm__ volatile("" : "+v"(sums[i]));
    }
  for (int i = 1; i < Chains; ++i)
    sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_reduce_add_ps(sums[0]);
}

__attribute__((target("avx512bf16"))) static float multiplyBf16(size_t steps) {
  __m512 sums[Chains];
  __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80), y = x;
  for (int i = 0; i < Chains; ++i)
    sums[i] = _mm512_set1_ps((float)i);
  for (size_t step = 0; step < steps; ++step)
    for (int i = 0; i < Chains; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], x, y);
      __asm__ volatile("" : "+v"(sums[i]));
    }
  for (int i = 1; i < Chains; ++i)
    sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_reduce_add_ps(sums[0]);
}

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
  pthread_barrier_wait(work->barrier);
  work->begin = now();
  work->result = work->kind == 0   ? readMemory(work->data, work->amount)
                 : work->kind == 1 ? multiplyF32(work->amount)
                                   : multiplyBf16(work->amount);
  work->end = now();
  return NULL;
}

// kind 0: bytes a second, of `amount` bytes; 1 and 2: operations a second in
// f32 and bf16, of `amount` steps a thread. 0 where it cannot be measured.
double limit(int kind, int threads, size_t amount) {
  static char *data;
  static size_t size;
  const size_t page = (size_t)2 << 20;
  if (threads < 1 || threads > MaxThreads)
    return 0;
  if (kind == 0 && size < amount) {
    void *memory = NULL;
    size = (amount + page - 1) / page * page;
    if (posix_memalign(&memory, page, size + page) != 0)
      return 0;
    madvise(memory, size + page, MADV_HUGEPAGE);
    memset(memory, 0, size + page);
    free(data);
    data = memory;
  }
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  Work work[MaxThreads];
  pthread_t handles[MaxThreads];
  size_t share = amount / (size_t)threads / 512 * 512;
  for (int i = 0; i < threads; ++i) {
    work[i] = (Work){.kind = kind,
                     .index = i,
                     .amount = kind == 0 ? share : amount,
                     .data = data + (kind == 0 ? share * (size_t)i : 0),
                     .barrier = &barrier};
    pthread_create(&handles[i], NULL, run, &work[i]);
  }
  double begin = 0, end = 0;
  for (int i = 0; i < threads; ++i) {
    pthread_join(handles[i], NULL);
    begin = i == 0 || work[i].begin < begin ? work[i].begin : begin;
    end = i == 0 || work[i].end > end ? work[i].end : end;
  }
  pthread_barrier_destroy(&barrier);
  double done = kind == 0
                    ? (double)(share * (size_t)threads)
                    : (double)amount * Chains * (kind == 1 ? 32 : 64) * threads;
  return done / (end - begin);
}
