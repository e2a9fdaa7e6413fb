/* What the runtime knows of an MPI: a table of functions, filled by a plug-in
 * that is compiled against one MPI's mpi.h (handle types and constants differ
 * between MPIs). In C, for both sides.
 *
 * Functions return 0 or an MPI error code. One thread at a time. */
#ifndef MOERT_COMM_MPI_PLUGIN_H
#define MOERT_COMM_MPI_PLUGIN_H

#include <stdint.h>

#define MOERT_MPI_PLUGIN_VERSION 1
#define MOERT_MPI_PLUGIN_SYMBOL "moert_mpi_plugin_open"

#ifdef __cplusplus
extern "C" {
#endif

/* Room for a request of any MPI. */
typedef struct moert_mpi_request {
  uint64_t words[2];
} moert_mpi_request;

typedef struct moert_mpi_plugin {
  uint32_t version;
  /* What the library calls itself. */
  const char *(*library)(void);
  /* Does nothing but report if MPI is initialized already. */
  int (*initialize)(int *rank, int *size);
  /* Of what `initialize` has begun, if nobody has ended it. */
  int (*finalize)(void);
  void (*error_text)(int code, char *text, int size);

  /* Of the whole world, blocking. */
  int (*broadcast)(void *data, int bytes);
  int (*barrier)(void);
  /* A communicator of its own for all processes that are members; called by
   * all. NULL elsewhere. */
  int (*split)(int is_member, void **communicator);

  /* `synchronous`: done only once the receiver has begun to take it. */
  int (*send)(void *communicator, const void *data, int bytes, int to, int tag,
              int synchronous, moert_mpi_request *request);
  int (*receive)(void *communicator, void *data, int bytes, int from, int tag,
                 moert_mpi_request *request);
  int (*test)(moert_mpi_request *request, int *done);
  /* The size of the message that is there, -1 if there is none. */
  int (*probe)(void *communicator, int from, int tag, int *bytes);
} moert_mpi_plugin;

typedef const moert_mpi_plugin *(*moert_mpi_plugin_open_fn)(void);

#ifdef __cplusplus
}
#endif

#endif
