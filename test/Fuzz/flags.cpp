// The values of moe-run's flags: `flag value` on each line. Nothing is run.
#include "fuzz.h"
#include "mutators/mutators.h"

#include "bench.h"
#include "calibrate.h"
#include "run.h"
#include "tune.h"

using namespace moert;

// The names are those of the fields, not of the command line, whose parser is
// a library's.
static void set(TuneFlags &tune, const std::string &name,
                const std::string &value) {
  if (name == "device")
    tune.device = value;
  else if (name == "tokens")
    tune.tokens = value;
  else if (name == "warm")
    tune.warm = value;
  else if (name == "seed")
    tune.seed = value;
}

static void set(CalibrateFlags &calibrate, const std::string &name,
                const std::string &value) {
  if (name == "device")
    calibrate.device = value;
  else if (name == "ranks")
    calibrate.ranks = value;
  else if (name == "base")
    calibrate.base = value;
  else if (name == "name")
    calibrate.name = value;
  else if (name == "artifact")
    calibrate.artifacts.push_back(value);
  else if (name == "comm")
    calibrate.communicator = value;
  else if (name == "world-size")
    calibrate.launch.world = value;
}

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

MOE_FUZZ_MUTATE_BY(fuzz::mutateText);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  RunFlags run;
  BenchFlags bench;
  TuneFlags tune;
  CalibrateFlags calibrate;
  run.artifact = bench.artifact = tune.artifact = "layer.moe";
  tune.table = "table.json";
  calibrate.output = "machine.json";
  for (const std::string &line : fuzz::lines(fuzz::text(data, size))) {
    size_t space = std::min(line.find(' '), line.size());
    std::string name = line.substr(0, space),
                value = line.substr(std::min(space + 1, line.size()));
    set(run, bench, name, value);
    set(tune, name, value);
    set(calibrate, name, value);
  }
  (void)parseFlags(run);
  (void)parseBenchFlags(bench);
  (void)parseTuneFlags(tune);
  (void)parseCalibrateFlags(calibrate);
  return 0;
}
