// The suite on GPUs; no compiler, CUDA header or artifact is needed where it
// runs. Started alone: ranks are threads with a stream each, on one GPU, on all
// that there are, and with a GPU each over NCCL. Started as one of several
// processes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, or by a launcher):
// they are the ranks, NCCL moves the data, and each takes the GPU of its number
// on its host, as far as there are.
//
//   cuda-conformance [--measure=FILE] [--gtest_...]
//
// --measure: times the collectives instead, and rank 0 writes them as JSON.
#include "comm/nccl.h"
#include "cuda/context.h"
#include "cuda/device_choice.h"
#include "cuda/graph.h"
#include "measure.h"
#include "on_streams.h"
#include "staged.h"

#include <cstdlib>
#include <numeric>
#include <optional>
#include <thread>

using namespace moert;
using namespace moert::test;

#ifdef MOERT_FAKE_NCCL
// Without a GPU: with stand-ins for the driver and for NCCL.
static const SumImage F32Image = {"fake", "sum_f32"};
static const SumImage Bf16Image = {"fake", "sum_bf16"};
static const bool UsesFakes = [] {
  return ::setenv("MOERT_CUDA_LIB", MOERT_FAKE_CUDA, 1) == 0 &&
         ::setenv("MOERT_NCCL_LIB", MOERT_FAKE_NCCL, 1) == 0;
}();
#else
// Of the compiler, as text that the driver compiles.
asm(".pushsection .rodata\n"
    "MoertTestSumF32: .incbin \"" MOERT_SUM_F32 "\"\n.byte 0\n"
    "MoertTestSumBf16: .incbin \"" MOERT_SUM_BF16 "\"\n.byte 0\n"
    ".popsection");
extern "C" const char MoertTestSumF32[], MoertTestSumBf16[];
static const SumImage F32Image = {MoertTestSumF32, "sum_ranks"};
static const SumImage Bf16Image = {MoertTestSumBf16, "sum_ranks"};
static const bool UsesFakes = false;
#endif

namespace {

// What this process has all the time: GPUs and, as one of several, the others.
class Process {
public:
  static Process &get() {
    static Process process;
    return process;
  }

  Status start();
  std::string describe() const;
  bool isOneOfSeveral() const { return launch.has_value(); }
  int size() const { return launch ? launch->world : 1; }
  int rank() const { return launch ? launch->rank : 0; }
  const std::shared_ptr<Device> &device() const { return gpus.front(); }
  const Devices &devices() const { return gpus; }

  // All processes are here.
  Status meet() { return others->allGather("a test", "").status(); }
  // A world of the first processes; nothing for the others.
  Result<std::unique_ptr<NcclWorld>> join(const Topology &topology,
                                          double timeoutSeconds);

private:
  std::optional<Launch> launch;
  Devices gpus; // alone: all that there are
  int number = 0;
  std::unique_ptr<Rendezvous> others;
};

} // namespace

Status Process::start() {
  Result<std::optional<Launch>> found =
      discoverLaunch({}, environmentVariables(), [](const std::string &) {});
  if (!found.ok())
    return found.status();
  launch = std::move(*found);
  Result<int> count = cuda::deviceCount();
  if (!count.ok())
    return count.status();
  DeviceUse use;
  use.launch = launch;
  use.ranks = launch ? 1 : *count;
  use.oneEach = true;
  Result<std::vector<int>> numbers = cuda::chooseDevices({}, use);
  if (!numbers.ok())
    return numbers.status();
  number = numbers->front();
  Result<Devices> opened = openSummingDevices(*numbers, F32Image, Bf16Image);
  if (!opened.ok())
    return opened.status();
  gpus = std::move(*opened);
  if (!launch)
    return {};
  RendezvousOptions options;
  options.point = {
      launch->rank, launch->world, {launch->host}, launch->ports, launch->job};
  Result<std::unique_ptr<Rendezvous>> joined =
      Rendezvous::join(std::move(options));
  if (!joined.ok())
    return joined.status();
  others = std::move(*joined);
  return {};
}

std::string Process::describe() const {
  Result<std::shared_ptr<const cuda::NcclLibrary>> nccl =
      cuda::NcclLibrary::open();
  std::string version = nccl.ok() ? (*nccl)->version() : "missing";
  if (!launch)
    return concat(describeDevices(gpus), ", NCCL ", version);
  return concat(device()->name(), ", CUDA device ", number, ", NCCL ", version,
                ", process ", launch->rank, " of ", launch->world);
}

// Rank 0 names a port that is free at that moment.
Result<std::unique_ptr<NcclWorld>> Process::join(const Topology &topology,
                                                 double timeoutSeconds) {
  std::string port;
  if (launch->rank == 0) {
    Result<Socket> socket = listenOn(0, /*onlyThisHost=*/false);
    port = socket.ok() ? concat(portOf(*socket)) : "0";
  }
  Result<std::string> said = others->broadcast("a port", port);
  if (!said.ok())
    return said.status();
  if (launch->rank >= topology.ranks())
    return std::unique_ptr<NcclWorld>();
  NcclOptions options;
  options.launch = launch;
  options.launch->world = topology.ranks();
  options.launch->ports = {std::atoi(said->c_str())};
  options.launch->job += "-" + *said;
  options.timeoutSeconds = timeoutSeconds;
  options.startSeconds = 60;
  return NcclWorld::join(topology, std::move(options));
}

static void runOnOne(const Topology &topology, double timeoutSeconds,
                     const RankBody &body) {
  runOnStreams({Process::get().device()}, topology, timeoutSeconds, body);
}

static void runOnAll(const Topology &topology, double timeoutSeconds,
                     const RankBody &body) {
  runOnStreams(Process::get().devices(), topology, timeoutSeconds, body);
}

static Result<std::unique_ptr<NcclWorld>> joinHere(const Topology &topology,
                                                   double timeoutSeconds) {
  NcclOptions options;
  options.timeoutSeconds = timeoutSeconds;
  options.startSeconds = 60;
  options.enter = [](int rank) {
    return Process::get().devices()[static_cast<size_t>(rank)]->enter();
  };
  return NcclWorld::join(topology, std::move(options));
}

// What a rank does over NCCL.
using NcclBody = std::function<void(StagedRank &, NcclWorld &, int rank)>;

static void withNcclHere(const Topology &topology, double timeoutSeconds,
                         const NcclBody &body) {
  Result<std::unique_ptr<NcclWorld>> world = joinHere(topology, timeoutSeconds);
  ASSERT_TRUE(world.ok()) << world.status().message();
  runOnThreads(Process::get().devices(), topology,
               [&](StagedRank &mine, int rank) { body(mine, **world, rank); });
}

static void withProcesses(const Topology &topology, double timeoutSeconds,
                          const NcclBody &body) {
  Process &process = Process::get();
  int rank = process.rank();
  Result<std::unique_ptr<StagedRank>> mine =
      StagedRank::make(process.device(), topology, rank);
  ASSERT_TRUE(mine.ok()) << mine.status().message();
  {
    Result<std::unique_ptr<NcclWorld>> world =
        process.join(topology, timeoutSeconds);
    EXPECT_TRUE(world.ok()) << world.status().message();
    // A rank that fails at once must not end those that still come.
    ASSERT_TRUE(process.meet().ok());
    if (world.ok() && *world) {
      // Another rank may have failed already; that is the body's to see.
      (void)(*world)->reset();
      body(**mine, **world, rank);
    }
    // Nobody leaves while others may ask for him.
    ASSERT_TRUE(process.meet().ok());
  }
  EXPECT_TRUE((*mine)->finish().ok());
}

// As one of several processes in all of them, else on threads.
static void withNccl(const Topology &topology, double timeoutSeconds,
                     const NcclBody &body) {
  if (Process::get().isOneOfSeveral())
    return withProcesses(topology, timeoutSeconds, body);
  withNcclHere(topology, timeoutSeconds, body);
}

static void runOnNccl(const Topology &topology, double timeoutSeconds,
                      const RankBody &body) {
  withNccl(topology, timeoutSeconds,
           [&](StagedRank &mine, NcclWorld &world, int rank) {
             body(*mine.endpoint(world), rank);
           });
}

static bool hasOneEach(int ranks) {
  return ranks <= static_cast<int>(Process::get().devices().size());
}

static std::vector<CommunicatorBackend> backends() {
  if (Process::get().isOneOfSeveral())
    return {
        {.name = "nccl",
         .supports = [](int ranks) { return ranks <= Process::get().size(); },
         .run = runOnNccl,
         .comparesCalls = false,
         .adds = addsOnDevice}};
  std::vector<CommunicatorBackend> all = {{.name = "streams",
                                           .supports = [](int) { return true; },
                                           .run = runOnOne,
                                           .adds = addsOnDevice}};
  if (cuda::NcclLibrary::open().ok())
    all.push_back({.name = "ncclHere",
                   .supports = hasOneEach,
                   .run = runOnNccl,
                   .comparesCalls = false,
                   .adds = addsOnDevice});
  if (hasOneEach(2))
    all.push_back({.name = "devices",
                   .supports = [](int) { return true; },
                   .run = runOnAll,
                   .adds = addsOnDevice});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cuda, CommunicatorTest, testing::ValuesIn(backends()),
                         testing::PrintToStringParamName());

TEST(Cuda, TypesWithoutAKernelAreNamed) {
  Topology topology({1}, {{0}});
  backends().front().run(topology, 60, [&](Communicator &communicator, int) {
    int32_t value = 1, sum = 0;
    Status status = communicator.collective(
        {.dtype = MOERT_I32, .count = 1, .send = &value, .recv = &sum});
    EXPECT_EQ(status.message(), "the artifact has no kernel that adds i32");
  });
}

static bool hasTwoRanks() {
  return Process::get().isOneOfSeveral() || hasOneEach(2);
}

// Calls are not compared over NCCL, but nobody waits for ever.
TEST(Nccl, WhoHasEndedIsNamedWhenTheTimeIsOver) {
  if (!hasTwoRanks())
    GTEST_SKIP() << "one process with one GPU";
  Topology topology({2}, {{0}});
  runOnNccl(topology, 1, [&](Communicator &communicator, int rank) {
    if (rank == 1)
      return communicator.leave();
    float value = 1, all[2] = {};
    Status status = communicator.collective({.kind = CollectiveKind::AllGather,
                                             .count = 1,
                                             .send = &value,
                                             .recv = all});
    EXPECT_EQ(status.message(),
              "all_gather on group 0, collective 1 of this rank, waited 1 "
              "s: rank 1 has ended its program");
  });
}

// What a rank gets of two, and the sum of both, when each holds `base` + i, and
// rank 1 half more.
static void checkGathered(const std::vector<float> &got, size_t count,
                          float base) {
  for (size_t i = 0; i < count; ++i) {
    float first = base + static_cast<float>(i), second = first + 0.5f;
    ASSERT_EQ(got[i], first) << base;
    ASSERT_EQ(got[count + i], second) << base;
    ASSERT_EQ(got[2 * count + i], first + second) << base;
  }
}

// What dispatch by all_gather and its combine ask for, recorded once in a CUDA
// graph and run with new data each time.
TEST(Nccl, ACapturedGraphMovesWhatIsThereWhenItRuns) {
  if (!hasTwoRanks())
    GTEST_SKIP() << "one process with one GPU";
  Topology topology({2}, {{0}});
  withNccl(topology, 60, [](StagedRank &mine, NcclWorld &world, int rank) {
    constexpr int64_t count = 1000, bytes = count * 4;
    auto &queue = static_cast<cuda::StreamQueue &>(mine.queue());
    std::unique_ptr<Communicator> communicator = mine.bareEndpoint(world);
    Result<void *> send = mine.sendBuffer(bytes),
                   recv = mine.recvBuffer(3 * bytes);
    ASSERT_TRUE(send.ok() && recv.ok());
    float *sums = static_cast<float *>(*recv) + 2 * count;
    auto calls = [&]() -> Status {
      MOERT_TRY(communicator->collective({.kind = CollectiveKind::AllGather,
                                          .count = count,
                                          .send = *send,
                                          .recv = *recv}));
      return communicator->collective({.kind = CollectiveKind::AllReduce,
                                       .count = count,
                                       .send = *send,
                                       .recv = sums});
    };
    std::vector<float> values(count), got(3 * count);
    auto run = [&](float base, const std::function<Status()> &body) -> Status {
      for (size_t i = 0; i < values.size(); ++i)
        values[i] =
            base + static_cast<float>(i) + 0.5f * static_cast<float>(rank);
      MOERT_TRY(queue.fill(*recv, 0xee, 3 * bytes));
      MOERT_TRY(queue.upload(*send, values.data(), bytes));
      MOERT_TRY(body());
      MOERT_TRY(queue.download(got.data(), *recv, 3 * bytes));
      return queue.finish();
    };
    Status status = run(7, calls); // connects, and makes the memory of sums
    ASSERT_TRUE(status.ok()) << status.message();
    checkGathered(got, count, 7);
    Result<cuda::Graph> graph = cuda::Graph::capture(queue, calls);
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    for (float base : {100.0f, 200.0f, 300.0f}) {
      status = run(base, [&] { return graph->launch(queue); });
      ASSERT_TRUE(status.ok()) << status.message();
      checkGathered(got, count, base);
    }
  });
}

TEST(Nccl, RanksOfOneProcessMeetAnewAfterAFailure) {
  if (Process::get().isOneOfSeveral() || !hasOneEach(2))
    GTEST_SKIP() << "one process with several GPUs is needed";
  Topology topology({2}, {{0}});
  Result<std::unique_ptr<NcclWorld>> world = joinHere(topology, 60);
  ASSERT_TRUE(world.ok()) << world.status().message();
  auto gather = [&](StagedRank &mine, int rank) {
    float value = static_cast<float>(rank + 1), all[2] = {};
    Status status =
        mine.endpoint(**world)->collective({.kind = CollectiveKind::AllGather,
                                            .count = 1,
                                            .send = &value,
                                            .recv = all});
    if (status.ok())
      EXPECT_TRUE(all[0] == 1 && all[1] == 2);
    return status;
  };
  for (int round = 0; round < 2; ++round) {
    Status reset = (*world)->reset();
    ASSERT_TRUE(reset.ok()) << reset.message();
    runOnThreads(Process::get().devices(), topology,
                 [&](StagedRank &mine, int rank) {
                   Status status = gather(mine, rank);
                   EXPECT_TRUE(status.ok()) << status.message();
                 });
    ASSERT_TRUE((*world)->reset().ok());
    // One waits in NCCL, and on its stream.
    runOnThreads(Process::get().devices(), topology,
                 [&](StagedRank &mine, int rank) {
                   if (rank == 0) {
                     EXPECT_EQ(gather(mine, rank).message(),
                               "ended because rank 1 failed: no luck");
                     return;
                   }
                   std::this_thread::sleep_for(std::chrono::milliseconds(300));
                   mine.endpoint(**world)->abort(
                       Status::error(MOERT_ERROR_PROGRAM, "no luck"));
                 });
    EXPECT_EQ((*world)->failure().message(), "rank 1: no luck");
  }
}

static int measureAll(const char *file) {
  Process &process = Process::get();
  if (!process.isOneOfSeveral()) {
    std::fprintf(stderr, "error: --measure needs several processes\n");
    return 1;
  }
  Topology topology({process.size()}, {{0}});
  Result<std::unique_ptr<StagedRank>> rank =
      StagedRank::make(process.device(), topology, process.rank());
  Status status = rank.status();
  if (status.ok()) {
    Result<std::unique_ptr<NcclWorld>> world = process.join(topology, 60);
    status = world.ok() ? measureCollectives(process.device(), **rank, **world,
                                             process.rank(), process.size(),
                                             process.describe(), file)
                        : world.status();
  }
  if (!status.ok())
    std::fprintf(stderr, "error: rank %d: %s\n", process.rank(),
                 status.message().c_str());
  return status.ok() ? 0 : 1;
}

// The exit code by which ctest knows a test that was skipped.
static constexpr int Skipped = 77;

int main(int argc, char **argv) {
  Status started = Process::get().start();
  if (started.code() == MOERT_ERROR_UNSUPPORTED && !UsesFakes) {
    std::printf("cuda-conformance: skipped, there is no GPU: %s\n",
                started.message().c_str());
    return Skipped;
  }
  if (!started.ok()) {
    std::fprintf(stderr, "error: %s\n", started.message().c_str());
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  bool isFirst = Process::get().rank() == 0;
  if (isFirst)
    std::printf("%s\n", Process::get().describe().c_str());
  else
    GTEST_FLAG_SET(brief, true); // of what goes well, one process speaks
  constexpr std::string_view measure = "--measure=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(measure))
    return measureAll(argv[1] + measure.size());
  if (argc > 1) {
    std::fprintf(stderr,
                 "error: the argument '%s' is unknown; expected "
                 "--measure=FILE or flags of googletest\n",
                 argv[1]);
    return 1;
  }
  return RUN_ALL_TESTS();
}
