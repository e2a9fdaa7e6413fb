#include "on_streams.h"

#include "comm/local.h"
#include "staged.h"

#include <thread>

using namespace moert;
using namespace moert::test;

void moert::test::runOnStreams(const Devices &devices, const Topology &topology,
                               double timeoutSeconds, const RankBody &body) {
  LocalWorld world(topology, timeoutSeconds);
  runOnThreads(devices, topology, [&](StagedRank &mine, int rank) {
    body(*mine.endpoint(world), rank);
  });
}

void moert::test::runOnThreads(const Devices &devices, const Topology &topology,
                               const StagedBody &body) {
  std::vector<std::unique_ptr<StagedRank>> ranks;
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    Result<std::unique_ptr<StagedRank>> made = StagedRank::make(
        devices[static_cast<size_t>(rank) % devices.size()], topology, rank);
    ASSERT_TRUE(made.ok()) << made.status().message();
    ranks.push_back(std::move(*made));
  }
  std::vector<std::thread> threads;
  for (int rank = 0; rank < topology.ranks(); ++rank)
    threads.emplace_back([&, rank] {
      StagedRank &mine = *ranks[static_cast<size_t>(rank)];
      ASSERT_TRUE(mine.enter().ok());
      body(mine, rank);
    });
  for (std::thread &thread : threads)
    thread.join();
  // After a failure streams may still copy from each other's memory.
  for (std::unique_ptr<StagedRank> &rank : ranks)
    EXPECT_TRUE(rank->enter().ok() && rank->finish().ok());
}
