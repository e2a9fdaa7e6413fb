/* Runs a compiled layer from C: the runtime's whole life cycle.
 *
 *   cc run_layer.c -lmoert -o run_layer
 *   ./run_layer layer.moe checkpoint/ TOKENS WIDTH [FUNCTION]
 *
 * Prints the first row of y for inputs of ones. */
#include <moert/moert.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, moert_last_message());
  return 1;
}

/* The buffers are the caller's; ranks read and write them in place. */
static int run(moert_session_t *session, int64_t tokens, int64_t width,
               float *x, float *y) {
  if (!x || !y)
    return fprintf(stderr, "no memory for %lld tokens\n", (long long)tokens), 1;
  for (int64_t i = 0; i < tokens * width; ++i)
    x[i] = 1;
  int64_t shape[] = {tokens, width};
  moert_tensor input = {"x", "f32", shape, 2, x};
  moert_tensor output = {"y", "f32", shape, 2, y};
  if (moert_session_run(session, &input, 1, &output, 1))
    return fail("run");
  for (int64_t i = 0; i < width; ++i)
    printf(i ? " %g" : "%g", (double)y[i]);
  printf("\n");
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6)
    return fprintf(stderr, "usage: run_layer layer.moe checkpoint TOKENS WIDTH "
                           "[FUNCTION]\n"),
           2;
  int64_t tokens = atoll(argv[3]), width = atoll(argv[4]);
  if (tokens < 1 || width < 1 || tokens > 1 << 20 || width > 1 << 20)
    return fprintf(stderr, "TOKENS and WIDTH are from 1 to 1048576\n"), 2;
  moert_artifact_t *artifact = NULL;
  moert_session_t *session = NULL;
  moert_session_options options;
  moert_session_options_init(&options);
  options.function = argc == 6 ? argv[5] : NULL; /* NULL: the only one */
  options.max_tokens = tokens;
  int code = 0;
  if (moert_artifact_open(argv[1], &artifact) ||
      moert_session_open(artifact, &options, &session)) {
    code = fail(argv[1]);
  } else if (moert_session_load_weights(session, argv[2])) {
    code = fail(argv[2]);
  } else {
    float *x = malloc(sizeof(float) * (size_t)(tokens * width));
    float *y = malloc(sizeof(float) * (size_t)(tokens * width));
    code = run(session, tokens, width, x, y);
    free(x);
    free(y);
  }
  moert_session_close(session);
  moert_artifact_close(artifact);
  return code;
}
