/* moert: run compiled Mixture-of-Experts layers. For users of the runtime, in
 * C.
 *
 * Conventions. Every function returns a moert_status; when it is not MOERT_OK,
 * moert_last_message() says why, until the next call on the same thread.
 * Nothing aborts. Handles are made by `open` and ended by `close` (NULL is
 * allowed there). Strings are UTF-8 and NUL-terminated. Pointers handed in are
 * borrowed for the call only. Different sessions may be used from different
 * threads at once; one session is used by one thread at a time. An artifact may
 * be closed while its sessions live.
 */
#ifndef MOERT_MOERT_H
#define MOERT_MOERT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define MOERT_API
#else
#define MOERT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moert_status {
  MOERT_OK = 0,
  MOERT_ERROR_INVALID_ARGUMENT =
      1, /* the caller's names, shapes, types or values do not fit */
  MOERT_ERROR_INVALID_FILE =
      2, /* a file is malformed or does not fit: artifact, weights, tensors */
  MOERT_ERROR_IO = 3, /* the system refused to open, read, map or write */
  MOERT_ERROR_UNSUPPORTED =
      4, /* this machine or this runtime cannot run the artifact */
  MOERT_ERROR_OUT_OF_MEMORY = 5,
  MOERT_ERROR_PROGRAM =
      6, /* the compiled program ended itself: bad expert ids, too many rows */
  MOERT_ERROR_COLLECTIVE = 7, /* ranks disagree about a collective */
  MOERT_ERROR_TIMEOUT = 8,    /* a rank did not reach a collective in time */
  MOERT_ERROR_ABORTED = 9,    /* ended because another rank failed */
  MOERT_ERROR_INTERNAL =
      10 /* a defect in the runtime or in the compiled program */
} moert_status;

typedef struct moert_artifact moert_artifact_t;
typedef struct moert_session moert_session_t;

/* What the last failed call on this thread has to say; never NULL. */
MOERT_API const char *moert_last_message(void);
/* The runtime's version, such as "0.1.0". */
MOERT_API const char *moert_version(void);

/* Opens and validates an artifact completely: digest, container, manifest. The
 * memory form copies what it needs. */
MOERT_API moert_status moert_artifact_open(const char *path,
                                           moert_artifact_t **artifact);
MOERT_API moert_status moert_artifact_open_memory(const void *data, size_t size,
                                                  moert_artifact_t **artifact);
MOERT_API void moert_artifact_close(moert_artifact_t *artifact);
/* The manifest's JSON text (docs/Artifact.md); lives as long as the artifact.
 */
MOERT_API const char *moert_artifact_manifest(const moert_artifact_t *artifact);

/* A line worth telling the user (a conversion of weights, for example). */
typedef void (*moert_log_fn)(void *user, const char *line);

typedef struct moert_session_options {
  size_t size;          /* sizeof(moert_session_options) */
  const char *function; /* NULL: the artifact's only function */
  /* NULL or "local": all ranks are threads of this process; "nccl": the same,
     with a CUDA device for each; "mpi": this process is one rank, of an MPI
     world of as many */
  const char *communicator;
  int64_t
      max_tokens; /* most tokens, over all ranks, of any run; sizes the arena */
  int32_t threads;        /* per rank; 0: cores / ranks, at least 1 */
  int32_t check_replicas; /* nonzero: outputs held by several ranks must be
                             equal bit by bit */
  double timeout_seconds; /* of one collective; 0: 300 */
  moert_log_fn
      log; /* NULL: silent. Called from any thread, one call at a time */
  void *log_user;
  /* Numbers of CUDA devices among those that the process sees, which the ranks
     take in turn. NULL: "local" has all ranks on device 0, "nccl" has rank 0 on
     device 0, rank 1 on device 1, and so on */
  const int32_t *devices;
  size_t device_count;
} moert_session_options;

/* Fills in the defaults. */
MOERT_API void moert_session_options_init(moert_session_options *options);
/* Starts the ranks and allocates the arena of each, once. */
MOERT_API moert_status moert_session_open(moert_artifact_t *artifact,
                                          const moert_session_options *options,
                                          moert_session_t **session);
MOERT_API void moert_session_close(moert_session_t *session);

/* Reads each rank's slices from a checkpoint folder (model.safetensors, or
 * model.safetensors.index.json and its shards) or a safetensors file, and packs
 * them. May be called again with other weights. */
MOERT_API moert_status moert_session_load_weights(moert_session_t *session,
                                                  const char *path);

/* A global tensor in host memory (in device memory where a function says so):
 * dense, row-major, aligned to its elements.  A weight may be of "f8E4M3FN" or
 * "i8" as well. */
typedef struct moert_tensor {
  const char *name;  /* as in the manifest */
  const char *dtype; /* "f32", "bf16", "f16", "i32", "i64" */
  const int64_t *shape;
  int32_t rank;
  void *data; /* read for inputs, written for outputs; may be NULL if empty */
} moert_tensor;

/* Runs the function on all ranks and waits. Every input is needed; outputs left
 * out are computed and dropped. The first dimension of each tensor whose
 * manifest shape starts with -1 is the number of tokens, 0 to max_tokens, the
 * same for all. After an error the outputs are undefined and the session may be
 * used again. */
MOERT_API moert_status moert_session_run(moert_session_t *session,
                                         const moert_tensor *inputs,
                                         size_t input_count,
                                         const moert_tensor *outputs,
                                         size_t output_count);

/* Takes weights from memory instead of a checkpoint, and packs them: all of
 * them, in the manifest's shapes and types, for an artifact of one rank. `data`
 * is host memory on the device cpu and device memory on cuda; it is read before
 * the call returns, and not needed after it. */
MOERT_API moert_status moert_session_set_weights(moert_session_t *session,
                                                 const moert_tensor *weights,
                                                 size_t count);

/* For the device cuda with one rank in this process: puts a run into `stream`
 * (a CUstream or cudaStream_t; NULL is the default stream) of the device's
 * primary context and does not wait. `data` of inputs and outputs is device
 * memory with this rank's rows; shapes are global. The stream may be captured
 * into a CUDA graph once the same call has run outside of a capture; programs
 * that need counts on the host (several ranks with the all_to_all dispatcher)
 * refuse that. Calls of one session must not overlap on the device. */
MOERT_API moert_status moert_session_enqueue(
    moert_session_t *session, void *stream, const moert_tensor *inputs,
    size_t input_count, const moert_tensor *outputs, size_t output_count);
/* Waits for what was enqueued last, and reports what kernels complained of. */
MOERT_API moert_status moert_session_wait(moert_session_t *session);

/* What one rank moved with one kind of collective since the session was opened.
 */
typedef struct moert_counter {
  int32_t rank;
  const char *kind; /* "all_to_all_v", ...; static */
  int64_t calls;
  int64_t
      bytes_sent; /* to other ranks; what stays on the rank is not counted */
  int64_t bytes_received; /* from other ranks */
} moert_counter;

/* Writes up to `capacity` counters (those with calls) and the number there are.
 */
MOERT_API moert_status moert_session_counters(const moert_session_t *session,
                                              moert_counter *counters,
                                              size_t capacity, size_t *count);

/* Bytes held by each rank: the arena, the packed weights, and the slices that
 * were read to make them (freed again). */
typedef struct moert_memory {
  int64_t arena_bytes;
  int64_t packed_bytes;
  int64_t slice_bytes;
} moert_memory;
MOERT_API moert_status moert_session_memory(const moert_session_t *session,
                                            moert_memory *memory);

#ifdef __cplusplus
}
#endif

#endif
