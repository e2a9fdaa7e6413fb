// All ranks are threads of one process: members meet, show each other their
// buffers, and each takes what it needs. Waiting threads sleep.
#ifndef MOERT_COMM_LOCAL_H
#define MOERT_COMM_LOCAL_H

#include "comm/world.h"

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

namespace moert {

class LocalWorld final : public World {
public:
  // `timeoutSeconds` bounds the wait for the others at one meeting.
  LocalWorld(Topology topology, double timeoutSeconds);
  ~LocalWorld() override;

  const std::vector<int> &ranksHere() const override { return all; }
  int ranksOnProcessors() const override { return topology.ranks(); }
  std::unique_ptr<Communicator>
  endpoint(int rank, std::unique_ptr<Mover> mover = nullptr) override;
  // Undoes a failed run.
  Status reset() override;
  Status failure() const override;

private:
  friend class LocalEndpoint;

  // The meeting point of one part of one group.
  struct Cell {
    std::vector<Collective> calls;
    // Copies: where a rank fails, its program may end while others read them.
    std::vector<std::vector<int32_t>>
        counts; // by member; valid while the round lasts
    std::vector<bool> present;
    int arrived = 0;
    uint64_t round = 0;
    std::condition_variable changed;
  };
  // Point to point from one rank to another within one group.
  struct Channel {
    const Collective *offered = nullptr;
    bool taken = false;
    std::condition_variable changed;
  };

  Status meet(const Collective &call, int rank, bool isFirst);
  Status send(const Collective &call, int rank, Mover &mover);
  Status receive(const Collective &call, int rank, Mover &mover);
  Channel &channel(int cell, int from, int to);
  void fail(int rank, const Status &why);
  void leave(int rank);
  int firstLeft(const Cell &cell, const std::vector<int> &members) const;
  void wakeAll();
  Status aborted() const;
  std::string whereIs(int rank) const;
  template <typename Ready>
  bool wait(std::unique_lock<std::mutex> &lock,
            std::condition_variable &changed, Ready ready);

  const Topology topology;
  const double timeoutSeconds;
  std::vector<int> all;
  mutable std::mutex mutex; // guards all below; never held while data moves
  std::vector<std::unique_ptr<Cell>> cells;
  std::map<std::array<int, 3>, std::unique_ptr<Channel>> channels;
  std::vector<const Collective *> waiting; // by rank: the call it waits in
  std::vector<bool> left;                  // by rank: its program has ended
  int failedRank = -1;
  Status failedWhy;
};

} // namespace moert

#endif
