// The functions of test_program.c as a program for the device cuda, by hand.
// Kernels, as the manifest of cuda_session_test.cpp numbers them:
//   0  pack(w, b, sum)        sum = b + w[0] + w[1]
//   1  scale(x, map of total, y, ids, weights, tokens, status)
//   2  sum_f32
#include "moert/abi.h"

#define EXPORT __attribute__((visibility("default")))

enum { Columns = 4 };

EXPORT int32_t scale_bind(moert_context *ctx, int64_t max_tokens,
                          void *const *packed, void *arena) {
  moert_tensor_map map = {.dtype = MOERT_F32,
                          .rank = 1,
                          .base = arena,
                          .dims = {Columns},
                          .box = {Columns}};
  (void)max_tokens, (void)packed;
  return ctx->entries->tensor_map(ctx, 0, &map);
}

EXPORT int32_t scale_prepare(moert_context *ctx, int32_t thread,
                             int32_t threads, void *const *weights,
                             void *const *packed) {
  const void *args[] = {&weights[0], &weights[1], &packed[0]};
  if (thread != 0 || threads != 1)
    return 77;
  return ctx->entries->launch(ctx, 0, 1, args);
}

// A first element of 100 asks for what is wrong, of 3 tokens: a kernel that is
// none (101), a slot that is none (102); of 11 tokens: that rank 1 fails before
// the collective (103), leaves it out (104).
EXPORT int32_t scale(moert_context *ctx, int32_t thread, int32_t threads,
                     int64_t tokens, int64_t max_tokens, void *const *inputs,
                     void *const *outputs, void *const *packed, void *arena) {
  const moert_entry_table *entries = ctx->entries;
  int32_t slot = 0, status;
  float first = 0;
  const void *args[] = {&inputs[0],  &slot,   &outputs[0], &outputs[1],
                        &outputs[2], &tokens, &ctx->status};
  (void)thread, (void)threads, (void)max_tokens;
  if (ctx->total_tokens == 11 && ctx->coordinates[0] == 1) {
    if ((status = entries->read(ctx, &first, inputs[0], 4)))
      return status;
    if (first == 103)
      return entries->fail(ctx, MOERT_FAIL_EXPERT_ID, 9, 5);
    if (first == 104)
      return 0;
  }
  // So that what the collective left of the last run is not taken for this one.
  if ((status = entries->fill(ctx, arena, 0xff, 64)) ||
      (status =
           entries->all_reduce(ctx, 0, MOERT_F32, packed[0], arena, Columns)))
    return status;
  if (ctx->total_tokens == 3) { // small enough to look at
    if (tokens && (status = entries->read(ctx, &first, inputs[0], 4)))
      return status;
    if (first == 102)
      slot = 7;
    if (first == 101)
      return entries->launch(ctx, 9, 1, args);
  }
  return entries->launch(ctx, 1, tokens ? -1 : 0, args);
}
