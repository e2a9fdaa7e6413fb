// What connects the processes of a job beside the communicator: bytes to and
// from rank 0 before the first collective, one failure made known to all, and a
// sign of life each second.
#ifndef MOERT_LAUNCH_RENDEZVOUS_H
#define MOERT_LAUNCH_RENDEZVOUS_H

#include "launch/handshake.h"

#include <functional>
#include <memory>
#include <string_view>

namespace moert {

struct RendezvousOptions {
  MeetingPoint point;
  double joinSeconds = 60;      // for all to come
  double exchangeSeconds = 300; // for the others at one exchange
  // A process that says nothing for so long is stopped or out of reach.
  double silenceSeconds = 5;
  // Told once, from a thread of the rendezvous, of a failure elsewhere, before
  // anybody who waits is released.
  std::function<void(const std::string &)> onFailure;
};

class Rendezvous {
public:
  // Returns when all processes are there. `listener`: what rank 0 listens on,
  // if it does already.
  static Result<std::unique_ptr<Rendezvous>> join(RendezvousOptions options,
                                                  Socket listener = Socket());
  // Others are not failed by this process going away after it.
  ~Rendezvous();

  int rank() const;
  int world() const;

  // Exchanges: called by all processes in the same order, one thread at a time.
  // `what` names the exchange in messages and must be the same everywhere.
  //
  // Rank 0's bytes at all.
  Result<std::string> broadcast(std::string_view what, std::string_view bytes);
  // At rank 0 everybody's bytes, by rank; elsewhere nothing.
  Result<std::vector<std::string>> gather(std::string_view what,
                                          std::string_view bytes);
  // Everybody's bytes at all.
  Result<std::vector<std::string>> allGather(std::string_view what,
                                             std::string_view bytes);

  // This process has failed: all others are told, and what waits is released.
  // The first failure of the job counts. Any thread.
  void fail(const Status &why);
  // OK while nobody has failed. Cheap; any thread.
  bool failed() const;
  // This process's own failure, or MOERT_ERROR_ABORTED with "ended because
  // rank 3 failed: why".
  Status failure() const;

  // How this process answers others that ask what it does; called from a thread
  // of the rendezvous.
  void onAsked(std::function<std::string()> answer);
  // What another rank says that it does; nothing if it does not answer in time.
  std::string ask(int rank, double seconds);

  class State;

private:
  explicit Rendezvous(std::unique_ptr<State> state);
  std::unique_ptr<State> state;
};

} // namespace moert

#endif
