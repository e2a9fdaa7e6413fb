// The whole way from an artifact to outputs, through the users' C interface.
#include "moert/moert.h"
#include "safetensors.h"
#include "temporary_folder.h"
#include "test_artifact.h"

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <thread>

using namespace moert;
using namespace moert::test;

// Allocations that cannot succeed must fail under the sanitizer as well.
extern "C" const char *__asan_default_options();
extern "C" const char *__tsan_default_options();
extern "C" const char *__asan_default_options() {
  return "allocator_may_return_null=1";
}
extern "C" const char *__tsan_default_options() {
  return "allocator_may_return_null=1";
}

namespace {

struct CloseArtifact {
  void operator()(moert_artifact_t *a) const { moert_artifact_close(a); }
};
struct CloseSession {
  void operator()(moert_session_t *s) const { moert_session_close(s); }
};
using ArtifactPtr = std::unique_ptr<moert_artifact_t, CloseArtifact>;
using SessionPtr = std::unique_ptr<moert_session_t, CloseSession>;

ArtifactPtr openArtifact(const std::string &bytes) {
  moert_artifact_t *artifact = nullptr;
  EXPECT_EQ(moert_artifact_open_memory(bytes.data(), bytes.size(), &artifact),
            MOERT_OK)
      << moert_last_message();
  return ArtifactPtr(artifact);
}

struct Opened {
  ArtifactPtr artifact;
  SessionPtr session;
};

Opened openSession(int ranks, const char *function, int64_t maxTokens,
                   int threads = 1) {
  Opened opened;
  opened.artifact = openArtifact(testArtifact(ranks));
  moert_session_options options;
  moert_session_options_init(&options);
  options.function = function;
  options.max_tokens = maxTokens;
  options.threads = threads;
  options.check_replicas = 1;
  options.timeout_seconds = 20;
  moert_session_t *session = nullptr;
  EXPECT_EQ(moert_session_open(opened.artifact.get(), &options, &session),
            MOERT_OK)
      << moert_last_message();
  opened.session.reset(session);
  return opened;
}

// Expert e's row is 1, 2, e, 0.5; the bias 10, 20, 30, 40.
std::string writeCheckpoint(const TemporaryFolder &folder, int experts) {
  std::vector<std::vector<float>> rows;
  for (int e = 0; e < experts; ++e)
    rows.push_back({1, 2, static_cast<float>(e), 0.5f});
  std::vector<float> bias = {10, 20, 30, 40};
  std::vector<NamedTensor> tensors = {{"bias", MOERT_F32, {4}, bias.data()}};
  for (int e = 0; e < experts; ++e)
    tensors.push_back({"experts." + std::to_string(e) + ".w",
                       MOERT_F32,
                       {4},
                       rows[e].data()});
  EXPECT_TRUE(writeSafetensors(folder / "model.safetensors", tensors).ok());
  return folder.path;
}

struct ScaleRun {
  std::vector<float> x, y, weights;
  std::vector<int32_t> ids;
  moert_status status;
};

ScaleRun runScale(moert_session_t *session, int64_t tokens, float first = 0) {
  ScaleRun run;
  for (int64_t i = 0; i < tokens * 4; ++i)
    run.x.push_back(i % 4 ? static_cast<float>(i) : first);
  run.y.resize(static_cast<size_t>(tokens) * 4, -1);
  run.ids.resize(static_cast<size_t>(tokens) * 2, -1);
  run.weights.resize(static_cast<size_t>(tokens) * 2, -1);
  int64_t wide[] = {tokens, 4}, narrow[] = {tokens, 2};
  moert_tensor input = {"x", "f32", wide, 2, run.x.data()};
  moert_tensor outputs[] = {
      {"expert_weights", "f32", narrow, 2, run.weights.data()},
      {"y", "f32", wide, 2, run.y.data()},
      {"expert_ids", "i32", narrow, 2, run.ids.data()}};
  run.status = moert_session_run(session, &input, 1, outputs, 3);
  return run;
}

class ScaleTest : public testing::TestWithParam<std::tuple<int, int>> {};

} // namespace

TEST_P(ScaleTest, EveryTokenCountGivesTheSameAnswer) {
  auto [ranks, threads] = GetParam();
  int experts = std::min(5, 2 * ranks);
  TemporaryFolder folder;
  Opened opened = openSession(ranks, "scale", 13, threads);
  ASSERT_EQ(moert_session_load_weights(
                opened.session.get(), writeCheckpoint(folder, experts).c_str()),
            MOERT_OK)
      << moert_last_message();
  float sums[] = {10 + 1.f * experts, 20 + 2.f * experts,
                  30 + experts * (experts - 1) / 2.f, 40 + 0.5f * experts};
  for (int64_t tokens = 0; tokens <= 13; ++tokens) {
    ScaleRun run = runScale(opened.session.get(), tokens, -1);
    ASSERT_EQ(run.status, MOERT_OK) << moert_last_message();
    for (int64_t i = 0; i < tokens * 4; ++i)
      ASSERT_EQ(run.y[i], run.x[i] * sums[i % 4]) << tokens << " tokens, " << i;
    for (int64_t t = 0; t < tokens; ++t) {
      ASSERT_EQ(run.ids[2 * t], 1);
      ASSERT_EQ(run.weights[2 * t], 0.75f);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ScaleTest,
                         testing::Combine(testing::Values(1, 2, 4, 8),
                                          testing::Values(1, 3)));

namespace {

// Runs `misbehave` with one mode for all tokens; the message, or "".
std::string misbehave(Opened &opened, std::vector<int32_t> modes) {
  std::vector<int32_t> y(modes.size(), -1);
  int64_t shape[] = {static_cast<int64_t>(modes.size())};
  moert_tensor input = {"mode", "i32", shape, 1, modes.data()};
  moert_tensor output = {"y", "i32", shape, 1, y.data()};
  if (moert_session_run(opened.session.get(), &input, 1, &output, 1) !=
      MOERT_OK)
    return moert_last_message();
  EXPECT_EQ(y, modes);
  return "";
}

} // namespace

TEST(Session, FailuresEndTheRunAndNotTheSession) {
  Opened opened = openSession(4, "misbehave", 8, 2);
  ASSERT_TRUE(opened.session);
  for (int turn = 0; turn < 20; ++turn) {
    ASSERT_EQ(misbehave(opened, {0, 0, 0}), "");
    ASSERT_EQ(misbehave(opened, {1}),
              "all_gather_v on group 0: rank 0 sends 1 elements to rank 1, "
              "which expects 2");
    ASSERT_EQ(misbehave(opened, {2}),
              "all_reduce on group 0 waits for rank 0, which has ended its "
              "program");
    ASSERT_EQ(misbehave(opened, {3}),
              "rank 1: the program ended with status 77 without a reason");
    ASSERT_EQ(misbehave(opened, {0, 4}),
              "rank 1 has another output `y` than the rank it should be equal "
              "to");
    std::string text = misbehave(opened, {5});
    ASSERT_NE(text.find(": a thread left the program before a barrier"),
              std::string::npos)
        << text;
  }
}

TEST(Session, BadExpertIdsAreNamed) {
  TemporaryFolder folder;
  Opened opened = openSession(4, "scale", 8);
  ASSERT_EQ(moert_session_load_weights(opened.session.get(),
                                       writeCheckpoint(folder, 5).c_str()),
            MOERT_OK);
  EXPECT_EQ(runScale(opened.session.get(), 8, 7).status, MOERT_ERROR_PROGRAM);
  EXPECT_NE(std::string(moert_last_message())
                .find("expert id 7 is outside of 0 to 4"),
            std::string::npos);
  EXPECT_EQ(runScale(opened.session.get(), 8, 4).status, MOERT_OK);
}

namespace {

// The message of one run of `scale` with these tensors.
std::string runError(moert_session_t *session,
                     const std::vector<moert_tensor> &inputs,
                     const std::vector<moert_tensor> &outputs) {
  moert_status status = moert_session_run(session, inputs.data(), inputs.size(),
                                          outputs.data(), outputs.size());
  return status == MOERT_OK ? "" : moert_last_message();
}

std::string openError(moert_artifact_t *artifact,
                      const std::function<void(moert_session_options &)> &set) {
  moert_session_options options;
  moert_session_options_init(&options);
  options.function = "scale";
  set(options);
  moert_session_t *session = nullptr;
  moert_status status = moert_session_open(artifact, &options, &session);
  EXPECT_NE(status, MOERT_OK);
  EXPECT_EQ(session, nullptr);
  moert_session_close(session);
  return moert_last_message();
}

} // namespace

TEST(Session, TensorsThatDoNotFitAreNamed) {
  TemporaryFolder folder;
  Opened opened = openSession(4, "scale", 8);
  moert_session_t *session = opened.session.get();
  alignas(64) float data[64] = {};
  int64_t two[] = {2, 4}, nine[] = {9, 4}, wrong[] = {2, 5}, bad[] = {-1, 4};
  moert_tensor x = {"x", "f32", two, 2, data}, y = {"y", "f32", two, 2, data};
  EXPECT_EQ(runError(session, {x}, {y}), "the weights are not loaded");
  ASSERT_EQ(
      moert_session_load_weights(session, writeCheckpoint(folder, 5).c_str()),
      MOERT_OK);
  EXPECT_EQ(runError(session, {x}, {y}), "");
  EXPECT_EQ(runError(session, {x}, {}), "");
  EXPECT_EQ(runError(session, {}, {y}),
            "input `x` is missing; the function needs: x");
  EXPECT_EQ(runError(session, {x, x}, {y}), "input `x` is given twice");
  auto with = [](moert_tensor tensor, auto change) {
    change(tensor);
    return tensor;
  };
  EXPECT_EQ(runError(session, {with(x, [](auto &t) { t.name = "z"; })}, {}),
            "there is no input `z`; choose from: x");
  EXPECT_EQ(
      runError(session, {x}, {with(y, [](auto &t) { t.name = "yy"; })}),
      "there is no output `yy`; choose from: y, expert_ids, expert_weights");
  EXPECT_EQ(runError(session, {with(x, [](auto &t) { t.dtype = "f16"; })}, {}),
            "input `x` has dtype f16, expected f32");
  EXPECT_EQ(runError(session, {with(x, [](auto &t) { t.dtype = "f64"; })}, {}),
            "input 0 has the dtype 'f64'; choose from: f32, bf16, i32, i64, "
            "f16");
  EXPECT_EQ(runError(session, {with(x, [&](auto &t) { t.shape = wrong; })}, {}),
            "input `x` has shape [2, 5], expected [tokens, 4]");
  EXPECT_EQ(runError(session, {with(x, [&](auto &t) { t.shape = bad; })}, {}),
            "input `x` has shape [-1, 4], expected [tokens, 4]");
  EXPECT_EQ(runError(session, {with(x, [](auto &t) { t.rank = 1; })}, {}),
            "input `x` has shape [2], expected [tokens, 4]");
  EXPECT_EQ(runError(session, {with(x, [](auto &t) { t.rank = 9; })}, {}),
            "input 0 has 9 dimensions, expected 0 to 8");
  EXPECT_EQ(runError(session, {with(x, [&](auto &t) { t.shape = nine; })}, {}),
            "there are 9 tokens, the session was opened for at most 8");
  EXPECT_EQ(runError(session, {with(x, [](auto &t) { t.data = nullptr; })}, {}),
            "input `x` has no data");
  EXPECT_EQ(
      runError(
          session,
          {with(x, [](auto &t) { t.data = static_cast<char *>(t.data) + 2; })},
          {}),
      "input `x` is not aligned to its elements");
  EXPECT_EQ(runError(session, {x}, {with(y, [&](auto &t) { t.shape = nine; })}),
            "output `y` has 9 tokens, the first input has 2");
}

TEST(Session, WeightsMayBeOfQuantisedTypes) {
  Opened opened = openSession(1, "scale", 8);
  float data[4] = {};
  int64_t shape[] = {2, 2};
  auto refusal = [&](const char *dtype) {
    moert_tensor weight = {"none", dtype, shape, 2, data};
    moert_session_t *session = opened.session.get();
    EXPECT_NE(moert_session_set_weights(session, &weight, 1), MOERT_OK);
    return std::string(moert_last_message());
  };
  EXPECT_EQ(refusal("f64"), "weight 0 has the dtype 'f64'; choose from: f32, "
                            "bf16, i32, i64, f16, f8E4M3FN, i8");
  // Known types get further, to what this function has.
  EXPECT_EQ(refusal("f8E4M3FN"), refusal("f32"));
}

TEST(Session, OptionsThatDoNotFitAreNamed) {
  ArtifactPtr artifact = openArtifact(testArtifact(2));
  using Options = moert_session_options;
  auto error = [&](const std::function<void(Options &)> &set) {
    return openError(artifact.get(), set);
  };
  EXPECT_EQ(
      error([](Options &o) { o.size = 8; }),
      concat("options.size is 8, this runtime expects ", sizeof(Options)));
  EXPECT_EQ(error([](Options &o) { o.function = "scales"; }),
            "the artifact has no function `scales`; did you mean `scale`?");
  EXPECT_EQ(error([](Options &o) { o.function = nullptr; }),
            "the artifact has 2 functions, name one; choose from: scale, "
            "misbehave");
  EXPECT_EQ(error([](Options &o) { o.communicator = "npi"; }),
            "there is no communicator 'npi'; choose from: local, mpi, nccl");
  EXPECT_EQ(error([](Options &o) { o.max_tokens = -1; }),
            "max_tokens is -1, expected 0 to 4294967296");
  EXPECT_EQ(error([](Options &o) { o.threads = -2; }),
            "threads is -2, expected 0 to 1024");
  EXPECT_EQ(error([](Options &o) { o.timeout_seconds = -1; }),
            "the timeout is -1 s, expected more than 0 and at most 1000000");
}

TEST(Session, ArenaIsCheckedForOverflowAndMemory) {
  auto open = [](const char *arena) {
    std::string manifest = testManifest(2);
    std::string from = R"({"constant": 64, "per_token": 0, "per_share": 0, )";
    manifest.replace(manifest.find(from), from.size(), arena);
    ArtifactPtr artifact = openArtifact(testArtifact(manifest));
    return openError(artifact.get(), [](moert_session_options &o) {
      o.max_tokens = int64_t(1) << 32;
    });
  };
  EXPECT_EQ(
      open(
          R"({"constant": 0, "per_token": 1125899906842624, "per_share": 0, )"),
      "the arena for 4294967296 tokens has more than 9223372036854775807 "
      "bytes");
  EXPECT_EQ(open(R"({"constant": 1, "per_token": 1048576, "per_share": 0, )"),
            "rank 0: cannot allocate 4503599627370497 bytes for the arena");
}

TEST(Session, TargetsThatDoNotFitAreRefused) {
  auto error = [](const char *target) {
    std::string manifest = testManifest(2);
    std::string from = R"({"kind": "cpu", "cpu": "x86-64"})";
    manifest.replace(manifest.find(from), from.size(), target);
    // What functions have on a device.
    std::string prepare = "\"prepare\"";
    std::string bind = "\"bind\": \"bind\", \"tensor_maps\": 0, ";
    bool cuda = std::string_view(target).find("cuda") != std::string_view::npos;
    for (size_t at = 0;
         cuda && (at = manifest.find(prepare, at)) != std::string::npos;
         at += bind.size() + prepare.size())
      manifest.insert(at, bind);
    ArtifactPtr artifact = openArtifact(testArtifact(manifest));
    return openError(artifact.get(), [](moert_session_options &) {});
  };
  ::setenv("MOERT_CUDA_LIB", "/none/libcuda.so", 1);
  EXPECT_EQ(error(R"({"kind": "cuda", "cpu": "x86-64", "arch": "sm_90a"},
                     "kernels": [], "sums": [])"),
            "cannot open the CUDA driver '/none/libcuda.so': "
            "/none/libcuda.so: cannot open shared object file: No such file or "
            "directory; the device cuda needs an NVIDIA GPU and its driver");
  ::unsetenv("MOERT_CUDA_LIB");
  EXPECT_EQ(error(R"({"kind": "cpu", "cpu": "znver9"})"),
            "the artifact is for the processor 'znver9' and does not list its "
            "features");
  std::string text = error(
      R"({"kind": "cpu", "cpu": "znver9", "features": ["sse2", "quantum"]})");
  EXPECT_TRUE(
      text.starts_with("the artifact is for the processor 'znver9' and "
                       "needs what this machine lacks: quantum; compile "
                       "with --cpu=x86-64"))
      << text;
}

TEST(Session, MissingProgramSymbolsAreNamed) {
  std::string manifest = testManifest(2);
  std::string from = R"("prepare": "scale_prepare")";
  manifest.replace(manifest.find(from), from.size(), R"("prepare": "nothing")");
  ArtifactPtr artifact = openArtifact(testArtifact(manifest));
  EXPECT_EQ(openError(artifact.get(), [](moert_session_options &) {}),
            "the program does not export `nothing`");
}

TEST(Session, CountersAndMemory) {
  TemporaryFolder folder;
  Opened opened = openSession(4, "scale", 8);
  moert_session_t *session = opened.session.get();
  ASSERT_EQ(
      moert_session_load_weights(session, writeCheckpoint(folder, 5).c_str()),
      MOERT_OK);
  size_t count = 99;
  ASSERT_EQ(moert_session_counters(session, nullptr, 0, &count), MOERT_OK);
  EXPECT_EQ(count, 0u);
  ASSERT_EQ(runScale(session, 8).status, MOERT_OK);
  ASSERT_EQ(runScale(session, 0).status, MOERT_OK);
  moert_counter counters[2];
  ASSERT_EQ(moert_session_counters(session, counters, 2, &count), MOERT_OK);
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(counters[1].rank, 1);
  EXPECT_STREQ(counters[1].kind, "all_reduce");
  EXPECT_EQ(counters[1].calls, 2);
  EXPECT_EQ(counters[1].bytes_sent, 2 * 2 * 3 * 4);
  moert_memory memory;
  ASSERT_EQ(moert_session_memory(session, &memory), MOERT_OK);
  EXPECT_EQ(memory.arena_bytes, 64);
  EXPECT_EQ(memory.packed_bytes, 16);
  EXPECT_EQ(memory.slice_bytes, 2 * 4 * 4 + 4 * 4);
}

TEST(CInterface, NullsAreRefused) {
  EXPECT_EQ(moert_artifact_open(nullptr, nullptr),
            MOERT_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_message(), "path is NULL");
  EXPECT_EQ(moert_session_open(nullptr, nullptr, nullptr),
            MOERT_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moert_session_run(nullptr, nullptr, 0, nullptr, 0),
            MOERT_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moert_session_load_weights(nullptr, "x"),
            MOERT_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moert_session_counters(nullptr, nullptr, 0, nullptr),
            MOERT_ERROR_INVALID_ARGUMENT);
  moert_artifact_close(nullptr);
  moert_session_close(nullptr);
  EXPECT_STREQ(moert_artifact_manifest(nullptr), "");
  EXPECT_STREQ(moert_version(), "0.1.0");
}

TEST(CInterface, SessionsOutliveTheirArtifact) {
  Opened opened = openSession(2, "misbehave", 4);
  opened.artifact.reset();
  EXPECT_EQ(misbehave(opened, {0, 0}), "");
}

TEST(CInterface, SessionsRunSideBySide) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([] {
      Opened opened = openSession(4, "misbehave", 4);
      for (int turn = 0; turn < 20; ++turn)
        EXPECT_EQ(misbehave(opened, {0, 0, 0}), "");
    });
  for (std::thread &thread : threads)
    thread.join();
}
