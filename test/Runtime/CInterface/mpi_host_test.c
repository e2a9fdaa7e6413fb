/* A program that initialized MPI itself runs a session over it, several times,
 * and ends MPI itself: mpirun -n 4 mpi-host-test FOLDER, the folder of
 * make-test-artifact for 4 ranks. */
#include "moert/moert.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, moert_last_message());
  return 1;
}

static int run(moert_session_t *session) {
  float x[8][4], y[8][4];
  for (int t = 0; t < 8; ++t)
    for (int c = 0; c < 4; ++c)
      x[t][c] = 1;
  memset(y, 0, sizeof(y));
  int64_t shape[] = {8, 4};
  moert_tensor input = {"x", "f32", shape, 2, x};
  moert_tensor output = {"y", "f32", shape, 2, y};
  if (moert_session_run(session, &input, 1, &output, 1))
    return fail("run");
  /* Each process writes its own rows; the bias and five experts of
   * make_test_artifact.cpp. */
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const float scale[4] = {15, 30, 40, 42.5f};
  for (int t = 2 * rank; t < 2 * rank + 2; ++t)
    for (int c = 0; c < 4; ++c)
      if (y[t][c] != scale[c]) {
        fprintf(stderr, "rank %d: y[%d][%d] is %g\n", rank, t, c,
                (double)y[t][c]);
        return 1;
      }
  return 0;
}

int main(int argc, char **argv) {
  char path[4096];
  moert_artifact_t *artifact = NULL;
  if (argc != 2 || MPI_Init(&argc, &argv) != MPI_SUCCESS)
    return 2;
  snprintf(path, sizeof(path), "%s/layer.moe", argv[1]);
  if (moert_artifact_open(path, &artifact))
    return fail("artifact");
  for (int turn = 0; turn < 3; ++turn) {
    moert_session_t *session = NULL;
    moert_session_options options;
    moert_session_options_init(&options);
    options.function = "scale";
    options.communicator = "mpi";
    options.max_tokens = 8;
    options.threads = 1;
    if (moert_session_open(artifact, &options, &session) ||
        moert_session_load_weights(session, argv[1]))
      return fail("session");
    for (int i = 0; i < 2; ++i)
      if (run(session))
        return 1;
    moert_session_close(session);
  }
  moert_artifact_close(artifact);
  return MPI_Finalize() == MPI_SUCCESS ? 0 : 1;
}
