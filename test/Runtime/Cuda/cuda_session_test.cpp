// Sessions on the device cuda over a driver that computes on the host
// (fake_cuda.cpp): memory, the order of calls, what streams wait for, local
// collectives, failures. Generated kernels are not run here.
#include "cuda/graph.h"
#include "cuda_session.h"
#include "test_artifact.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace moert;
using namespace moert::test;

namespace {

int64_t allocations() {
  void *library = ::dlopen(MOERT_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
  auto count =
      reinterpret_cast<int64_t (*)()>(::dlsym(library, "fakeCudaAllocations"));
  int64_t result = count();
  ::dlclose(library);
  return result;
}

} // namespace

TEST_F(CudaSession, RunsOnOneRankAndOnSeveral) {
  int64_t before = allocations();
  for (int ranks : {1, 2, 4, 8}) {
    auto session = open(cudaArtifact(cudaManifest(ranks)));
    ASSERT_TRUE(session.ok()) << session.status().message();
    ASSERT_TRUE(setWeights(**session, ranks).ok());
    for (int64_t tokens = 0; tokens <= 16; ++tokens)
      checkRun(**session, ranks, tokens);
  }
  EXPECT_EQ(allocations(), before) << "device memory was not freed";
}

TEST_F(CudaSession, AllocatesNothingOnceItHasRun) {
  auto session = open(cudaArtifact(cudaManifest(4)));
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(setWeights(**session, 4).ok());
  checkRun(**session, 4, 16);
  int64_t before = allocations();
  for (int64_t tokens : {1, 16, 7, 0, 16})
    checkRun(**session, 4, tokens);
  EXPECT_EQ(allocations(), before);
}

TEST_F(CudaSession, AKernelsComplaintIsTheRunsAndTheNextRunWorks) {
  auto session = open(cudaArtifact(cudaManifest(2)));
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(setWeights(**session, 2).ok());
  Tensors bad(9, 8);
  Status status = (*session)->run(bad.inputs(), bad.outputs());
  EXPECT_EQ(status.code(), MOERT_ERROR_PROGRAM);
  EXPECT_NE(status.message().find("a kernel found an expert id that is none"),
            std::string::npos)
      << status.message();
  checkRun(**session, 2, 9);
}

TEST_F(CudaSession, ProgramsThatLaunchWhatIsNotThereAreRefused) {
  auto session = open(cudaArtifact(cudaManifest(1)));
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(setWeights(**session, 1).ok());
  auto error = [&](float first) {
    Tensors tensors(3, first);
    return (*session)->run(tensors.inputs(), tensors.outputs()).message();
  };
  EXPECT_EQ(error(101),
            "rank 0: the program launches kernel 9, the artifact has 3");
  EXPECT_EQ(error(102), "rank 0: kernel `scale` takes tensor map 7, which was "
                        "not made; there are 1");
  checkRun(**session, 1, 3);
}

TEST_F(CudaSession, RunsOnACallersStreamAndIsCapturedThere) {
  auto opened = open(cudaArtifact(cudaManifest(1)));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  Session &session = **opened;
  ASSERT_TRUE(setWeights(session, 1).ok());
  // Device memory of the fake is host memory; null is its default stream.
  Tensors tensors(5);
  Status status = session.enqueue(nullptr, tensors.inputs(), tensors.outputs());
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(tensors.y[1], 0) << "it must not wait";
  ASSERT_TRUE(session.wait().ok());
  EXPECT_EQ(tensors.y[1], 13);
  // Three tokens make the program read, which no capture can.
  Tensors three(3);
  auto *host = session.queue(0);
  ASSERT_TRUE(host->enter().ok());
  EXPECT_TRUE(session.enqueue(nullptr, three.inputs(), three.outputs()).ok());
  ASSERT_TRUE(session.wait().ok());
  // Refused before anything is done, so that no rank fails and none waits.
  auto capture = [&](Tensors &given) {
    auto &queue = static_cast<cuda::StreamQueue &>(*host);
    queue.useOwnStream();
    return cuda::Graph::capture(queue, [&] {
      return session.enqueue(queue.stream(), given.inputs(), given.outputs());
    });
  };
  EXPECT_EQ(capture(three).status().code(), MOERT_ERROR_UNSUPPORTED);
  EXPECT_TRUE(session.failure().ok());
  EXPECT_TRUE(
      session.enqueue(nullptr, tensors.inputs(), tensors.outputs()).ok());
  ASSERT_TRUE(session.wait().ok());
  auto graph = capture(tensors);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  // The last run counts, also one with the tensors of the host: now reading is
  // found out only while it is recorded.
  EXPECT_TRUE(session.enqueue(nullptr, three.inputs(), three.outputs()).ok());
  ASSERT_TRUE(session.wait().ok());
  ASSERT_TRUE(session.run(tensors.inputs(), tensors.outputs()).ok());
  EXPECT_EQ(capture(three).status().code(), MOERT_ERROR_UNSUPPORTED);
  EXPECT_FALSE(session.failure().ok());
}

TEST_F(CudaSession, WhatDoesNotFitIsNamed) {
  std::string manifest = cudaManifest(1);
  auto onDevice = [](const char *device, int number) {
    SessionOptions options;
    options.function = "scale";
    options.device = {.name = device, .numbers = {number}};
    return options;
  };
  EXPECT_EQ(openError(cudaArtifact(manifest), onDevice("cpu", 0)),
            "the artifact is compiled for cuda, not for the device cpu; "
            "compile it with --target=cpu");
  EXPECT_EQ(openError(testArtifact(1), onDevice("cuda", 0)),
            "the artifact is compiled for cpu, not for the device cuda; "
            "compile it with --target=cuda");
  EXPECT_EQ(openError(cudaArtifact(manifest), onDevice("gpu", 0)),
            "there is no device 'gpu'; choose from: cpu, cuda");
  EXPECT_EQ(openError(cudaArtifact(manifest), onDevice("", 2)),
            "there is no CUDA device 2, this process sees 2; the last is 1");
  EXPECT_EQ(openError(cudaArtifact(replaced(manifest, "sm_90a", "sm_100a"))),
            "the artifact is for sm_100a, CUDA device 0 (Fake) is sm_90; "
            "compile for it with --target=cuda");
  EXPECT_EQ(
      openError(cudaArtifact(manifest, "junk")),
      "cannot load kernels/all.cubin: CUDA_ERROR_INVALID_IMAGE (200, said by "
      "the fake driver): no fake module");
  EXPECT_EQ(openError(cudaArtifact(
                replaced(manifest, "kernels/all.cubin", "kernels/none.cubin"))),
            "kernel `pack` is in `kernels/none.cubin`, which the artifact does "
            "not hold");
  EXPECT_EQ(openError(cudaArtifact(replaced(manifest, R"("function": "pack")",
                                            R"("function": "unpack")"))),
            "cannot find `unpack` in kernels/all.cubin: CUDA_ERROR_NOT_FOUND "
            "(500, said by the fake driver)");
  EXPECT_EQ(openError(cudaArtifact(replaced(manifest, R"("shared_bytes": 0)",
                                            R"("shared_bytes": 300000)"))),
            "kernel `pack` needs 300000 bytes of shared memory, the device has "
            "232448 a block");
  EXPECT_EQ(
      openError(cudaArtifact(replaced(manifest, R"("constant": 64)",
                                      R"("constant": 1125899906842623)"))),
      "rank 0: cannot allocate 1125899906842623 bytes of device memory "
      "for the arena: CUDA_ERROR_OUT_OF_MEMORY (2, said by the fake "
      "driver); 1099511627776 of 1099511627776 bytes are free");
}

TEST(CudaDriver, WithoutALibraryThereIsAMessage) {
  ::setenv("MOERT_CUDA_LIB", MOERT_TEST_CUDA_PROGRAM, 1);
  Result<std::shared_ptr<Artifact>> artifact =
      Artifact::openMemory(cudaArtifact(cudaManifest(1)));
  ASSERT_TRUE(artifact.ok());
  std::string message = Session::open(*artifact, {}).status().message();
  EXPECT_TRUE(message.ends_with("has no cuInit, a newer driver is needed"))
      << message;
  ::unsetenv("MOERT_CUDA_LIB");
}

TEST_F(CudaSession, ATraceShowsEachLaunchAndCollectiveOnTheStream) {
  SessionOptions options;
  options.trace = true;
  auto session = open(cudaArtifact(cudaManifest(2)), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(setWeights(**session, 2).ok());
  for (int run = 0; run < 3; ++run)
    checkRun(**session, 2, 16);
  for (int rank = 0; rank < 2; ++rank) {
    const std::vector<Span> &spans = (*session)->trace(rank).stream.spans();
    // Of each run the collective, the kernel that adds in it, and the layer's.
    ASSERT_EQ(spans.size(), 9u);
    for (size_t run = 0; run < 3; ++run) {
      const Span &collective = spans[3 * run], &sum = spans[3 * run + 1],
                 &scale = spans[3 * run + 2];
      EXPECT_EQ(collective.name, "all_reduce");
      EXPECT_EQ(collective.kind, SpanKind::Collective);
      EXPECT_EQ(collective.bytes, 2 * 4 * 2);
      EXPECT_EQ(sum.name, "sum_f32");
      EXPECT_EQ(scale.name, "scale");
      EXPECT_LT(collective.begin, sum.begin);
      EXPECT_LT(sum.begin, sum.end);
      EXPECT_LT(sum.end, collective.end);
      EXPECT_LT(collective.end, scale.begin);
      EXPECT_LT(scale.begin, scale.end);
    }
    EXPECT_EQ((*session)->trace(rank).threads[0].spans().back().name, "scale");
  }
}

TEST_F(CudaSession, VariantsAreThoseOfTheManifest) {
  std::string manifest =
      replaced(cudaManifest(1), R"("tensor_maps": 1)",
               R"("tensor_maps": 1, "variants": [{"experts": 2, "k": 4, "n": 4,
                  "paired": false, "fp8": false, "rows_per_token": 1,
                  "tiles": [{"tokens": 16}, {"tokens": 32}]}])");
  auto session = open(cudaArtifact(manifest));
  ASSERT_TRUE(session.ok()) << session.status().message();
  for (int32_t variant : {0, 2})
    EXPECT_TRUE((*session)->setVariants({variant}).ok());
  auto error = [&](const std::vector<int32_t> &chosen) {
    return (*session)->setVariants(chosen).message();
  };
  EXPECT_EQ(error({}), "function `scale` has 1 choices, 0 are made");
  EXPECT_EQ(error({3}),
            "choice 0 of function `scale` is variant 3, expected 0 to 2");
}
