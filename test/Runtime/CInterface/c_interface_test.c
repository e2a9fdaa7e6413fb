/* moert.h from C, through the shared library: opens the artifact, runs `scale`
 * on its checkpoint, and shows that errors come with messages. */
#include "moert/moert.h"

#include <stdio.h>
#include <stdlib.h>

static void check(moert_status status, const char *what) {
  if (status == MOERT_OK)
    return;
  fprintf(stderr, "%s: status %d: %s\n", what, (int)status,
          moert_last_message());
  exit(1);
}

static void noteLine(void *user, const char *line) {
  ++*(int *)user;
  printf("note: %s\n", line);
}

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  char path[4096];
  moert_artifact_t *artifact = NULL;
  moert_session_t *session = NULL;
  snprintf(path, sizeof(path), "%s/none.moe", argv[1]);
  if (moert_artifact_open(path, &artifact) != MOERT_ERROR_IO || artifact)
    return 1;
  snprintf(path, sizeof(path), "%s/layer.moe", argv[1]);
  check(moert_artifact_open(path, &artifact), "artifact");

  int lines = 0;
  moert_session_options options;
  moert_session_options_init(&options);
  options.function = "scale";
  options.max_tokens = 3;
  options.log = noteLine;
  options.log_user = &lines;
  check(moert_session_open(artifact, &options, &session), "session");
  moert_artifact_close(artifact);
  check(moert_session_load_weights(session, argv[1]), "weights");

  float x[3][4] = {{1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}}, y[3][4];
  int64_t shape[] = {3, 4};
  moert_tensor input = {"x", "f32", shape, 2, x};
  moert_tensor output = {"y", "f32", shape, 2, y};
  check(moert_session_run(session, &input, 1, &output, 1), "run");
  /* The bias and five experts: see make_test_artifact.cpp. */
  const float scale[4] = {15, 30, 40, 42.5f};
  for (int t = 0; t < 3; ++t)
    for (int c = 0; c < 4; ++c)
      if (y[t][c] != (t + 1) * scale[c]) {
        fprintf(stderr, "y[%d][%d] is %g\n", t, c, (double)y[t][c]);
        return 1;
      }
  moert_session_close(session);
  return lines == 0 ? 0 : 1;
}
