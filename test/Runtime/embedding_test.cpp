// What a program that embeds the runtime may do: several sessions of one
// artifact, called from threads of its own, with buffers of its own.
#include "moert/moert.h"
#include "safetensors.h"
#include "temporary_folder.h"
#include "test_artifact.h"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

using namespace moert;
using namespace moert::test;

namespace {

constexpr int64_t MaxTokens = 64;
constexpr float Guard = -12345;

// A caller's memory: what stands before and behind the tensor is not ours.
struct Guarded {
  explicit Guarded(int64_t elements) : all(elements + 2, Guard) {}
  float *data() { return all.data() + 1; }
  bool isIntact() const { return all.front() == Guard && all.back() == Guard; }
  std::vector<float> all;
};

std::string writeWeights(TemporaryFolder &folder) {
  std::vector<float> row = {1, 2, 3, 4};
  std::vector<NamedTensor> tensors = {{"bias", MOERT_F32, {4}, row.data()}};
  for (int expert = 0; expert < 4; ++expert)
    tensors.push_back({"experts." + std::to_string(expert) + ".w",
                       MOERT_F32,
                       {4},
                       row.data()});
  std::string path = folder / "model.safetensors";
  EXPECT_TRUE(writeSafetensors(path, tensors).ok());
  return path;
}

moert_session_t *open(moert_artifact_t *artifact, const std::string &weights) {
  moert_session_options options;
  moert_session_options_init(&options);
  options.function = "scale";
  options.max_tokens = MaxTokens;
  options.threads = 2;
  moert_session_t *session = nullptr;
  EXPECT_EQ(moert_session_open(artifact, &options, &session), MOERT_OK)
      << moert_last_message();
  EXPECT_EQ(moert_session_load_weights(session, weights.c_str()), MOERT_OK)
      << moert_last_message();
  return session;
}

// y = x times five times the row (a bias and four experts), in the caller's
// buffers, which are not aligned to more than their elements.
void runMany(moert_session_t *session, float factor) {
  for (int64_t tokens = 0; tokens <= MaxTokens; tokens += 7) {
    Guarded x(4 * tokens), y(4 * tokens);
    std::fill_n(x.data(), 4 * tokens, factor);
    int64_t shape[] = {tokens, 4};
    moert_tensor input = {"x", "f32", shape, 2, x.data()};
    moert_tensor output = {"y", "f32", shape, 2, y.data()};
    ASSERT_EQ(moert_session_run(session, &input, 1, &output, 1), MOERT_OK)
        << moert_last_message();
    EXPECT_TRUE(x.isIntact() && y.isIntact());
    for (int64_t i = 0; i < 4 * tokens; ++i)
      ASSERT_EQ(y.data()[i], factor * 5 * static_cast<float>(1 + i % 4));
  }
}

} // namespace

TEST(Embedding, ThreadsCallDifferentSessionsOfOneArtifact) {
  TemporaryFolder folder;
  std::string weights = writeWeights(folder), bytes = testArtifact(2);
  moert_artifact_t *artifact = nullptr;
  ASSERT_EQ(moert_artifact_open_memory(bytes.data(), bytes.size(), &artifact),
            MOERT_OK);
  std::vector<moert_session_t *> sessions;
  for (int i = 0; i < 3; ++i)
    sessions.push_back(open(artifact, weights));
  moert_artifact_close(artifact);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < sessions.size(); ++i)
    threads.emplace_back([session = sessions[i], i] {
      for (int turn = 0; turn < 10; ++turn)
        runMany(session, 1 + static_cast<float>(i % 2));
    });
  for (std::thread &thread : threads)
    thread.join();
  for (moert_session_t *session : sessions)
    moert_session_close(session);
}

// A message belongs to the thread that made the call, whatever others do.
TEST(Embedding, MessagesAreEachThreadsOwn) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([i] {
      std::string path = "/none/" + std::to_string(i) + ".moe";
      for (int turn = 0; turn < 100; ++turn) {
        moert_artifact_t *artifact = nullptr;
        EXPECT_EQ(moert_artifact_open(path.c_str(), &artifact), MOERT_ERROR_IO);
        EXPECT_NE(std::string(moert_last_message()).find(path),
                  std::string::npos);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

// The same session from one thread after another.
TEST(Embedding, ASessionMayMoveBetweenThreads) {
  TemporaryFolder folder;
  std::string weights = writeWeights(folder), bytes = testArtifact(2);
  moert_artifact_t *artifact = nullptr;
  ASSERT_EQ(moert_artifact_open_memory(bytes.data(), bytes.size(), &artifact),
            MOERT_OK);
  moert_session_t *session = open(artifact, weights);
  for (int i = 0; i < 3; ++i)
    std::thread([session] { runMany(session, 3); }).join();
  moert_session_close(session);
  moert_artifact_close(artifact);
}
