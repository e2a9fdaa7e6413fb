// The messages of one collective over MPI, and the wait for them.
#ifndef MOERT_COMM_MPI_EXCHANGE_H
#define MOERT_COMM_MPI_EXCHANGE_H

#include "comm/mpi.h"

#include <functional>

namespace moert {

// A call as members show it to each other: its sizes and counts.
class EncodedCall {
public:
  // `members` of the group; 0 for a call between two ranks, without counts.
  EncodedCall(const Collective &call, int members);
  explicit EncodedCall(std::string bytes) : text(std::move(bytes)) {}

  bool isValid(int members) const;
  // Of valid ones; counts point into this object.
  Collective call() const;
  const std::string &bytes() const { return text; }

private:
  std::string text;
};

class MpiExchange {
public:
  MpiExchange(MpiWorld &world, const Collective &call)
      : world(world), call(call), deadline(after(world.timeoutSeconds)) {}
  ~MpiExchange();

  // Posted now, waited for by `finish`. Empty messages are not sent.
  Status send(int to, int tag, const void *data, int64_t bytes);
  Status receive(int from, int tag, void *data, int64_t bytes);
  Status finish();

  Status sendCall(int to, int tag, const std::string &bytes,
                  bool synchronous = false);
  // Waits for one from each rank.
  Result<std::vector<std::string>> receiveCalls(const std::vector<int> &from,
                                                int tag);

private:
  struct Pending {
    int peer;
    moert_mpi_request request;
  };
  // Ranks that are waited for; none: done.
  using Late = std::function<Result<std::vector<int>>()>;
  Status wait(const Late &late);
  Result<bool> takeCall(int from, int tag, std::string &bytes);
  Status askAfter(const std::vector<int> &late) const;
  Status timedOut(const std::vector<int> &late) const;
  Result<std::vector<int>> unfinished();

  MpiWorld &world;
  const Collective &call;
  const Deadline deadline;
  std::deque<std::string> calls; // that are being sent
  std::vector<Pending> pending;
};

} // namespace moert

#endif
