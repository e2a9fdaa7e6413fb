// Ranks are processes with a GPU each (or a part of one), data moves through
// NCCL: sends and receives between pairs alone, sums by the artifact's kernel
// in member order, so that results have the bits of every other communicator.
// Calls are not compared between ranks; the programs are, when they meet.
#ifndef MOERT_COMM_NCCL_H
#define MOERT_COMM_NCCL_H

#include "comm/world.h"
#include "cuda/nccl_library.h"
#include "launch/rendezvous.h"

#include <mutex>

namespace moert {

struct NcclOptions {
  std::optional<Launch> launch;
  double timeoutSeconds = 300; // of one collective
  double startSeconds = 300;
  std::function<void(const std::string &)> onFailure; // see Rendezvous
};

class NcclWorld final : public World {
public:
  // By all processes of the job, on the thread whose CUDA context is used.
  static Result<std::unique_ptr<NcclWorld>> join(const Topology &topology,
                                                 NcclOptions options);
  ~NcclWorld() override;

  const std::vector<int> &ranksHere() const override { return here; }
  int ranksOnProcessors() const override { return sharers; }
  std::unique_ptr<Communicator> endpoint(int rank,
                                         std::unique_ptr<Mover> mover) override;
  Status reset() override;
  Status failure() const override { return meeting->failure(); }
  Rendezvous *rendezvous() override { return meeting.get(); }

private:
  friend class NcclEndpoint;

  NcclWorld(const Topology &topology, const NcclOptions &options)
      : topology(topology), timeoutSeconds(options.timeoutSeconds),
        startSeconds(options.startSeconds) {}
  Status start();
  // Whether NCCL has done what it was asked for last; not what streams do.
  Result<bool> isSettled(std::string_view what);
  Status settle(std::string_view what);
  void fail(const Status &why);
  void abortAll();
  // What this rank says when asked: "waits in ...", for a moment.
  void setPosition(std::string text);
  std::string position() const;

  const Topology topology;
  const double timeoutSeconds, startSeconds;
  std::vector<int> here;
  int sharers = 1;
  std::unique_ptr<Rendezvous> meeting;
  std::shared_ptr<const cuda::NcclLibrary> library;
  cuda::NcclHandle handle = nullptr;
  mutable std::mutex mutex; // guards all below
  bool aborted = false;
  std::string where; // see setPosition
  Deadline since = {};
};

} // namespace moert

#endif
