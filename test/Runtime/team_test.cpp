#include "aligned_buffer.h"
#include "team.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <gtest/gtest.h>
#include <thread>

using namespace moert;

namespace {

double processorSeconds() {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         1e-9 * static_cast<double>(time.tv_nsec);
}

class Waiting : public testing::TestWithParam<bool> {};

// Whoever waits for long leaves the processor to others.
TEST_P(Waiting, CostsNoProcessorTime) {
  Team team(2, GetParam());
  double used = 1;
  std::thread early([&] {
    double begin = processorSeconds();
    EXPECT_EQ(team.barrier(), MOERT_OK);
    used = processorSeconds() - begin;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(team.barrier(), MOERT_OK);
  early.join();
  EXPECT_LT(used, 0.03);
}

TEST_P(Waiting, SeesEveryRound) {
  constexpr int threads = 3, rounds = 300;
  Team team(threads, GetParam());
  std::atomic<int> arrived = 0;
  std::atomic<bool> wrong = false;
  auto work = [&] {
    for (int round = 1; round <= rounds; ++round) {
      ++arrived;
      if (team.barrier() != MOERT_OK || arrived < round * threads)
        wrong = true;
      if (team.barrier() != MOERT_OK)
        wrong = true;
    }
  };
  std::thread second(work), third(work);
  work();
  second.join();
  third.join();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(arrived, threads * rounds);
}

TEST_P(Waiting, EndsWhenAThreadFailsOrLeaves) {
  Team team(2, GetParam());
  moert_status waited = MOERT_OK;
  std::thread early([&] { waited = team.barrier(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(team.fail(Status::error(MOERT_ERROR_PROGRAM, "fails")));
  early.join();
  EXPECT_EQ(waited, MOERT_ERROR_PROGRAM);
  team.reset();
  std::thread alone([&] { waited = team.barrier(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  team.leave();
  alone.join();
  EXPECT_EQ(waited, MOERT_ERROR_INTERNAL);
}

TEST_P(Waiting, PoolRunsEachJobOnEachWorkerOnce) {
  Result<std::unique_ptr<WorkerPool>> pool =
      WorkerPool::start(2, 2, GetParam());
  ASSERT_TRUE(pool.ok());
  for (int job = 0; job < 300; ++job) {
    std::atomic<int> runs = 0;
    (*pool)->run(
        [&](int rank, int thread) { runs += 1 << (8 * rank + thread); });
    ASSERT_EQ(runs, 0x303);
  }
}

INSTANTIATE_TEST_SUITE_P(Team, Waiting, testing::Bool());

TEST(AlignedBuffer, LargeOnesBeginOnALargePage) {
  constexpr int64_t largePage = int64_t(2) << 20;
  Result<AlignedBuffer> small = AlignedBuffer::allocate(100, "a small one");
  Result<AlignedBuffer> large =
      AlignedBuffer::allocate(16 * largePage + 1, "a large one");
  ASSERT_TRUE(small.ok() && large.ok());
  auto address = [](const AlignedBuffer &buffer) {
    return reinterpret_cast<uintptr_t>(buffer.data());
  };
  EXPECT_EQ(address(*small) % 64, 0u);
  EXPECT_EQ(address(*large) % largePage, 0u);
  EXPECT_EQ(large->size(), 16 * largePage + 1);
}

} // namespace
