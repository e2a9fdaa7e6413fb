/* The plug-in: compiled once for each MPI. */
#include "comm/mpi_plugin.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

_Static_assert(sizeof(MPI_Request) <= sizeof(moert_mpi_request),
               "a request has room in the runtime's");

static const char *library(void) {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int size = 0;
  if (MPI_Get_library_version(text, &size) != MPI_SUCCESS)
    return "unknown MPI";
  /* The first line, up to the first comma, says who it is. */
  text[strcspn(text, ",\n")] = 0;
  for (char *c = text; *c; ++c)
    if (*c == '\t')
      *c = ' ';
  return text;
}

/* Whoever initialized MPI ends it. */
static int is_ours;

static int initialize(int *rank, int *size) {
  int is_initialized = 0, code = MPI_Initialized(&is_initialized);
  if (code == MPI_SUCCESS && !is_initialized) {
    int provided = 0;
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (code == MPI_SUCCESS && provided < MPI_THREAD_SERIALIZED)
      code = MPI_ERR_OTHER;
    is_ours = code == MPI_SUCCESS;
  }
  /* Errors come back to us: a process that aborts says nothing of why. */
  if (code == MPI_SUCCESS)
    code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (code == MPI_SUCCESS)
    code = MPI_Comm_rank(MPI_COMM_WORLD, rank);
  return code == MPI_SUCCESS ? MPI_Comm_size(MPI_COMM_WORLD, size) : code;
}

static int finalize(void) {
  int is_finalized = 0;
  if (!is_ours || MPI_Finalized(&is_finalized) != MPI_SUCCESS || is_finalized)
    return MPI_SUCCESS;
  return MPI_Finalize();
}

static void error_text(int code, char *text, int size) {
  char all[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, all, &length) != MPI_SUCCESS)
    all[0] = 0;
  snprintf(text, (size_t)size, "%s", all);
}

/* MPI's own waits spin; there may be more processes than cores. */
static int wait_asleep(MPI_Request request) {
  const struct timespec nap = {0, 100000};
  int is_done = 0, code = MPI_SUCCESS;
  while (code == MPI_SUCCESS && !is_done) {
    code = MPI_Test(&request, &is_done, MPI_STATUS_IGNORE);
    if (!is_done)
      nanosleep(&nap, NULL);
  }
  return code;
}

static int broadcast(void *data, int bytes) {
  MPI_Request request;
  int code = MPI_Ibcast(data, bytes, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
  return code == MPI_SUCCESS ? wait_asleep(request) : code;
}

static int barrier(void) {
  MPI_Request request;
  int code = MPI_Ibarrier(MPI_COMM_WORLD, &request);
  return code == MPI_SUCCESS ? wait_asleep(request) : code;
}

static int split(int is_member, void **communicator) {
  MPI_Comm made;
  *communicator = NULL;
  int code =
      MPI_Comm_split(MPI_COMM_WORLD, is_member ? 0 : MPI_UNDEFINED, 0, &made);
  if (code != MPI_SUCCESS || !is_member)
    return code;
  code = MPI_Comm_set_errhandler(made, MPI_ERRORS_RETURN);
  /* Never freed: what a failed run has left in it must not be met again. */
  MPI_Comm *box = malloc(sizeof(*box));
  if (!box)
    return MPI_ERR_NO_MEM;
  *box = made;
  *communicator = box;
  return code;
}

static void put(moert_mpi_request *target, MPI_Request request) {
  memcpy(target, &request, sizeof(request));
}

static int send(void *communicator, const void *data, int bytes, int to,
                int tag, int synchronous, moert_mpi_request *request) {
  MPI_Request made;
  int code = (synchronous ? MPI_Issend : MPI_Isend)(
      data, bytes, MPI_BYTE, to, tag, *(MPI_Comm *)communicator, &made);
  if (code == MPI_SUCCESS)
    put(request, made);
  return code;
}

static int receive(void *communicator, void *data, int bytes, int from, int tag,
                   moert_mpi_request *request) {
  MPI_Request made;
  int code = MPI_Irecv(data, bytes, MPI_BYTE, from, tag,
                       *(MPI_Comm *)communicator, &made);
  if (code == MPI_SUCCESS)
    put(request, made);
  return code;
}

static int test(moert_mpi_request *request, int *done) {
  MPI_Request made;
  memcpy(&made, request, sizeof(made));
  int code = MPI_Test(&made, done, MPI_STATUS_IGNORE);
  put(request, made);
  return code;
}

static int probe(void *communicator, int from, int tag, int *bytes) {
  int is_there = 0;
  MPI_Status status;
  *bytes = -1;
  int code =
      MPI_Iprobe(from, tag, *(MPI_Comm *)communicator, &is_there, &status);
  if (code != MPI_SUCCESS || !is_there)
    return code;
  return MPI_Get_count(&status, MPI_BYTE, bytes);
}

EXPORT const moert_mpi_plugin *moert_mpi_plugin_open(void) {
  static const moert_mpi_plugin plugin = {
      .version = MOERT_MPI_PLUGIN_VERSION,
      .library = library,
      .initialize = initialize,
      .finalize = finalize,
      .error_text = error_text,
      .broadcast = broadcast,
      .barrier = barrier,
      .split = split,
      .send = send,
      .receive = receive,
      .test = test,
      .probe = probe,
  };
  return &plugin;
}
