// A program as the compiler would write one, by hand: three functions over a
// mesh of any shape, group 0 being all ranks. Compiled to a shared object of
// its own.
#include "moert/abi.h"

#define EXPORT __attribute__((visibility("default")))

enum { Columns = 4, ExpertCount = 5 };

// The rows of one thread's part of a team.
static void part(int64_t rows, int32_t thread, int32_t threads, int64_t *begin,
                 int64_t *end) {
  *begin = rows * thread / threads;
  *end = rows * (thread + 1) / threads;
}

// y[t] = x[t] * (the sum of all experts' rows of `w`), and the routing: token t
// goes to the experts floor(|x[t][0]|) and the one after it.
// weights: w, this rank's slots [2, 4], and b [4], zeros but on the first rank;
// packed: their sum [4].
EXPORT int32_t scale_prepare(moert_context *ctx, int32_t thread,
                             int32_t threads, void *const *weights,
                             void *const *packed) {
  const float *w = weights[0], *b = weights[1];
  float *sum = packed[0];
  (void)threads;
  if (thread == 0)
    // Two slots a rank: the test's manifests say so.
    for (int c = 0; c < Columns; ++c)
      sum[c] = b[c] + w[c] + w[Columns + c];
  return ctx->entries->team_barrier(ctx);
}

EXPORT int32_t scale(moert_context *ctx, int32_t thread, int32_t threads,
                     int64_t tokens, int64_t max_tokens, void *const *inputs,
                     void *const *outputs, void *const *packed, void *arena) {
  const float *x = inputs[0];
  float *y = outputs[0], *weights = outputs[2], *total = arena;
  int32_t *ids = outputs[1];
  (void)max_tokens;
  if (thread == 0) {
    int32_t status =
        ctx->entries->all_reduce(ctx, 0, MOERT_F32, packed[0], total, Columns);
    if (status)
      return status;
  }
  int32_t status = ctx->entries->team_barrier(ctx);
  if (status)
    return status;
  if ((status = ctx->entries->mark(ctx, 0)))
    return status;
  int64_t begin, end;
  part(tokens, thread, threads, &begin, &end);
  for (int64_t t = begin; t < end; ++t) {
    for (int c = 0; c < Columns; ++c)
      y[t * Columns + c] = x[t * Columns + c] * total[c];
    float first = x[t * Columns], size = first < 0 ? -first : first;
    // What no int32_t holds, NaN included, is no expert either.
    int32_t id = size < 1e9f ? (int32_t)size : INT32_MAX;
    if (id >= ExpertCount)
      return ctx->entries->fail(ctx, MOERT_FAIL_EXPERT_ID, id, ExpertCount);
    ids[2 * t] = id;
    ids[2 * t + 1] = (id + 1) % ExpertCount;
    weights[2 * t] = 0.75f;
    weights[2 * t + 1] = 0.25f;
  }
  return 0;
}

// Misbehaves as the first element of `mode` says; every rank sees all of it.
//   0  y = x       1  counts that disagree    2  rank 0 leaves without its
//   collective 3  rank 1 ends with a bare status         4  ranks hold
//   different outputs 5  a thread leaves before a barrier
EXPORT int32_t misbehave_prepare(moert_context *ctx, int32_t thread,
                                 int32_t threads, void *const *weights,
                                 void *const *packed) {
  (void)ctx, (void)thread, (void)threads, (void)weights, (void)packed;
  return 0;
}

EXPORT int32_t misbehave(moert_context *ctx, int32_t thread, int32_t threads,
                         int64_t tokens, int64_t max_tokens,
                         void *const *inputs, void *const *outputs,
                         void *const *packed, void *arena) {
  const int32_t *mode = inputs[0];
  int32_t *y = outputs[0];
  int64_t me = ctx->coordinates[0];
  (void)max_tokens, (void)packed, (void)threads;
  if (thread == 0)
    for (int64_t t = 0; t < tokens; ++t)
      y[t] = mode[t] == 4 ? (int32_t)me : mode[t];
  if (tokens == 0)
    return 0;
  if (mode[0] == 5 && thread == 1)
    return 0;
  if (thread == 0 && mode[0] == 1) {
    int32_t counts[64];
    for (int i = 0; i < 64; ++i)
      counts[i] = me == 1 && i == 0 ? 2 : 1;
    return ctx->entries->all_gather_v(ctx, 0, MOERT_I32, 1, mode, arena, counts,
                                      1);
  }
  if (thread == 0 && mode[0] == 2 && me != 0)
    return ctx->entries->all_reduce(ctx, 0, MOERT_I32, mode, arena, 1);
  if (mode[0] == 3 && me == 1)
    return 77;
  return ctx->entries->team_barrier(ctx);
}
