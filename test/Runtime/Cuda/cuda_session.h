// Sessions on the device cuda over the driver that computes on the host
// (fake_cuda.cpp): the hand-written program (cuda_program.c) as an artifact.
#ifndef MOERT_TEST_CUDA_CUDA_SESSION_H
#define MOERT_TEST_CUDA_CUDA_SESSION_H

#include "session.h"

#include <gtest/gtest.h>

namespace moert::test {

std::string replaced(std::string text, const std::string &from,
                     const std::string &to);
// The manifest of the hand-written program, for cuda.
std::string cudaManifest(int ranks);
std::string cudaArtifact(const std::string &manifest,
                         const std::string &image = "fake");

class CudaSession : public testing::Test {
protected:
  void SetUp() override { ::setenv("MOERT_CUDA_LIB", MOERT_FAKE_CUDA, 1); }
  void TearDown() override { ::unsetenv("MOERT_CUDA_LIB"); }

  Result<std::unique_ptr<Session>> open(const std::string &bytes,
                                        SessionOptions options = {}) {
    Result<std::shared_ptr<Artifact>> artifact = Artifact::openMemory(bytes);
    if (!artifact.ok())
      return artifact.status();
    if (options.maxTokens == 0)
      options.maxTokens = 16;
    options.timeoutSeconds = 20;
    options.checkReplicas = true;
    return Session::open(*artifact, options);
  }
  std::string openError(const std::string &bytes, SessionOptions options = {}) {
    return open(bytes, options).status().message();
  }
};

// x, its three outputs, and what they should be.
struct Tensors {
  int64_t tokens;
  std::vector<float> x, y, weights;
  std::vector<int32_t> ids;

  explicit Tensors(int64_t tokens, float first = 1) : tokens(tokens) {
    for (int64_t i = 0; i < 4 * tokens; ++i)
      x.push_back(i % 4 ? static_cast<float>(i) : first);
    y.resize(x.size());
    weights.resize(x.size() / 2);
    ids.resize(x.size() / 2);
  }
  std::vector<HostTensor> inputs() {
    return {{"x", MOERT_F32, {tokens, 4}, x.data()}};
  }
  std::vector<HostTensor> outputs() {
    return {{"y", MOERT_F32, {tokens, 4}, y.data()},
            {"expert_ids", MOERT_I32, {tokens, 2}, ids.data()},
            {"expert_weights", MOERT_F32, {tokens, 2}, weights.data()}};
  }
};

// Element c of expert e's row is e + c, of the bias 10 c.
Status setWeights(Session &session, int ranks);
// Outputs must be what they should be.
void checkRun(Session &session, int ranks, int64_t tokens);

} // namespace moert::test

#endif
