#include "conformance.h"

#include "dtype.h"

#include <chrono>
#include <cstring>
#include <thread>

using namespace moert;
using namespace moert::test;

namespace {

// Groups over every set of axes, the empty one included.
Topology mesh(std::vector<int64_t> shape) {
  std::vector<std::vector<int>> groups;
  for (unsigned set = 0; set < 1u << shape.size(); ++set) {
    std::vector<int> axes;
    for (size_t axis = 0; axis < shape.size(); ++axis)
      if (set >> axis & 1)
        axes.push_back(static_cast<int>(axis));
    groups.push_back(axes);
  }
  // Members in another order than ranks.
  if (shape.size() > 1)
    groups.push_back({1, 0});
  return Topology(std::move(shape), std::move(groups));
}

std::vector<Topology> meshes() {
  return {mesh({1}),    mesh({2}),    mesh({3}),
          mesh({2, 2}), mesh({4, 2}), mesh({2, 2, 2})};
}

constexpr moert_dtype AllDtypes[] = {MOERT_F32, MOERT_BF16, MOERT_F16,
                                     MOERT_I32, MOERT_I64};

// What rank `rank` holds at element i: sums of these round in every float type.
float valueAt(int rank, int64_t i) {
  return static_cast<float>((rank * 37 + i * 11) % 64) + 0.125f * (rank % 8) -
         20;
}

// Elements, and more that nobody may touch.
class Buffer {
public:
  Buffer(moert_dtype dtype, int64_t count)
      : dtype(dtype), count(count),
        bytes(static_cast<size_t>(count) * dtypeSize(dtype) + 512, 0x5a) {}

  void set(int64_t i, float value) {
    int32_t word = static_cast<int32_t>(value);
    int64_t longWord = word;
    uint16_t half =
        dtype == MOERT_BF16 ? floatToBf16(value) : floatToF16(value);
    const void *from = dtype == MOERT_F32   ? static_cast<void *>(&value)
                       : dtype == MOERT_I32 ? static_cast<void *>(&word)
                       : dtype == MOERT_I64 ? static_cast<void *>(&longWord)
                                            : static_cast<void *>(&half);
    std::memcpy(&bytes[static_cast<size_t>(i) * dtypeSize(dtype)], from,
                dtypeSize(dtype));
  }
  float get(int64_t i) const {
    return static_cast<float>(
        elementAsDouble(fileDtype(dtype), bytes.data(), i));
  }
  void *data() { return bytes.data(); }
  bool operator==(const Buffer &other) const { return bytes == other.bytes; }

  moert_dtype dtype;
  int64_t count;
  std::vector<unsigned char> bytes;
};

// A rank's `count` elements from `begin` of what it holds.
void fill(Buffer &buffer, int64_t at, int rank, int64_t begin, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    buffer.set(at + i, valueAt(rank, begin + i));
}

// The sum that the contract asks for: f32, in member order, rounded once.
void fillSum(Buffer &buffer, int64_t at, const std::vector<int> &ranks,
             int64_t begin, int64_t count) {
  Buffer one(buffer.dtype, 1);
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (size_t member = 0; member < ranks.size(); ++member) {
      one.set(0, valueAt(ranks[member], begin + i));
      sum = member == 0 ? one.get(0) : sum + one.get(0);
    }
    buffer.set(at + i, sum);
  }
}

// What one rank puts in and expects for one call.
struct Exchange {
  Collective call;
  Buffer send, recv, expected;
  std::vector<int32_t> sendCounts, recvCounts;

  Exchange(CollectiveKind kind, int group, moert_dtype dtype, int64_t sendSize,
           int64_t recvSize)
      : send(dtype, sendSize), recv(dtype, recvSize),
        expected(dtype, recvSize) {
    call.kind = kind;
    call.group = group;
    call.dtype = dtype;
  }
  Status run(Communicator &communicator) {
    call.send = send.data();
    call.recv = recv.data();
    call.sendCounts = sendCounts.data();
    call.recvCounts = recvCounts.data();
    return communicator.collective(call);
  }
};

Exchange makeFixed(CollectiveKind kind, const Topology &topology, int group,
                   int rank, moert_dtype dtype, int64_t count) {
  const std::vector<int> &ranks = topology.members(group, rank);
  int64_t n = static_cast<int64_t>(ranks.size());
  int64_t me = topology.indexIn(group, rank);
  bool sendsAll =
      kind == CollectiveKind::ReduceScatter || kind == CollectiveKind::AllToAll;
  bool gets =
      kind == CollectiveKind::AllGather || kind == CollectiveKind::AllToAll;
  Exchange exchange(kind, group, dtype, sendsAll ? n * count : count,
                    gets ? n * count : count);
  exchange.call.count = count;
  fill(exchange.send, 0, rank, 0, exchange.send.count);
  if (kind == CollectiveKind::AllReduce)
    fillSum(exchange.expected, 0, ranks, 0, count);
  if (kind == CollectiveKind::ReduceScatter)
    fillSum(exchange.expected, 0, ranks, me * count, count);
  for (int64_t p = 0; p < n && gets; ++p)
    fill(exchange.expected, p * count, ranks[p],
         kind == CollectiveKind::AllToAll ? me * count : 0, count);
  return exchange;
}

// Rows from rank `from` to rank `to` for one inner entry: many are 0.
int32_t rowsBetween(int from, int to, int64_t entry) {
  return static_cast<int32_t>((from * 5 + to * 3 + entry * 2) % 4);
}

int64_t total(const std::vector<int32_t> &counts, int64_t begin, int64_t size) {
  int64_t sum = 0;
  for (int64_t i = begin; i < begin + size; ++i)
    sum += counts[i];
  return sum;
}

// all_gather_v and reduce_scatter_v: every member knows all counts.
Exchange makeShared(CollectiveKind kind, const Topology &topology, int group,
                    int rank, moert_dtype dtype, int64_t row, int64_t inner) {
  const std::vector<int> &ranks = topology.members(group, rank);
  int64_t n = static_cast<int64_t>(ranks.size());
  int64_t me = topology.indexIn(group, rank);
  std::vector<int32_t> counts;
  for (int member : ranks)
    for (int64_t entry = 0; entry < inner; ++entry)
      counts.push_back(rowsBetween(member, 1, entry));
  int64_t mine = total(counts, me * inner, inner) * row;
  int64_t all = total(counts, 0, n * inner) * row;
  int64_t before = total(counts, 0, me * inner) * row;
  bool gathers = kind == CollectiveKind::AllGatherV;
  Exchange exchange(kind, group, dtype, gathers ? mine : all,
                    gathers ? all : mine);
  exchange.call.row = row;
  exchange.call.inner = inner;
  exchange.sendCounts = counts;
  fill(exchange.send, 0, rank, 0, exchange.send.count);
  if (!gathers) {
    fillSum(exchange.expected, 0, ranks, before, mine);
    return exchange;
  }
  int64_t at = 0;
  for (int64_t p = 0; p < n; ++p) {
    int64_t size = total(counts, p * inner, inner) * row;
    fill(exchange.expected, at, ranks[p], 0, size);
    at += size;
  }
  return exchange;
}

Exchange makeAllToAllV(const Topology &topology, int group, int rank,
                       moert_dtype dtype, int64_t row, int64_t inner) {
  const std::vector<int> &ranks = topology.members(group, rank);
  int64_t n = static_cast<int64_t>(ranks.size());
  auto countsFrom = [&](int from) {
    std::vector<int32_t> counts;
    for (int to : ranks)
      for (int64_t entry = 0; entry < inner; ++entry)
        counts.push_back(rowsBetween(from, to, entry));
    return counts;
  };
  std::vector<int32_t> sendCounts = countsFrom(rank), recvCounts;
  for (int from : ranks)
    for (int64_t entry = 0; entry < inner; ++entry)
      recvCounts.push_back(rowsBetween(from, rank, entry));
  Exchange exchange(CollectiveKind::AllToAllV, group, dtype,
                    total(sendCounts, 0, n * inner) * row,
                    total(recvCounts, 0, n * inner) * row);
  exchange.call.row = row;
  exchange.call.inner = inner;
  exchange.sendCounts = sendCounts;
  exchange.recvCounts = recvCounts;
  fill(exchange.send, 0, rank, 0, exchange.send.count);
  int64_t me = topology.indexIn(group, rank), at = 0;
  for (int64_t p = 0; p < n; ++p) {
    std::vector<int32_t> theirs = countsFrom(ranks[p]);
    int64_t size = total(theirs, me * inner, inner) * row;
    fill(exchange.expected, at, ranks[p], total(theirs, 0, me * inner) * row,
         size);
    at += size;
  }
  return exchange;
}

std::string describe(const Exchange &exchange, int rank) {
  return concat(collectiveName(exchange.call.kind), " of ",
                dtypeName(exchange.call.dtype), " on group ",
                exchange.call.group, ", count ", exchange.call.count, ", rank ",
                rank);
}

void check(Communicator &communicator, Exchange exchange, int rank) {
  Buffer sent = exchange.send;
  Status status = exchange.run(communicator);
  ASSERT_TRUE(status.ok()) << describe(exchange, rank) << ": "
                           << status.message();
  ASSERT_TRUE(exchange.recv == exchange.expected) << describe(exchange, rank);
  ASSERT_TRUE(exchange.send == sent) << describe(exchange, rank);
}

// One for each rank, to outlive a failure: others may still read the buffers.
std::vector<Exchange>
exchangesOf(const Topology &topology,
            const std::function<Exchange(int rank)> &make) {
  std::vector<Exchange> exchanges;
  for (int rank = 0; rank < topology.ranks(); ++rank)
    exchanges.push_back(make(rank));
  return exchanges;
}

// The status that every rank of a failed collective gets: the failure itself or
// that another rank had it.
void expectFailure(const Status &status, moert_status code,
                   const std::string &text) {
  EXPECT_TRUE(status.code() == code || status.code() == MOERT_ERROR_ABORTED)
      << status.message();
  EXPECT_NE(status.message().find(text), std::string::npos)
      << "got: " << status.message() << "\nexpected: " << text;
}

} // namespace

TEST_P(CommunicatorTest, FixedSizesOnEveryGroupAndType) {
  for (const Topology &topology : meshes())
    onRanks(topology, [&](Communicator &communicator, int rank) {
      for (CollectiveKind kind :
           {CollectiveKind::AllReduce, CollectiveKind::AllGather,
            CollectiveKind::ReduceScatter, CollectiveKind::AllToAll})
        for (int group = 0; group < topology.groupCount(); ++group)
          for (moert_dtype dtype : AllDtypes)
            for (int64_t count : {0, 1, 7, 3000})
              if (takes(kind, dtype))
                check(communicator,
                      makeFixed(kind, topology, group, rank, dtype, count),
                      rank);
    });
}

TEST_P(CommunicatorTest, CountedRowsOnEveryGroupAndType) {
  for (const Topology &topology : meshes())
    onRanks(topology, [&](Communicator &communicator, int rank) {
      for (int group = 0; group < topology.groupCount(); ++group)
        for (moert_dtype dtype : AllDtypes)
          for (int64_t inner : {0, 1, 3})
            for (int64_t row : {0, 1, 5}) {
              check(communicator,
                    makeShared(CollectiveKind::AllGatherV, topology, group,
                               rank, dtype, row, inner),
                    rank);
              if (takes(CollectiveKind::ReduceScatterV, dtype))
                check(communicator,
                      makeShared(CollectiveKind::ReduceScatterV, topology,
                                 group, rank, dtype, row, inner),
                      rank);
              check(communicator,
                    makeAllToAllV(topology, group, rank, dtype, row, inner),
                    rank);
            }
    });
}

TEST_P(CommunicatorTest, SumsAreRoundedOnceInMemberOrder) {
  Topology topology = mesh({4});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    // In f32 the small numbers are lost beside the large one, until it is gone.
    float floats[] = {1e8f, 3, -1e8f, 3};
    float sum = 0;
    Collective call;
    call.group = 1;
    call.count = 1;
    call.send = &floats[rank];
    call.recv = &sum;
    ASSERT_TRUE(communicator.collective(call).ok());
    EXPECT_EQ(sum, 3);
    // In bf16 each 1 would be lost beside 256; their f32 sum is not.
    uint16_t halves[] = {floatToBf16(256), floatToBf16(1), floatToBf16(1),
                         floatToBf16(0)};
    uint16_t halfSum = 0;
    call.dtype = MOERT_BF16;
    call.send = &halves[rank];
    call.recv = &halfSum;
    ASSERT_TRUE(communicator.collective(call).ok());
    EXPECT_EQ(bf16ToFloat(halfSum), 258);
  });
}

TEST_P(CommunicatorTest, AllReduceMayBeInPlace) {
  Topology topology = mesh({2, 2});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    Exchange exchange =
        makeFixed(CollectiveKind::AllReduce, topology, 3, rank, MOERT_F32, 101);
    exchange.call.send = exchange.call.recv = exchange.send.data();
    ASSERT_TRUE(communicator.collective(exchange.call).ok());
    EXPECT_TRUE(exchange.send == exchange.expected);
  });
}

TEST_P(CommunicatorTest, ManyRoundsOnChangingGroups) {
  Topology topology = mesh({4, 2});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    for (int round = 0; round < 300 && !testing::Test::HasFailure(); ++round) {
      int group = round % topology.groupCount();
      check(communicator,
            makeAllToAllV(topology, group, rank, MOERT_I32, 1 + round % 3, 2),
            rank);
      check(communicator,
            makeFixed(CollectiveKind::AllReduce, topology, group, rank,
                      MOERT_F32, round % 17),
            rank);
    }
  });
}

TEST_P(CommunicatorTest, PointToPointRing) {
  Topology topology = mesh({3});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    for (int64_t count : {0, 1, 1000})
      for (int turn = 0; turn < 3; ++turn) {
        Buffer mine(MOERT_F32, count), theirs(MOERT_F32, count),
            expected(MOERT_F32, count);
        fill(mine, 0, rank, turn, count);
        fill(expected, 0, (rank + 2) % 3, turn, count);
        auto send = [&] {
          return communicator.collective({.kind = CollectiveKind::Send,
                                          .group = 1,
                                          .count = count,
                                          .send = mine.data(),
                                          .peer = (rank + 1) % 3});
        };
        auto receive = [&] {
          return communicator.collective({.kind = CollectiveKind::Recv,
                                          .group = 1,
                                          .count = count,
                                          .recv = theirs.data(),
                                          .peer = (rank + 2) % 3});
        };
        // Both block: one rank has to receive first.
        Status first = rank == 0 ? receive() : send();
        Status second = rank == 0 ? send() : receive();
        ASSERT_TRUE(first.ok()) << first.message();
        ASSERT_TRUE(second.ok()) << second.message();
        EXPECT_TRUE(theirs == expected);
      }
  });
}

TEST_P(CommunicatorTest, CountsWhatLeavesTheRank) {
  Topology topology = mesh({4});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    auto moved = [&](CollectiveKind kind) {
      return communicator.counters()[static_cast<size_t>(kind)];
    };
    for (CollectiveKind kind :
         {CollectiveKind::AllReduce, CollectiveKind::AllGather,
          CollectiveKind::ReduceScatter, CollectiveKind::AllToAll}) {
      check(communicator, makeFixed(kind, topology, 1, rank, MOERT_F32, 8),
            rank);
      // Three others; all_reduce sends its shares, then the summed ones.
      int64_t bytes =
          kind == CollectiveKind::AllReduce ? 2 * 3 * 2 * 4 : 3 * 8 * 4;
      EXPECT_EQ(moved(kind).calls, 1);
      EXPECT_EQ(moved(kind).bytesSent, bytes) << collectiveName(kind);
      EXPECT_EQ(moved(kind).bytesReceived, bytes) << collectiveName(kind);
    }
    check(communicator, makeAllToAllV(topology, 1, rank, MOERT_I64, 2, 1),
          rank);
    int64_t sent = 0, received = 0;
    for (int peer = 0; peer < 4; ++peer) {
      sent += peer == rank ? 0 : rowsBetween(rank, peer, 0) * 16;
      received += peer == rank ? 0 : rowsBetween(peer, rank, 0) * 16;
    }
    EXPECT_EQ(moved(CollectiveKind::AllToAllV).bytesSent, sent);
    EXPECT_EQ(moved(CollectiveKind::AllToAllV).bytesReceived, received);
  });
}

TEST_P(CommunicatorTest, DisagreementsAreNamed) {
  if (!GetParam().comparesCalls)
    GTEST_SKIP() << "calls are not compared";
  struct Case {
    std::function<void(Exchange &)> change; // on rank 1
    const char *text;
  };
  Case cases[] = {
      {[](Exchange &e) { e.sendCounts[2] = 9; },
       "all_to_all_v on group 1: rank 1 sends 9 rows to rank 2, which expects"},
      {[](Exchange &e) { e.recvCounts[0] = 8; },
       "all_to_all_v on group 1: rank 0 sends 3 rows to rank 1, which expects "
       "8"},
      {[](Exchange &e) { e.call.dtype = MOERT_BF16; },
       "all_to_all_v on group 1: rank 1 sends bf16, rank 0 expects f32"},
      {[](Exchange &e) { e.call.row = 1; },
       "all_to_all_v on group 1: rank 1 sends rows of 1 elements, rank 0 "
       "expects 2"},
      {[](Exchange &e) {
         e.call.kind = CollectiveKind::AllReduce;
         e.call.count = 1;
       },
       "rank 0 is in all_to_all_v on group 1, rank 1 in all_reduce"},
  };
  Topology topology = mesh({3});
  for (const Case &item : cases) {
    std::vector<Exchange> exchanges = exchangesOf(topology, [&](int rank) {
      return makeAllToAllV(topology, 1, rank, MOERT_F32, 2, 1);
    });
    item.change(exchanges[1]);
    onRanks(topology, [&](Communicator &communicator, int rank) {
      expectFailure(exchanges[rank].run(communicator), MOERT_ERROR_COLLECTIVE,
                    item.text);
    });
  }
}

TEST_P(CommunicatorTest, DifferentSizesAreNamed) {
  if (!GetParam().comparesCalls)
    GTEST_SKIP() << "calls are not compared";
  Topology topology = mesh({3});
  std::vector<Exchange> exchanges = exchangesOf(topology, [&](int rank) {
    return makeFixed(CollectiveKind::AllReduce, topology, 1, rank, MOERT_F32,
                     rank == 2 ? 6 : 5);
  });
  onRanks(topology, [&](Communicator &communicator, int rank) {
    expectFailure(exchanges[rank].run(communicator), MOERT_ERROR_COLLECTIVE,
                  "all_reduce on group 1: rank 2 sends 6 elements, rank 0 "
                  "expects 5");
  });
}

TEST_P(CommunicatorTest, AbortReleasesTheOthers) {
  Topology topology = mesh({4});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    if (rank == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      communicator.abort(Status::error(MOERT_ERROR_PROGRAM, "no luck"));
      return;
    }
    Exchange exchange =
        makeFixed(CollectiveKind::AllGather, topology, 1, rank, MOERT_F32, 4);
    for (int i = 0; i < 2; ++i) { // later calls end at once as well
      Status status = exchange.run(communicator);
      EXPECT_EQ(status.code(), MOERT_ERROR_ABORTED);
      EXPECT_EQ(status.message(), "ended because rank 2 failed: no luck");
    }
  });
}

TEST_P(CommunicatorTest, RanksThatHaveEndedAreNotWaitedFor) {
  if (!GetParam().comparesCalls)
    GTEST_SKIP() << "calls are not compared";
  Topology topology = mesh({3});
  onRanks(topology, [&](Communicator &communicator, int rank) {
    if (rank == 1)
      return communicator.leave();
    Exchange exchange =
        makeFixed(CollectiveKind::AllGather, topology, 1, rank, MOERT_F32, 4);
    expectFailure(exchange.run(communicator), MOERT_ERROR_COLLECTIVE,
                  "all_gather on group 1 waits for rank 1, which has ended its "
                  "program");
  });
  onRanks(topology, [&](Communicator &communicator, int rank) {
    if (rank == 1)
      return communicator.leave();
    Collective call;
    call.kind = rank == 0 ? CollectiveKind::Send : CollectiveKind::Recv;
    call.group = 1;
    call.peer = 1;
    Status status = communicator.collective(call);
    EXPECT_NE(status.message().find("waits for rank 1, which has ended its "
                                    "program"),
              std::string::npos)
        << status.message();
  });
}

TEST_P(CommunicatorTest, LateRanksAreNamed) {
  Topology topology = mesh({2, 2});
  onRanks(
      topology,
      [&](Communicator &communicator, int rank) {
        if (rank == 3)
          return;
        // Rank 1 waits on the second axis for rank 0, which waits for all.
        int group = rank == 1 ? 2 : 3;
        Exchange exchange = makeFixed(CollectiveKind::AllReduce, topology,
                                      group, rank, MOERT_F32, 4);
        Status status = exchange.run(communicator);
        EXPECT_TRUE(status.code() == MOERT_ERROR_TIMEOUT ||
                    status.code() == MOERT_ERROR_ABORTED);
        EXPECT_NE(status.message().find("waited 1 s: "), std::string::npos)
            << status.message();
        // Who gives up first names who it waits for.
        bool namesThree = status.message().find("rank 3 is in no collective") !=
                          std::string::npos;
        bool namesZero =
            status.message().find("rank 0 waits in all_reduce on group 3") !=
            std::string::npos;
        EXPECT_TRUE(namesThree || namesZero) << status.message();
      },
      1); // memory of a GPU takes its time
}

TEST_P(CommunicatorTest, ImpossibleCallsAreRefused) {
  Topology topology = mesh({2});
  std::vector<std::pair<Collective, const char *>> cases = {
      {{.group = 2}, "all_reduce on group 2, the artifact has 2"},
      {{.group = -1}, "all_reduce on group -1, the artifact has 2"},
      {{.group = 1, .count = -1}, "all_reduce of -1 rows of 1 elements"},
      {{.group = 1, .count = INT64_MAX / 2}, "rows of 1 elements"},
      {{.kind = CollectiveKind::AllGatherV, .group = 1}, "counts are missing"},
      {{.kind = CollectiveKind::Send, .group = 1, .peer = 2},
       "send on group 1 with member 2 of 2"},
  };
  for (const auto &[call, text] : cases)
    onRanks(topology, [&](Communicator &communicator, int rank) {
      expectFailure(communicator.collective(call), MOERT_ERROR_INTERNAL, text);
    });
  onRanks(topology, [&](Communicator &communicator, int rank) {
    int32_t counts[] = {1, -4};
    expectFailure(communicator.collective({.kind = CollectiveKind::AllGatherV,
                                           .group = 1,
                                           .sendCounts = counts}),
                  MOERT_ERROR_COLLECTIVE,
                  "all_gather_v on group 1: count 1 is -4");
  });
}
