// What compiled programs and the runtime share: for code generators, not for
// users (see moert.h). Layouts are fixed; a change is a new MOERT_ABI_VERSION,
// which the runtime checks against the manifest.
#ifndef MOERT_ABI_H
#define MOERT_ABI_H

#include <stddef.h>
#include <stdint.h>

#define MOERT_ABI_VERSION 2

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
  // Of weights alone, as checkpoints store them.
  MOERT_F8E4M3 = 5,
  MOERT_I8 = 6, // bytes: exponents of scales, pairs of four-bit elements
} moert_dtype;

// Why a program ended itself (moert_entry_fail).
typedef enum moert_failure {
  MOERT_FAIL_EXPERT_ID = 1, // an expert id outside [0, experts): found, experts
  MOERT_FAIL_DUPLICATE_ID =
      2,               // a token names one expert twice: expert id, token
  MOERT_FAIL_ROWS = 3, // more rows than the planned buffer holds: rows, limit
} moert_failure;

// A tensor map, as cuTensorMapEncodeTiled takes it: dimension 0 is innermost,
// elements are bf16 or f32, nothing is interleaved, what lies outside reads as
// zeros and is not written. `base` may stand before the memory that is reached.
typedef struct moert_tensor_map {
  int32_t dtype;      // moert_dtype
  int32_t rank;       // 1 to 5
  void *base;         // device address, a multiple of 16
  int64_t dims[5];    // elements
  int64_t strides[4]; // bytes from one element to the next of dimension i + 1
  int32_t box[5];     // elements that one access moves
  int32_t swizzle;    // bytes: 0 (none), 32, 64 or 128
} moert_tensor_map;

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
  // On a device: one word of its memory, 0 from the session's opening on, where
  // kernels write a moert_failure. The runtime looks at it where it waits for
  // the stream anyway. Null on a CPU.
  int32_t *status;
  int64_t total_tokens; // tokens of this call over all ranks
};

// The two functions of each compiled function `f`. Every thread of the rank's
// team (thread < threads) calls them with the same arguments. Pointers are
// 64-byte aligned where they name arrays of the runtime's own.
//
// `f_prepare`: weights[i] is the i-th weight's slice, dense, row-major, in the
// manifest's local shape and dtype; packed[i] is the i-th packed buffer, of the
// manifest's size. Called once, when weights are loaded.
//
// On a device every buffer here and below is device memory, which the program
// hands to kernels and never reads itself; one host thread runs the program (0
// of 1), and what it asks for is enqueued on the rank's stream.
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
// `f_bind`, of programs for a device alone: makes the function's tensor maps
// (tensor_map), once, when the session has its memory and before f_prepare.
typedef int32_t (*moert_bind_fn)(moert_context *ctx, int64_t max_tokens,
                                 void *const *packed, void *arena);

#ifdef __cplusplus
}
static_assert(sizeof(moert_context) == 4 * sizeof(void *),
              "the context's head is read by compiled code");
static_assert(offsetof(moert_context, status) == 2 * sizeof(void *) &&
                  offsetof(moert_context, total_tokens) == 3 * sizeof(void *),
              "the context's head is read by compiled code");
static_assert(sizeof(moert_tensor_map) == 112 &&
                  offsetof(moert_tensor_map, base) == 8 &&
                  offsetof(moert_tensor_map, dims) == 16 &&
                  offsetof(moert_tensor_map, strides) == 56 &&
                  offsetof(moert_tensor_map, box) == 88 &&
                  offsetof(moert_tensor_map, swizzle) == 108,
              "compiled code writes it");
static_assert(offsetof(moert_context, coordinates) == sizeof(void *),
              "the context's head is read by compiled code");
#endif

#endif
