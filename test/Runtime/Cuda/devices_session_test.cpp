// Sessions of one process with several devices: `local` with copies between
// devices, and NCCL with a device for each rank, over stand-ins for the driver
// and for NCCL which refuse what is on another device.
#include "cuda/device_choice.h"
#include "cuda_session.h"
#include "moert/moert.h"
#include "test_artifact.h"

#include <cstdlib>

using namespace moert;
using namespace moert::test;

namespace {

class DevicesSession : public CudaSession {
protected:
  void SetUp() override {
    CudaSession::SetUp();
    ::setenv("MOERT_NCCL_LIB", MOERT_FAKE_NCCL, 1);
    ::setenv("FAKE_CUDA_DEVICES", "8", 1);
  }
  void TearDown() override {
    for (const char *name :
         {"MOERT_NCCL_LIB", "FAKE_CUDA_DEVICES", "FAKE_CUDA_APART"})
      ::unsetenv(name);
    CudaSession::TearDown();
  }
};

SessionOptions over(const char *communicator, std::vector<int> devices = {}) {
  SessionOptions options;
  options.communicator = communicator;
  options.device.numbers = std::move(devices);
  return options;
}

SessionOptions overAll() {
  SessionOptions options;
  options.device.all = true;
  return options;
}

Launch byTorchrun(int processes) {
  Launch launch;
  launch.source = LaunchSource::Torchrun;
  launch.world = processes;
  return launch;
}

} // namespace

TEST_F(DevicesSession, LocalRanksTakeDevicesInTurn) {
  for (int ranks : {1, 2, 4, 8})
    for (const SessionOptions &options :
         {overAll(), over("local", ranks == 1 ? std::vector<int>{7}
                                              : std::vector<int>{5, 2})}) {
      auto session = open(cudaArtifact(cudaManifest(ranks)), options);
      ASSERT_TRUE(session.ok()) << session.status().message();
      int devices = options.device.all ? ranks : std::min(ranks, 2);
      EXPECT_EQ((*session)->deviceName(),
                devices == 1 ? "Fake" : concat(devices, " x Fake"));
      ASSERT_TRUE(setWeights(**session, ranks).ok());
      for (int64_t tokens = 0; tokens <= 16; ++tokens)
        checkRun(**session, ranks, tokens);
    }
}

TEST_F(DevicesSession, NcclHasADeviceForEachRank) {
  for (int ranks : {1, 2, 4, 8}) {
    auto session = open(cudaArtifact(cudaManifest(ranks)), over("nccl"));
    ASSERT_TRUE(session.ok()) << session.status().message();
    EXPECT_EQ((*session)->ranksHere().size(), static_cast<size_t>(ranks));
    EXPECT_EQ((*session)->rendezvous(), nullptr);
    ASSERT_TRUE(setWeights(**session, ranks).ok());
    for (int64_t tokens = 0; tokens <= 16; ++tokens)
      checkRun(**session, ranks, tokens);
  }
  auto reversed =
      open(cudaArtifact(cudaManifest(4)), over("nccl", {7, 5, 3, 1}));
  ASSERT_TRUE(reversed.ok()) << reversed.status().message();
  ASSERT_TRUE(setWeights(**reversed, 4).ok());
  checkRun(**reversed, 4, 16);
}

// The others wait for rank 1, in NCCL and in a meeting.
TEST_F(DevicesSession, AfterAFailureOfOneRankAllEndAndTheNextRunWorks) {
  for (const char *communicator : {"nccl", "local"}) {
    SessionOptions options = over(communicator);
    options.device.all = true;
    auto session = open(cudaArtifact(cudaManifest(4)), options);
    ASSERT_TRUE(session.ok()) << session.status().message();
    ASSERT_TRUE(setWeights(**session, 4).ok());
    for (int round = 0; round < 3; ++round) {
      Tensors bad(11, 103);
      Status status = (*session)->run(bad.inputs(), bad.outputs());
      EXPECT_EQ(status.code(), MOERT_ERROR_PROGRAM);
      EXPECT_EQ(status.message(), "rank 1: expert id 9 is outside of 0 to 4");
      checkRun(**session, 4, 16);
    }
  }
}

TEST_F(DevicesSession, WhoIsMissingFromACollectiveIsNamed) {
  SessionOptions options = over("nccl");
  options.maxTokens = 16;
  options.timeoutSeconds = 1;
  Result<std::shared_ptr<Artifact>> artifact =
      Artifact::openMemory(cudaArtifact(cudaManifest(2)));
  ASSERT_TRUE(artifact.ok());
  auto session = Session::open(*artifact, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(setWeights(**session, 2).ok());
  Tensors bad(11, 104);
  Status status = (*session)->run(bad.inputs(), bad.outputs());
  EXPECT_EQ(status.code(), MOERT_ERROR_TIMEOUT);
  EXPECT_EQ(status.message(),
            "rank 0: all_reduce on group 0, collective 1 of this rank, waited "
            "1 s: rank 1 has ended its program");
  checkRun(**session, 2, 16);
}

TEST_F(DevicesSession, OneProcessAloneNeedsNobodyToMeet) {
  SessionOptions options = over("nccl");
  options.launch = byTorchrun(1);
  auto session = open(cudaArtifact(cudaManifest(2)), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(setWeights(**session, 2).ok());
  checkRun(**session, 2, 16);
}

TEST_F(DevicesSession, ProcessesOfAHostTakeDevicesInTurn) {
  auto takes = [](int localRank, std::vector<int> listed) {
    DeviceUse use;
    use.ranks = 16;
    use.oneEach = true;
    use.launch = byTorchrun(16);
    use.launch->localRank = localRank;
    DeviceChoice choice;
    choice.numbers = std::move(listed);
    Result<std::vector<int>> devices = cuda::chooseDevices(choice, use);
    return devices.ok() ? *devices : std::vector<int>();
  };
  EXPECT_EQ(takes(3, {}), std::vector<int>(16, 3));
  EXPECT_EQ(takes(9, {}), std::vector<int>(16, 1)); // there are 8
  EXPECT_EQ(takes(0, {4, 5, 6}), std::vector<int>(16, 4));
  EXPECT_EQ(takes(5, {4, 5, 6}), std::vector<int>(16, 6));
  EXPECT_EQ(takes(5, {2}), std::vector<int>(16, 2));
}

TEST_F(DevicesSession, DevicesThatDoNotFitAreNamed) {
  std::string two = cudaArtifact(cudaManifest(2)),
              eight = cudaArtifact(cudaManifest(8));
  ::setenv("FAKE_CUDA_DEVICES", "4", 1);
  EXPECT_EQ(openError(eight, over("nccl")),
            "the communicator nccl takes a CUDA device for each rank of a "
            "process, the artifact is for 8 ranks and this process sees 4; use "
            "--comm=local, whose ranks share devices, or compile the layer for "
            "at most 4 ranks");
  EXPECT_EQ(openError(two, over("nccl", {1})),
            "the communicator nccl takes a CUDA device for each rank of a "
            "process, the artifact is for 2 ranks and 1 is listed; list 2, or "
            "use --comm=local, whose ranks share devices");
  EXPECT_EQ(openError(two, over("nccl", {1, 1})),
            "CUDA device 1 is listed twice; list each once: NCCL takes another "
            "device for each rank of a process");
  EXPECT_EQ(openError(two, over("local", {0, 3, 0})),
            "CUDA device 0 is listed twice; list each once, ranks take them in "
            "turn");
  EXPECT_EQ(openError(two, over("local", {0, 1, 2})),
            "3 CUDA devices are listed for 2 ranks; list at most 2");
  EXPECT_EQ(openError(two, over("nccl", {0, 4})),
            "there is no CUDA device 4, this process sees 4; the last is 3");
  EXPECT_EQ(openError(two, over("local", {-1})),
            "there is no CUDA device -1, this process sees 4; the last is 3");
  SessionOptions onCpu = over("local", {0});
  onCpu.function = "scale";
  EXPECT_EQ(openError(testArtifact(2), onCpu),
            "CUDA devices are listed, but the artifact is compiled for cpu; "
            "compile it with --target=cuda");
  SessionOptions some = over("nccl");
  some.launch = byTorchrun(2);
  EXPECT_EQ(openError(eight, some),
            "the artifact is for 8 ranks, torchrun started 2 processes; over "
            "nccl a process has one rank, or all of them: start 8, or one");
}

TEST_F(DevicesSession, DevicesThatCannotReachEachOtherAreTold) {
  ::setenv("FAKE_CUDA_APART", "1", 1);
  std::vector<std::string> lines;
  SessionOptions options = overAll();
  options.log = [&](const std::string &line) { lines.push_back(line); };
  auto session = open(cudaArtifact(cudaManifest(2)), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0],
            "CUDA device 0 cannot reach the memory of device 1: what moves "
            "between them takes the way by the host");
  ASSERT_TRUE(setWeights(**session, 2).ok());
  checkRun(**session, 2, 16);
}

// What the other tests rest on: the stand-ins refuse a device's memory on
// another one.
TEST_F(DevicesSession, MemoryOfAnotherDeviceIsRefusedByTheStandIn) {
  auto session = open(cudaArtifact(cudaManifest(2)), overAll());
  ASSERT_TRUE(session.ok()) << session.status().message();
  Result<Memory> here = (*session)->onDevice(0).allocate(64, "a test");
  Result<Memory> there = (*session)->onDevice(1).allocate(64, "a test");
  ASSERT_TRUE(here.ok() && there.ok());
  Queue &queue = *(*session)->queue(0);
  ASSERT_TRUE(queue.enter().ok());
  EXPECT_TRUE(queue.fill(here->data(), 0, 64).ok());
  EXPECT_FALSE(queue.fill(there->data(), 0, 64).ok());
  EXPECT_FALSE(queue.copy(here->data(), there->data(), 64).ok());
  char bytes[64] = {};
  EXPECT_FALSE(queue.upload(there->data(), bytes, 64).ok());
  EXPECT_FALSE(queue.download(bytes, there->data(), 64).ok());
  void *pointers[] = {here->data(), there->data(), here->data()};
  const void *args[] = {&pointers[0], &pointers[1], &pointers[2]};
  EXPECT_FALSE(queue.launch(0, 1, args).ok());
  // Nor is another device's thread one of this queue.
  pointers[1] = here->data();
  EXPECT_TRUE(queue.launch(0, 1, args).ok());
  ASSERT_TRUE((*session)->onDevice(1).enter().ok());
  EXPECT_FALSE(queue.launch(0, 1, args).ok());
  EXPECT_TRUE(queue.enter().ok() && queue.finish().ok());
}

TEST_F(DevicesSession, TheCInterfaceListsDevices) {
  std::string bytes = cudaArtifact(cudaManifest(2));
  moert_artifact_t *artifact = nullptr;
  ASSERT_EQ(moert_artifact_open_memory(bytes.data(), bytes.size(), &artifact),
            MOERT_OK);
  moert_session_options options;
  moert_session_options_init(&options);
  options.max_tokens = 16;
  const int32_t listed[] = {3, 1, 9};
  options.devices = listed;
  auto open = [&](const char *communicator, size_t count) {
    moert_session_t *session = nullptr;
    options.communicator = communicator;
    options.device_count = count;
    moert_status status = moert_session_open(artifact, &options, &session);
    moert_session_close(session);
    return status;
  };
  EXPECT_EQ(open("nccl", 2), MOERT_OK) << moert_last_message();
  EXPECT_EQ(open("local", 1), MOERT_OK) << moert_last_message();
  EXPECT_EQ(open("local", 3), MOERT_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_message(),
               "3 CUDA devices are listed for 2 ranks; list at most 2");
  options.devices = nullptr;
  EXPECT_EQ(open("local", 1), MOERT_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_message(), "options.devices is NULL");
  EXPECT_EQ(open("nccl", 0), MOERT_OK) << moert_last_message();
  moert_artifact_close(artifact);
}
