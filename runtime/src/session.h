// A function of an artifact on its ranks, ready to run.
#ifndef MOERT_SESSION_H
#define MOERT_SESSION_H

#include "aligned_buffer.h"
#include "artifact.h"
#include "comm/world.h"
#include "device.h"
#include "rank.h"
#include "session_tensors.h"
#include "team.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moert {

struct SessionOptions {
  std::string function;               // empty: the only one
  std::string communicator = "local"; // "local", "mpi" or "nccl"
  DeviceChoice device;
  int64_t maxTokens = 0;
  int threads = 0; // per rank; 0: cores / ranks. One on cuda
  bool checkReplicas = false;
  bool trace = false; // keep what ranks did, and when
  double timeoutSeconds = 300;
  std::function<void(const std::string &)> log;
  // Where ranks are processes: who started them, which MPI they use, and whom
  // to tell at once of failures elsewhere.
  std::optional<Launch> launch;
  std::string mpi;
  std::function<void(const std::string &)> onFailure;
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
  // Weights without a checkpoint: `fill` writes the slice of a weight of a rank
  // into host memory.
  using SliceFill = std::function<Status(size_t weight, int rank, void *host)>;
  Status makeWeights(const SliceFill &fill);
  // Weights that stand in the device's memory in the manifest's shapes, of an
  // artifact of one rank. They are not needed afterwards.
  Status setWeights(const std::vector<HostTensor> &weights);
  Status run(const std::vector<HostTensor> &inputs,
             const std::vector<HostTensor> &outputs);
  // Puts a run into a stream of the caller's and does not wait. Tensors have
  // the global shape; `data` is device memory and holds this rank's rows. For
  // the device cuda with one rank in this process. Null is the
  // driver's default stream.
  Status enqueue(void *stream, const std::vector<HostTensor> &inputs,
                 const std::vector<HostTensor> &outputs);
  // Where ranks are processes: completes the outputs of a run at rank 0, with
  // the rows of all ranks. Called by all processes.
  Status gatherOutputs(const std::vector<HostTensor> &outputs);
  // Waits for what was enqueued last, and says whether it failed.
  Status wait();
  // Which variant each choice of the function's manifest takes from the next
  // run on; 0 is what the program does by itself.
  Status setVariants(const std::vector<int32_t> &chosen);

  const Function &function() const { return *fn; }
  int ranks() const { return topology.ranks(); }
  int threads() const { return threadsPerRank; }
  // Those whose programs run in this process; the others have no counters here.
  const std::vector<int> &ranksHere() const { return world->ranksHere(); }
  // Of the run in progress, or of the last: known here before the run returns.
  // Any thread.
  Status failure() const { return world->failure(); }
  // The way to other processes; null if there are none.
  Rendezvous *rendezvous() const { return world->rendezvous(); }
  const Traffic &traffic(int rank) const {
    return members[static_cast<size_t>(rank)]->traffic;
  }
  const Counters &counters(int rank) const {
    return members[static_cast<size_t>(rank)]->communicator->counters();
  }
  // Of a rank here, in a session that is traced.
  const Trace &trace(int rank) const {
    return *members[static_cast<size_t>(rank)]->trace;
  }
  const SessionMemory &memory() const { return held; }
  // Ranks of other processes are taken to be where those of this one are.
  Device &onDevice(int rank) const {
    return *devices[static_cast<size_t>(rank)];
  }
  bool isOnHost() const { return devices.front()->isHost(); }
  std::string deviceName() const { return describeDevices(devices); }
  // A rank's queue; null on cpu.
  Queue *queue(int rank) const {
    return members[static_cast<size_t>(rank)]->queue.get();
  }
  int64_t maxTokens() const { return options.maxTokens; }
  // A rank's rows of a tensor that has `tokens` rows in all.
  int64_t shareBegin(const TensorSpec &spec, int rank, int64_t tokens) const;
  int64_t shareSize(const TensorSpec &spec, int rank, int64_t tokens) const;

private:
  // What one call hands to one rank's program, and where that comes from and
  // goes to on the host; on the device cpu these are the same.
  struct Call {
    int64_t tokens = 0;
    std::vector<void *> inputs, outputs;
    std::vector<void *> hostInputs, hostOutputs;
  };
  // An output that a rank writes although the caller does not take it from it.
  struct Scratch {
    AlignedBuffer buffer;
    const void *expected = nullptr; // the replica that the caller takes
  };
  // A rank's inputs and outputs on a device that is not the host.
  struct Staging {
    std::vector<Memory> inputs, outputs;
  };

  Session(std::shared_ptr<Artifact> artifact, SessionOptions options);
  Status start();
  Status makeRanks();
  Status joinWorld();
  Status openDevices();
  Status allocate();
  Status bind();
  Status checkReady() const;
  // A failure of this process is one of the whole job.
  Status forAll(const Status &status) const;
  Status load(const std::string &path);
  Status call(const std::vector<HostTensor> &inputs,
              const std::vector<HostTensor> &outputs);
  // Fills a rank's slices; called by each of its threads.
  using Fill = std::function<void(Rank &, int thread)>;
  Status prepare(const Fill &fill,
                 const std::vector<std::vector<void *>> &slices);
  Status packWeights(const SliceFill &fill);
  Status runOnAll(const std::function<int32_t(Rank &, int thread)> &body,
                  bool finishes = true);
  // Null where the session is not traced.
  static Track *trackOf(Rank &rank, int thread);
  int32_t runRank(Rank &rank, int thread);
  int32_t runOnDevice(Rank &rank, int thread);
  Status upload(Rank &rank);
  Status download(Rank &rank);
  Status stage();
  Status stage(int rank, const char *what, const TensorSpec &spec,
               Memory &memory);
  Status stageOutput(int rank, size_t output);
  int64_t stagedBytes(const TensorSpec &spec) const;
  Status placeOutput(size_t output, const HostTensor *global, int64_t tokens);
  Status checkEqual() const;

  std::shared_ptr<Artifact> artifact;
  SessionOptions options;
  const Function *fn = nullptr;
  std::shared_ptr<Program> program;
  std::vector<std::shared_ptr<Device>> devices; // by rank
  moert_run_fn runFunction = nullptr;
  moert_prepare_fn prepareFunction = nullptr;
  moert_bind_fn bindFunction = nullptr; // not on cpu
  Topology topology;
  int threadsPerRank = 1;
  bool threadsLook = false; // see team.h
  std::unique_ptr<World> world;
  std::vector<std::unique_ptr<Rank>> members;      // null: in another process
  std::vector<Memory> arenas;                      // by rank
  std::vector<std::vector<Memory>> packed;         // by rank
  std::vector<std::vector<void *>> packedPointers; // by rank
  std::vector<Call> calls;                         // by rank
  std::vector<std::vector<Scratch>> scratch;       // by rank, then output
  std::vector<Staging> staging;                    // by rank
  bool hasWeights = false;
  int64_t totalTokens = 0; // of the call, over all ranks
  SessionMemory held;
  std::unique_ptr<WorkerPool> pool; // last: its threads use all of the above
};

} // namespace moert

#endif
