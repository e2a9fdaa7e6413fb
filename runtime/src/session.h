// A function of an artifact on its ranks, ready to run.
#ifndef MOERT_SESSION_H
#define MOERT_SESSION_H

#include "aligned_buffer.h"
#include "artifact.h"
#include "comm/local.h"
#include "rank.h"
#include "team.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moert {

struct SessionOptions {
  std::string function; // empty: the only one
  std::string communicator = "local";
  int64_t maxTokens = 0;
  int threads = 0; // per rank; 0: cores / ranks
  bool checkReplicas = false;
  double timeoutSeconds = 300;
  std::function<void(const std::string &)> log;
};

// A global tensor in the caller's memory.
struct HostTensor {
  std::string name;
  moert_dtype dtype = MOERT_F32;
  std::vector<int64_t> shape;
  void *data = nullptr;
};

struct SessionMemory {
  int64_t arenaBytes = 0;
  int64_t packedBytes = 0;
  int64_t sliceBytes = 0;
};

class Session {
public:
  static Result<std::unique_ptr<Session>>
  open(std::shared_ptr<Artifact> artifact, SessionOptions options);

  Status loadWeights(const std::string &path);
  Status run(const std::vector<HostTensor> &inputs,
             const std::vector<HostTensor> &outputs);

  const Function &function() const { return *fn; }
  int ranks() const { return topology.ranks(); }
  int threads() const { return threadsPerRank; }
  const Counters &counters(int rank) const {
    return members[static_cast<size_t>(rank)]->communicator->counters();
  }
  const SessionMemory &memory() const { return held; }

private:
  // What one call hands to one rank's program.
  struct Call {
    int64_t tokens = 0;
    std::vector<void *> inputs;
    std::vector<void *> outputs;
  };
  // An output that a rank writes although the caller does not take it from it.
  struct Scratch {
    AlignedBuffer buffer;
    const void *expected = nullptr; // the replica that the caller takes
  };

  Session(std::shared_ptr<Artifact> artifact, SessionOptions options);
  Status start();
  Status allocate();
  // Fills a rank's slices; called by each of its threads.
  using Fill = std::function<void(Rank &, int thread)>;
  Status prepare(const Fill &fill,
                 const std::vector<std::vector<void *>> &slices);
  Status runOnAll(const std::function<int32_t(Rank &, int thread)> &body);
  Result<int64_t> checkTensors(const std::vector<HostTensor> &inputs,
                               const std::vector<HostTensor> &outputs) const;
  Status placeOutput(size_t output, const HostTensor *global, int64_t tokens);
  Status checkEqual() const;
  int64_t shareBegin(const TensorSpec &spec, int rank, int64_t tokens) const;
  int64_t shareSize(const TensorSpec &spec, int rank, int64_t tokens) const;

  std::shared_ptr<Artifact> artifact;
  SessionOptions options;
  const Function *fn = nullptr;
  std::shared_ptr<Program> program;
  moert_run_fn runFunction = nullptr;
  moert_prepare_fn prepareFunction = nullptr;
  Topology topology;
  int threadsPerRank = 1;
  std::unique_ptr<LocalWorld> world;
  std::vector<std::unique_ptr<Rank>> members;
  std::vector<AlignedBuffer> arenas;               // by rank
  std::vector<std::vector<AlignedBuffer>> packed;  // by rank
  std::vector<std::vector<void *>> packedPointers; // by rank
  std::vector<Call> calls;                         // by rank
  std::vector<std::vector<Scratch>> scratch;       // by rank, then output
  bool hasWeights = false;
  SessionMemory held;
  std::unique_ptr<WorkerPool> pool; // last: its threads use all of the above
};

} // namespace moert

#endif
