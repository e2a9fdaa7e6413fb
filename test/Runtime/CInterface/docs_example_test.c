/* The example of docs/RuntimeABI.md, as it stands there, in a folder with a
 * layer.moe and a checkpoint. */
#include "moert/moert.h"

#include <stdio.h>
#include <unistd.h>

static int example(int64_t tokens, float *input, float *output) {
#include "docs_example.inc"
  return 0;
}

int main(int argc, char **argv) {
  float input[] = {1, 1, 1, 1, 2, 2, 2, 2}, output[8] = {0};
  if (argc != 2 || chdir(argv[1]) != 0)
    return 2;
  if (example(2, input, output))
    return 1;
  return output[0] == 15 && output[7] == 85 ? 0 : 1;
}
