// The whole way from an artifact to outputs, through the users' C interface.
#include "moert/moert.h"
#include "safetensors.h"
#include "temporary_folder.h"
#include "test_artifact.h"

#include <cmath>
#include <gtest/gtest.h>
#include <memory>

using namespace moert;
using namespace moert::test;

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
