// Each rank has a GPU (or a part of one), data moves through NCCL: sends and
// receives between pairs alone, sums by the artifact's kernel in member order,
// so that results have the bits of every other communicator. Ranks are
// processes, or all of them threads of one. Calls are not compared between
// ranks; the programs are, when processes meet.
#ifndef MOERT_COMM_NCCL_H
#define MOERT_COMM_NCCL_H

#include "comm/world.h"
#include "cuda/nccl_library.h"
#include "launch/rendezvous.h"

#include <atomic>
#include <mutex>

namespace moert {

struct NcclOptions {
  std::optional<Launch> launch; // one of several processes; else all ranks here
  double timeoutSeconds = 300;  // of one collective
  double startSeconds = 300;
  std::function<void(const std::string &)> onFailure; // see Rendezvous
  // See WorldOptions; may be empty where the device is that of the thread.
  std::function<Status(int rank)> enter;
};

// NCCL's part of one rank, and what the rank says when others ask where it is.
class NcclMember {
public:
  NcclMember(std::shared_ptr<const cuda::NcclLibrary> library, int rank)
      : library(std::move(library)), rank(rank) {}

  // Begins to meet the others.
  Status begin(const cuda::NcclId &id, int ranks);
  // Whether NCCL has done what it was asked for last; not what streams do.
  Result<bool> isSettled(std::string_view what);
  // NCCL takes part in no more than one call at a time; none when it is gone.
  Status call(const std::function<Status(const cuda::NcclLibrary &,
                                         cuda::NcclHandle)> &body);
  // Begins to end it in order; `destroy` does when that has settled.
  Status finalize();
  void destroy();
  // What is on the stream ends, so that it can be waited for. By the thread
  // that works for the rank: NCCL waits for work of its device.
  void abort();

  // What this rank says when asked: "waits in ...", for a moment.
  void setPosition(std::string text);
  // "rank 3 is in no collective"
  std::string position() const;

private:
  const std::shared_ptr<const cuda::NcclLibrary> library;
  const int rank;
  std::mutex calls;
  cuda::NcclHandle handle = nullptr;
  mutable std::mutex mutex; // guards all below
  std::string where;        // see setPosition
  Deadline since = {};
};

class NcclWorld final : public World {
public:
  // By all processes of the job.
  static Result<std::unique_ptr<NcclWorld>> join(const Topology &topology,
                                                 NcclOptions options);
  ~NcclWorld() override;

  const std::vector<int> &ranksHere() const override { return here; }
  int ranksOnProcessors() const override { return sharers; }
  std::unique_ptr<Communicator> endpoint(int rank,
                                         std::unique_ptr<Mover> mover) override;
  // Where all ranks are here, they meet anew after a failure.
  Status reset() override;
  Status failure() const override;
  // Null where all ranks are here.
  Rendezvous *rendezvous() override { return meeting.get(); }

private:
  friend class NcclEndpoint;

  NcclWorld(const Topology &topology, NcclOptions options,
            std::shared_ptr<const cuda::NcclLibrary> library);
  Status meetProcesses();
  Result<cuda::NcclId> agreeOnId();
  Status start();
  Status startRank(const cuda::NcclId &id, int rank);
  Status settle(int rank, std::string_view what);
  bool end(int rank);
  // On a thread for each rank here, which has its device.
  void onRanks(const std::function<void(int rank)> &body);
  NcclMember &member(int rank) { return *members[static_cast<size_t>(rank)]; }

  // Somebody has failed.
  bool failed() const;
  // What a rank returns that waits when somebody has.
  Status released(int rank) const;
  void fail(int rank, const Status &why);
  // What another rank says that it does; nothing if it does not answer.
  std::string ask(int rank) const;

  const Topology topology;
  const NcclOptions options;
  const std::shared_ptr<const cuda::NcclLibrary> library;
  std::vector<int> here;
  int sharers = 1;
  std::vector<std::unique_ptr<NcclMember>> members; // null: another process's
  std::unique_ptr<Rendezvous> meeting;
  // Without a meeting:
  std::atomic<bool> hasFailed = false;
  mutable std::mutex mutex; // guards all below
  int failedRank = -1;
  Status failedWhy;
};

} // namespace moert

#endif
