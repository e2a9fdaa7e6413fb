// What compiled programs and the runtime share: for code generators, not for
// users (see moert.h). Layouts are fixed; a change is a new MOERT_ABI_VERSION,
// which the runtime checks against the manifest.
#ifndef MOERT_ABI_H
#define MOERT_ABI_H

#include <stddef.h>
#include <stdint.h>

#define MOERT_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moert_context moert_context;

// Element types, as numbers in calls and as names ("f32", ...) in the manifest.
typedef enum moert_dtype {
  MOERT_F32 = 0,
  MOERT_BF16 = 1,
  MOERT_I32 = 2,
  MOERT_I64 = 3,
  MOERT_F16 = 4,
} moert_dtype;

// Why a program ended itself (moert_entry_fail).
typedef enum moert_failure {
  MOERT_FAIL_EXPERT_ID = 1, // an expert id outside [0, experts): found, experts
  MOERT_FAIL_DUPLICATE_ID =
      2,               // a token names one expert twice: expert id, token
  MOERT_FAIL_ROWS = 3, // more rows than the planned buffer holds: rows, limit
} moert_failure;

#define MOERT_ENTRY(name, types, names)                                        \
  typedef int32_t(*moert_entry_##name##_fn) types;
#include "moert/entry_points.def"

typedef struct moert_entry_table {
#define MOERT_ENTRY(name, types, names) moert_entry_##name##_fn name;
#include "moert/entry_points.def"
} moert_entry_table;

// The head of a rank's context; the runtime's own state follows it.
struct moert_context {
  const moert_entry_table *entries;
  const int64_t *coordinates; // this rank's coordinate on each mesh axis
};

// The two functions of each compiled function `f`. Every thread of the rank's
// team (thread < threads) calls them with the same arguments. Pointers are
// 64-byte aligned where they name arrays of the runtime's own.
//
// `f_prepare`: weights[i] is the i-th weight's slice, dense, row-major, in the
// manifest's local shape and dtype; packed[i] is the i-th packed buffer, of the
// manifest's size. Called once, when weights are loaded.
typedef int32_t (*moert_prepare_fn)(moert_context *ctx, int32_t thread,
                                    int32_t threads, void *const *weights,
                                    void *const *packed);
// `f`: `tokens` is this rank's number of tokens in this call, `max_tokens` the
// global maximum that the session was opened with (the arena has the manifest's
// size for it); inputs and outputs are this rank's shares, dense, row-major.
typedef int32_t (*moert_run_fn)(moert_context *ctx, int32_t thread,
                                int32_t threads, int64_t tokens,
                                int64_t max_tokens, void *const *inputs,
                                void *const *outputs, void *const *packed,
                                void *arena);

#ifdef __cplusplus
}
static_assert(sizeof(moert_context) == 2 * sizeof(void *),
              "the context's head is read by compiled code");
static_assert(offsetof(moert_context, coordinates) == sizeof(void *),
              "the context's head is read by compiled code");
#endif

#endif
