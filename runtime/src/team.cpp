#include "team.h"

#include <chrono>
#include <pthread.h>
#include <sched.h>
#include <system_error>

using namespace moert;

static void pauseThread() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Returns when `ready` is true, or after about as long as it takes to be woken.
template <typename Ready> static void lookFor(Ready ready) {
  auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
  while (!ready() && std::chrono::steady_clock::now() < end)
    for (int i = 0; i < 16; ++i)
      pauseThread();
}

void Team::keep(const Status &status) {
  why = status;
  hasFailed = true;
  changed.notify_all();
}

moert_status Team::barrier() {
  std::unique_lock<std::mutex> lock(mutex);
  if (!why.ok() || threads == 1)
    return why.code();
  if (left > 0) {
    keep(Status::error(MOERT_ERROR_INTERNAL,
                       "a thread left the program before a barrier"));
    return why.code();
  }
  if (++arrived == threads) {
    arrived = 0;
    ++round;
    changed.notify_all();
    return MOERT_OK;
  }
  uint64_t mine = round;
  if (looks) {
    lock.unlock();
    lookFor([&] { return round != mine || hasFailed; });
    lock.lock();
  }
  changed.wait(lock, [&] { return round != mine || !why.ok(); });
  return round != mine ? MOERT_OK : why.code();
}

bool Team::fail(const Status &status) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!why.ok())
    return false;
  keep(status);
  return true;
}

void Team::leave() {
  std::lock_guard<std::mutex> lock(mutex);
  ++left;
  if (arrived > 0 && why.ok()) {
    keep(Status::error(MOERT_ERROR_INTERNAL,
                       "a thread left the program before a barrier"));
  }
}

void Team::reset() {
  std::lock_guard<std::mutex> lock(mutex);
  arrived = 0;
  left = 0;
  hasFailed = false;
  why = Status();
}

Status Team::status() const {
  std::lock_guard<std::mutex> lock(mutex);
  return why;
}

Result<std::unique_ptr<WorkerPool>> WorkerPool::start(int ranks, int threads,
                                                      bool looks) {
  std::unique_ptr<WorkerPool> pool(new WorkerPool(looks));
  try {
    for (int rank = 0; rank < ranks; ++rank)
      for (int thread = 0; thread < threads; ++thread)
        if (rank > 0 || thread > 0)
          pool->workers.emplace_back(
              [raw = pool.get(), rank, thread] { raw->work(rank, thread); });
  } catch (const std::system_error &error) {
    return Status::error(MOERT_ERROR_OUT_OF_MEMORY, "cannot start ",
                         ranks * threads, " threads (", ranks, " ranks of ",
                         threads, "): ", error.code().message());
  }
  return pool;
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
    begun.notify_all();
  }
  for (std::thread &worker : workers)
    worker.join();
}

void WorkerPool::work(int rank, int thread) {
  std::string name = concat("moert r", rank, " t", thread).substr(0, 15);
  ::pthread_setname_np(::pthread_self(), name.c_str());
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    if (looks && seen > 0) {
      lock.unlock();
      lookFor([&] { return generation != seen; });
      lock.lock();
    }
    begun.wait(lock, [&] { return stopping || generation != seen; });
    if (stopping)
      return;
    seen = generation;
    const Job *job = current;
    lock.unlock();
    (*job)(rank, thread);
    lock.lock();
    if (--running == 0)
      done.notify_all();
  }
}

// A thread that is woken may be queued behind the one that wakes it, although
// another processor is idle, and then waits for milliseconds. Where each thread
// can have a processor, workers leave the caller's to it.
void WorkerPool::avoidCaller() {
  int processor = ::sched_getcpu();
  cpu_set_t set;
  if (processor < 0 || processor == callersProcessor || workers.empty() ||
      ::sched_getaffinity(0, sizeof(set), &set) != 0 ||
      static_cast<size_t>(CPU_COUNT(&set)) <= workers.size())
    return;
  CPU_CLR(processor, &set);
  for (std::thread &worker : workers)
    ::pthread_setaffinity_np(worker.native_handle(), sizeof(set), &set);
  callersProcessor = processor;
}

void WorkerPool::run(const Job &job) {
  if (looks)
    avoidCaller();
  std::unique_lock<std::mutex> lock(mutex);
  current = &job;
  running = workers.size();
  ++generation;
  begun.notify_all();
  lock.unlock();
  job(0, 0);
  if (looks)
    lookFor([&] { return running == 0; });
  lock.lock();
  done.wait(lock, [&] { return running == 0; });
  current = nullptr;
}

int moert::processorCount() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

int moert::defaultThreads(int ranks) {
  return std::max(1, processorCount() / ranks);
}
