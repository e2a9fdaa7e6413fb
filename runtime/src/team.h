// The threads of the ranks: a pool that runs one job on all of them, and the
// barrier at which the threads of one rank meet. Waiting threads sleep; where
// each has a processor of its own they look for a moment before they do, which
// is quicker than being woken.
#ifndef MOERT_TEAM_H
#define MOERT_TEAM_H

#include "status.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace moert {

// Where one rank's threads meet; keeps the rank's first failure.
class Team {
public:
  explicit Team(int threads, bool looks = false)
      : threads(threads), looks(looks) {}

  int size() const { return threads; }
  // Returns the rank's status; once it has failed nobody waits any more.
  moert_status barrier();
  // Keeps the first failure and releases who waits. True if it was the first.
  bool fail(const Status &why);
  // A thread has left the program: others must not wait for it.
  void leave();
  // Before each job, when no thread of the rank is in it.
  void reset();
  Status status() const;

private:
  // Under the lock.
  void keep(const Status &status);

  const int threads;
  const bool looks;
  mutable std::mutex mutex;
  std::condition_variable changed;
  int arrived = 0;
  int left = 0;
  std::atomic<uint64_t> round = 0; // written under the lock
  std::atomic<bool> hasFailed = false;
  Status why;
};

// ranks x threads workers, asleep between jobs. The first is whoever calls
// `run`: it would only wait otherwise.
class WorkerPool {
public:
  using Job = std::function<void(int rank, int thread)>;

  // Fails if the system refuses to start the threads.
  static Result<std::unique_ptr<WorkerPool>> start(int ranks, int threads,
                                                   bool looks = false);
  ~WorkerPool();
  // Runs the job once on each worker and waits for all. One caller at a time;
  // the job must not throw.
  void run(const Job &job);

private:
  explicit WorkerPool(bool looks) : looks(looks) {}
  void work(int rank, int thread);
  void avoidCaller();

  const bool looks;
  std::mutex mutex;
  std::condition_variable begun, done;
  const Job *current = nullptr;
  std::atomic<uint64_t> generation = 0; // written under the lock
  std::atomic<size_t> running = 0;      // written under the lock
  bool stopping = false;
  std::vector<std::thread> workers;
  int callersProcessor = -1; // which no worker uses; -1: not known
};

// Those that this process may use.
int processorCount();
// What `threads = 0` means: this process's processors / ranks, at least 1.
int defaultThreads(int ranks);

} // namespace moert

#endif
