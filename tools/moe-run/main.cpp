// moe-run: runs an artifact on its ranks, or shows what is in it.
#include "bench.h"
#include "calibrate.h"
#include "run.h"
#include "tune.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

using namespace moert;

namespace {
struct CommandLine {
  CLI::App app{"runs a compiled Mixture-of-Experts layer on its ranks"};
  CLI::App *inspect = nullptr, *bench = nullptr, *calibrate = nullptr;
  CLI::App *tune = nullptr;
  RunFlags flags;
  BenchFlags benchFlags;
  CalibrateFlags calibrateFlags;
  TuneFlags tuneFlags;
  std::string inspected;

  CommandLine();

private:
  void addJob(CLI::App &to, JobFlags &job);
  void addBench();
  void addCalibrate();
  void addTune();
};
} // namespace

CommandLine::CommandLine() {
  app.name("moe-run");
  app.set_version_flag("--version", MOE_RUN_VERSION);
  app.allow_extras(); // refused later, with the nearest flag
  app.add_option("artifact", flags.artifact, "the artifact to run (layer.moe)");
  app.add_option("--weights", flags.weights,
                 "checkpoint folder or safetensors file");
  auto list = [&](const char *name, std::vector<std::string> &values,
                  const char *text) {
    app.add_option(name, values, text)->allow_extra_args(false);
  };
  list("--input", flags.inputs,
       "name=@file.safetensors:tensor or name=@file.npy; repeatable");
  list("--expect", flags.expects,
       "what an output must be, written like an input; repeatable");
  list("--output", flags.outputs,
       "name=file.safetensors: writes an output; repeatable");
  app.add_option("--rtol", flags.rtol,
                 "largest error, relative to the largest expected value "
                 "[1e-5]");
  app.add_flag("--equal-nan", flags.equalNan,
               "NaN is as expected where NaN is expected");
  app.add_option("--function", flags.function,
                 "which function, where there are several");
  app.add_option(
      "--device", flags.device,
      "cpu, cuda, cuda:N, cuda:0,1 or cuda:all: GPUs that the ranks of this "
      "process take in turn [what the artifact is for]");
  app.add_option("--threads", flags.threads,
                 "threads a rank [cores / ranks, at least 1]");
  app.add_option("--max-tokens", flags.maxTokens,
                 "most tokens of a run; sizes the arena [those of the input]");
  app.add_option("--record-routing", flags.recordRouting,
                 "writes each token's experts and their counts to a "
                 "safetensors file");
  app.add_option("--repeat", flags.repeat,
                 "runs N times and demands the same bits [1]");
  addJob(app, flags);
  app.add_flag("--stats", flags.stats,
               "prints the bytes that each rank moved and holds");
  app.add_option("--json", flags.json, "writes the statistics as JSON");
  app.add_option("--trace", flags.trace,
                 "writes what each rank did and when, for chrome://tracing or "
                 "Perfetto");
  inspect = app.add_subcommand("inspect", "prints what an artifact holds");
  inspect->add_option("artifact", inspected, "the artifact")->required();
  addBench();
  addCalibrate();
  addTune();
}

void CommandLine::addJob(CLI::App &to, JobFlags &job) {
  to.add_option("--timeout", job.timeout,
                "seconds that a collective waits for other ranks [300]");
  to.add_option("--comm", job.communicator,
                "how ranks reach each other: local, threads of this process; "
                "mpi, one process a rank; nccl, the same, or threads with a "
                "GPU each where no launcher is [what fits the launcher]");
  to.add_option("--rank", job.launch.rank,
                "number of this process [by the launcher]");
  to.add_option("--world-size", job.launch.world,
                "number of processes [by the launcher]");
  to.add_option("--rendezvous", job.launch.rendezvous,
                "HOST:PORT where rank 0 is met [by the launcher]");
}

static auto optionsOf(CLI::App &app) {
  return [&app](const char *name, std::string &value, const char *text) {
    return app.add_option(name, value, text);
  };
}

void CommandLine::addBench() {
  bench = app.add_subcommand("bench", "times a layer");
  auto option = optionsOf(*bench);
  option("artifact", benchFlags.artifact, "the artifact")->required();
  option("--function", benchFlags.function,
         "which function, where there are several");
  option("--device", benchFlags.device,
         "cpu, cuda, cuda:N, cuda:0,1 or cuda:all: GPUs that the ranks of this "
         "process take in turn [what the artifact is for]");
  option("--weights", benchFlags.weights,
         "checkpoint [random weights of variance 1 / fan-in]");
  option("--tokens", benchFlags.tokens,
         "numbers of tokens, by commas [1,16,64,256,4096,16384]");
  option("--routing", benchFlags.routing,
         "balanced, zipf, or both by a comma [balanced]");
  option("--threads", benchFlags.threads,
         "threads a rank on cpu [cores / ranks, at least 1]");
  option("--sets", benchFlags.sets, "inputs that are used in turn [4]");
  option("--seed", benchFlags.seed, "of inputs and random weights [0]");
  option("--json", benchFlags.json, "writes the results");
  addJob(*bench, benchFlags);
}

void CommandLine::addCalibrate() {
  calibrate = app.add_subcommand(
      "calibrate", "measures this machine for the planner of moe-opt");
  calibrate
      ->add_option("-o,--output", calibrateFlags.output,
                   "the machine file to write")
      ->required();
  calibrate->add_option("artifacts", calibrateFlags.artifacts,
                        "layers of one rank, whose products are timed; on cuda "
                        "also one for all ranks, whose kernels add up");
  calibrate->add_option("--ranks", calibrateFlags.ranks,
                        "ranks that are threads of this process [8]");
  calibrate->add_option("--device", calibrateFlags.device,
                        "cpu, cuda, cuda:N, cuda:0,1 or cuda:all [cpu]");
  addJob(*calibrate, calibrateFlags);
  calibrate->add_option("--base", calibrateFlags.base,
                        "machine that gives what is not measured [cpu-8]");
  calibrate->add_option("--name", calibrateFlags.name,
                        "name of the machine [calibrated]");
}

void CommandLine::addTune() {
  tune = app.add_subcommand(
      "tune", "times all kernels of an artifact compiled with --variants=all");
  auto option = optionsOf(*tune);
  option("artifact", tuneFlags.artifact, "the artifact")->required();
  option("--table", tuneFlags.table,
         "the table of kernels to write, for moe-opt --kernel-table")
      ->required();
  option("--keep", tuneFlags.keep,
         "a table whose entries stay where nothing is measured");
  option("--function", tuneFlags.function,
         "which function, where there are several");
  option("--device", tuneFlags.device, "cuda or cuda:N [cuda]");
  option("--tokens", tuneFlags.tokens,
         "numbers of tokens, by commas [1,2,4,8,16,64,256,1024,4096,16384]");
  option("--warm", tuneFlags.warm,
         "milliseconds of the same work before it is timed [100]");
  option("--seed", tuneFlags.seed, "of inputs and random weights [0]");
  option("--json", tuneFlags.json, "writes all times");
}

static int usageError(const std::string &message) {
  return reportError(Status::error(MOERT_ERROR_INVALID_ARGUMENT, message));
}

// The library's messages begin with a capital letter.
static std::string lowered(std::string text) {
  if (!text.empty())
    text[0] = static_cast<char>(std::tolower(text[0]));
  while (!text.empty() && (text.back() == '.' || text.back() == '\n'))
    text.pop_back();
  return text;
}

static std::string describeExtra(CLI::App &app, const std::string &extra) {
  std::vector<std::string> known;
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      known.push_back("--" + name);
  std::string word = extra.substr(0, extra.find('='));
  if (!word.starts_with("-"))
    return concat("the argument '", printable(extra), "' is one too many");
  return concat("the flag '", printable(word), "' is unknown",
                suggest(word, known));
}

static int runMain(int argc, char **argv) {
  CommandLine line;
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::Success &success) { // help and version
    return line.app.exit(success);
  } catch (const CLI::ParseError &error) {
    return usageError(lowered(error.what()));
  }
  if (std::vector<std::string> extras = line.app.remaining(true);
      !extras.empty())
    return usageError(describeExtra(line.app, extras.front()));
  if (line.inspect->parsed())
    return inspectArtifact(line.inspected);
  if (line.bench->parsed()) {
    Result<BenchPlan> plan = parseBenchFlags(line.benchFlags);
    return plan.ok() ? benchArtifact(*plan) : reportError(plan.status());
  }
  if (line.calibrate->parsed()) {
    Result<CalibratePlan> plan = parseCalibrateFlags(line.calibrateFlags);
    return plan.ok() ? calibrateMachine(*plan) : reportError(plan.status());
  }
  if (line.tune->parsed()) {
    Result<TunePlan> plan = parseTuneFlags(line.tuneFlags);
    return plan.ok() ? tuneArtifact(*plan) : reportError(plan.status());
  }
  Result<RunPlan> plan = parseFlags(line.flags);
  return plan.ok() ? runArtifact(*plan) : reportError(plan.status());
}

int main(int argc, char **argv) {
  try {
    return runMain(argc, argv);
  } catch (const std::bad_alloc &) {
    std::fputs("error: out of memory\n", stderr);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  return ExitBadInput;
}
