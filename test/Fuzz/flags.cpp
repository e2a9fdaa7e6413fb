// The values of moe-run's flags: `flag value` on each line. Nothing is run.
#include "fuzz.h"

#include "bench.h"
#include "run.h"

using namespace moert;

// The names are those of the fields, not of the command line, whose parser is
// a library's.
static void set(RunFlags &run, BenchFlags &bench, const std::string &name,
                const std::string &value) {
  if (name == "input")
    run.inputs.push_back(value);
  else if (name == "expect")
    run.expects.push_back(value);
  else if (name == "output")
    run.outputs.push_back(value);
  else if (name == "rtol")
    run.rtol = value;
  else if (name == "threads")
    run.threads = bench.threads = value;
  else if (name == "max-tokens")
    run.maxTokens = value;
  else if (name == "repeat")
    run.repeat = value;
  else if (name == "timeout")
    run.timeout = value;
  else if (name == "device")
    run.device = bench.device = value;
  else if (name == "comm")
    run.communicator = value;
  else if (name == "rank")
    run.launch.rank = value;
  else if (name == "world-size")
    run.launch.world = value;
  else if (name == "rendezvous")
    run.launch.rendezvous = value;
  else if (name == "tokens")
    bench.tokens = value;
  else if (name == "routing")
    bench.routing = value;
  else if (name == "sets")
    bench.sets = value;
  else if (name == "seed")
    bench.seed = value;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  RunFlags run;
  BenchFlags bench;
  run.artifact = bench.artifact = "layer.moe";
  for (const std::string &line : fuzz::lines(fuzz::text(data, size))) {
    size_t space = std::min(line.find(' '), line.size());
    set(run, bench, line.substr(0, space),
        line.substr(std::min(space + 1, line.size())));
  }
  (void)parseFlags(run);
  (void)parseBenchFlags(bench);
  return 0;
}
