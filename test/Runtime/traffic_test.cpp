// What a rank's calls send, and how much of it leaves its node.
#include "comm/traffic.h"

#include <gtest/gtest.h>

using namespace moert;

namespace {
struct TrafficTest : testing::Test {
  // Two nodes of two ranks; one group of all.
  Topology topology{{2, 2}, {{0, 1}}};
};
} // namespace

TEST_F(TrafficTest, RowsOfAnExchangeByDestination) {
  Traffic traffic(topology, 1, {0});
  const int32_t sent[] = {1, 7, 2, 4}, received[] = {0, 7, 0, 0};
  Collective call{.kind = CollectiveKind::AllToAllV,
                  .row = 3,
                  .sendCounts = sent,
                  .recvCounts = received};
  traffic.begin();
  traffic.count(call);
  ASSERT_EQ(traffic.sent().size(), 1u);
  EXPECT_EQ(traffic.sent()[0].kind, CollectiveKind::AllToAllV);
  EXPECT_EQ(traffic.sent()[0].bytes, (1 + 2 + 4) * 3 * 4);
  EXPECT_EQ(traffic.sent()[0].bytesBetweenNodes, (2 + 4) * 3 * 4);
}

TEST_F(TrafficTest, SharesOfASumGoThereAndBack) {
  // Five elements over four ranks: shares of 2, 1, 1 and 1.
  Collective call{.kind = CollectiveKind::AllReduce, .count = 5};
  Traffic first(topology, 0, {0}), last(topology, 3, {0});
  first.count(call);
  last.count(call);
  EXPECT_EQ(first.sent()[0].bytes, (1 + 1 + 1) * 4 + 3 * 2 * 4);
  EXPECT_EQ(last.sent()[0].bytes, (2 + 1 + 1) * 4 + 3 * 1 * 4);
}

TEST_F(TrafficTest, EveryRunAddsToTheSameCalls) {
  Traffic traffic(topology, 0, {});
  Collective counts{.kind = CollectiveKind::AllToAll, .count = 2},
      rows{.kind = CollectiveKind::AllGather, .count = 10};
  for (int run = 0; run < 3; ++run) {
    traffic.begin();
    traffic.count(counts);
    traffic.count(rows);
  }
  ASSERT_EQ(traffic.sent().size(), 2u);
  EXPECT_EQ(traffic.sent()[0].calls, 3);
  EXPECT_EQ(traffic.sent()[0].bytes, 3 * 3 * 2 * 4);
  EXPECT_EQ(traffic.sent()[1].bytes, 3 * 3 * 10 * 4);
  // Without node axes all ranks are on one node.
  EXPECT_EQ(traffic.sent()[1].bytesBetweenNodes, 0);
}
