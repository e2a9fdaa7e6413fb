// The suite on threads of this process, and what only they have.
#include "comm/local.h"
#include "conformance.h"

#include <thread>

using namespace moert;
using namespace moert::test;

static void runOn(LocalWorld &world, int ranks, const RankBody &body) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back(
        [&world, &body, rank] { body(*world.endpoint(rank), rank); });
  for (std::thread &thread : threads)
    thread.join();
}

static void runLocally(const Topology &topology, double timeoutSeconds,
                       const RankBody &body) {
  LocalWorld world(topology, timeoutSeconds);
  runOn(world, topology.ranks(), body);
}

INSTANTIATE_TEST_SUITE_P(Local, CommunicatorTest,
                         testing::Values(CommunicatorBackend{
                             "local", [](int) { return true; }, runLocally}),
                         testing::PrintToStringParamName());

TEST(LocalWorld, WorksAgainAfterAReset) {
  Topology topology({3}, {{0}});
  LocalWorld world(topology, 0.1);
  EXPECT_TRUE(world.failure().ok());
  auto reduce = [](Communicator &communicator, float &value) {
    return communicator.collective(
        {.count = 1, .send = &value, .recv = &value});
  };
  runOn(world, 3, [&](Communicator &communicator, int rank) {
    float value = 1;
    if (rank != 1)
      EXPECT_FALSE(reduce(communicator, value).ok());
  });
  EXPECT_EQ(world.failure().code(), MOERT_ERROR_TIMEOUT);
  EXPECT_TRUE(world.reset().ok());
  EXPECT_TRUE(world.failure().ok());
  runOn(world, 3, [&](Communicator &communicator, int rank) {
    float value = static_cast<float>(rank);
    EXPECT_TRUE(reduce(communicator, value).ok());
    EXPECT_EQ(value, 3);
  });
}
