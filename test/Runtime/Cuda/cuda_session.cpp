#include "cuda_session.h"

#include "moert/artifact.h"
#include "test_artifact.h"

#include <fstream>
#include <iterator>

using namespace moert;
using namespace moert::test;

std::string moert::test::replaced(std::string text, const std::string &from,
                                  const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string moert::test::cudaManifest(int ranks) {
  std::string text = testManifest(ranks);
  text = replaced(text, R"({"kind": "cpu", "cpu": "x86-64"})",
                  R"({"kind": "cuda", "cpu": "x86-64", "arch": "sm_90a"})");
  auto kernel = [](std::string name, std::string params) {
    return R"({"name": ")" + name + R"(", "entry": "kernels/all.cubin", )" +
           R"("function": ")" + name + R"(", "threads": 32, "cluster": 1, )" +
           R"("shared_bytes": 0, "ctas_per_sm": 1, "params": [)" + params +
           "]}";
  };
  text = replaced(
      text, R"("functions": [)",
      R"("kernels": [)" + kernel("pack", R"("ptr", "ptr", "ptr")") + ",\n" +
          kernel("scale",
                 R"("ptr", "map", "ptr", "ptr", "ptr", "i64", "ptr")") +
          ",\n" + kernel("sum_f32", R"("ptr", "ptr", "i64", "i64", "i32")") +
          R"(], "sums": [{"dtype": "f32", "kernel": 2}], "functions": [)");
  text = replaced(text, R"("prepare": "scale_prepare")",
                  R"("prepare": "scale_prepare", "bind": "scale_bind",
                     "tensor_maps": 1)");
  // The second function is for CPUs alone.
  size_t second = text.find(R"(, {
  "name": "misbehave")");
  return text.substr(0, second) + "]}\n";
}

std::string moert::test::cudaArtifact(const std::string &manifest,
                                      const std::string &image) {
  std::ifstream file(MOERT_TEST_CUDA_PROGRAM, std::ios::binary);
  std::string program{std::istreambuf_iterator<char>(file),
                      std::istreambuf_iterator<char>()};
  ArtifactEntry entries[] = {{std::string(ManifestEntryName), manifest},
                             {std::string(ProgramEntryName), program},
                             {"kernels/all.cubin", image}};
  std::string bytes, error = encodeArtifact(entries, bytes);
  EXPECT_EQ(error, "");
  return bytes;
}

Status moert::test::setWeights(Session &session, int ranks) {
  int experts = std::min(5, 2 * ranks);
  return session.makeWeights([=](size_t weight, int rank, void *host) {
    float *out = static_cast<float *>(host);
    for (int slot = 0; slot < 2 && weight == 0; ++slot)
      for (int c = 0; c < 4; ++c) {
        int expert = 2 * rank + slot;
        out[4 * slot + c] =
            expert < experts ? static_cast<float>(expert + c) : 0;
      }
    for (int c = 0; c < 4 && weight == 1; ++c)
      out[c] = rank == 0 ? 10.0f * static_cast<float>(c) : 0;
    return Status();
  });
}

void moert::test::checkRun(Session &session, int ranks, int64_t tokens) {
  int experts = std::min(5, 2 * ranks);
  Tensors tensors(tokens);
  Status status = session.run(tensors.inputs(), tensors.outputs());
  ASSERT_TRUE(status.ok()) << status.message();
  for (size_t i = 0; i < tensors.y.size(); ++i) {
    int c = static_cast<int>(i % 4);
    float sum =
        static_cast<float>(10 * c + experts * c + experts * (experts - 1) / 2);
    ASSERT_EQ(tensors.y[i], tensors.x[i] * sum) << tokens << " tokens, " << i;
  }
  for (int32_t i = 0; i < 2 * tokens; ++i) {
    ASSERT_EQ(tensors.ids[i], 1 + i % 2);
    ASSERT_EQ(tensors.weights[i], i % 2 ? 0.25f : 0.75f);
  }
}
