// Slices against a direct reading of the manifest's rule, element by element.
#include "temporary_folder.h"
#include "test_artifact.h"
#include "weights.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

namespace {

// Checkpoint tensors of a shape, filled with numbers that tell them apart.
struct Checkpointed {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

Checkpointed numbered(const std::string &name, std::vector<int64_t> shape,
                      float first) {
  Checkpointed tensor{name, std::move(shape), {}};
  int64_t count = 1;
  for (int64_t size : tensor.shape)
    count *= size;
  for (int64_t i = 0; i < count; ++i)
    tensor.values.push_back(first + static_cast<float>(i));
  return tensor;
}

std::shared_ptr<Checkpoint> save(const TemporaryFolder &folder,
                                 const std::vector<Checkpointed> &tensors,
                                 moert_dtype dtype) {
  std::vector<NamedTensor> named;
  std::vector<std::vector<uint16_t>> halves;
  halves.reserve(tensors.size());
  for (const Checkpointed &tensor : tensors) {
    const void *data = tensor.values.data();
    if (dtype != MOERT_F32) {
      std::vector<uint16_t> &half = halves.emplace_back(tensor.values.size());
      convertElements(FileDtype::F32, data, 1, dtype, half.data(),
                      static_cast<int64_t>(half.size()));
      data = half.data();
    }
    named.push_back({tensor.name, dtype, tensor.shape, data});
  }
  EXPECT_TRUE(writeSafetensors(folder / "model.safetensors", named).ok());
  return *Checkpoint::open(folder.path);
}

// The rule of docs/Artifact.md for one element of one rank's slice.
float elementByRule(const Function &function, const Weight &weight,
                    const Topology &topology, int rank,
                    std::vector<int64_t> index,
                    const std::vector<Checkpointed> &tensors) {
  for (int axis : weight.firstOnly)
    if (topology.coordinates(rank)[axis] != 0)
      return 0;
  for (const WeightSplit &split : weight.split) {
    int64_t at =
        topology.indexOn(split.axes, rank) * weight.localShape[split.dim] +
        index[split.dim];
    index[split.dim] = split.bySlots ? function.slots[at] : at;
    if (index[split.dim] < 0)
      return 0;
  }
  const WeightSource &source = weight.sources[0];
  std::string name =
      source.names[source.partDim < 0 ? 0 : index[source.partDim]];
  if (source.expertDim >= 0)
    name.replace(name.find("{e}"), 3, std::to_string(index[source.expertDim]));
  int64_t at = source.offset;
  for (size_t d = 0; d < index.size(); ++d)
    at += source.strides[d] * index[d];
  for (const Checkpointed &tensor : tensors)
    if (tensor.name == name)
      return tensor.values[at];
  ADD_FAILURE() << "no tensor " << name;
  return 0;
}

// Loads every rank's slice of the manifest's only weight and checks each
// element.
void checkSlices(const Manifest &manifest,
                 const std::vector<Checkpointed> &tensors, moert_dtype stored,
                 const std::string &expectedLog) {
  const Function &function = manifest.functions[0];
  const Weight &weight = function.weights[0];
  Topology topology(manifest.mesh.shape, {});
  TemporaryFolder folder;
  std::string log;
  Result<WeightLoader> loader =
      WeightLoader::open(function, topology, save(folder, tensors, stored),
                         [&](const std::string &line) { log += line + "\n"; });
  ASSERT_TRUE(loader.ok()) << loader.status().message();
  EXPECT_EQ(log, expectedLog);
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    int64_t bytes = weight.sliceBytes();
    std::vector<char> slice(static_cast<size_t>(bytes) + 1, 0x77);
    loader->read(0, rank, slice.data());
    EXPECT_EQ(slice.back(), 0x77) << "written past the end";
    std::vector<int64_t> index(weight.localShape.size(), 0);
    for (int64_t i = 0;
         i * static_cast<int64_t>(dtypeSize(weight.dtype)) < bytes; ++i) {
      ASSERT_EQ(elementAsDouble(fileDtype(weight.dtype), slice.data(), i),
                elementByRule(function, weight, topology, rank, index, tensors))
          << "rank " << rank << ", element " << i;
      for (size_t d = index.size();
           d-- > 0 && ++index[d] == weight.localShape[d];)
        index[d] = 0;
    }
  }
}

// A manifest with one function of one weight, on a mesh 2 x 2.
Manifest manifestWith(const std::string &weight, int experts,
                      const std::string &slots) {
  Json json = Json::parse(testManifest(4));
  json["mesh"]["shape"] = {2, 2};
  json["functions"].erase(1);
  Json &function = json["functions"][0];
  function["weights"] = Json::array({Json::parse(weight)});
  function["experts"] = experts;
  function["slots"] = Json::parse(slots);
  Result<Manifest> manifest = parseManifest(json.dump());
  EXPECT_TRUE(manifest.ok()) << manifest.status().message();
  return std::move(*manifest);
}

} // namespace

TEST(Weights, ExpertsByNameAndPart) {
  std::vector<Checkpointed> tensors;
  for (int e = 0; e < 3; ++e) {
    tensors.push_back(
        numbered("l." + std::to_string(e) + ".w1", {4, 3}, 60 * e));
    tensors.push_back(
        numbered("l." + std::to_string(e) + ".w3", {4, 3}, 60 * e + 30));
  }
  const char *weight = R"({"name": "up", "dtype": "DTYPE",
    "shape": [3, 2, 4, 3], "local_shape": [2, 2, 2, 3],
    "split": [{"dim": 0, "axes": [0], "by": "slots"},
              {"dim": 2, "axes": [1], "by": "blocks"}], "first_only": [],
    "sources": [{"names": ["l.{e}.w1", "l.{e}.w3"], "expert_dim": 0,
                 "part_dim": 1, "file_shape": [4, 3], "offset": 0,
                 "strides": [0, 0, 3, 1]}]})";
  auto as = [&](const char *dtype) {
    std::string text = weight;
    return text.replace(text.find("DTYPE"), 5, dtype);
  };
  // Slots in another order than experts, one empty.
  Manifest f32 = manifestWith(as("f32"), 3, "[2, -1, 0, 1]");
  checkSlices(f32, tensors, MOERT_F32, "");
  checkSlices(f32, tensors, MOERT_BF16,
              "weights are converted from bf16 to f32\n");
  Manifest bf16 = manifestWith(as("bf16"), 3, "[2, -1, 0, 1]");
  checkSlices(bf16, tensors, MOERT_BF16, "");
  checkSlices(bf16, tensors, MOERT_F32,
              "weights are converted from f32 to bf16\n");
  checkSlices(bf16, tensors, MOERT_F16,
              "weights are converted from f16 to bf16\n");
}

TEST(Weights, OneTensorTransposedAndInterleaved) {
  // [E, H, 2 I], parts interleaved, experts one after the other.
  std::vector<Checkpointed> tensors = {numbered("gate_up", {3, 2, 8}, 0)};
  checkSlices(manifestWith(R"({"name": "up", "dtype": "f32",
    "shape": [3, 2, 4, 2], "local_shape": [2, 2, 2, 2],
    "split": [{"dim": 0, "axes": [1], "by": "slots"},
              {"dim": 2, "axes": [0], "by": "blocks"}], "first_only": [],
    "sources": [{"names": ["gate_up"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [3, 2, 8], "offset": 0,
                 "strides": [16, 1, 2, 8]}]})",
                           3, "[1, 0, 2, 2]"),
              tensors, MOERT_F32, "");
}

TEST(Weights, TransposedMatricesLargerThanATile) {
  std::vector<Checkpointed> tensors = {numbered("w", {130, 70}, 0)};
  checkSlices(manifestWith(R"({"name": "t", "dtype": "f32", "shape": [70, 130],
    "local_shape": [70, 65],
    "split": [{"dim": 1, "axes": [1], "by": "blocks"}], "first_only": [],
    "sources": [{"names": ["w"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [130, 70], "offset": 0, "strides": [1, 70]}]})",
                           2, "[0, 1]"),
              tensors, MOERT_F32, "");
}

TEST(Weights, SplitByAllAxesOffsetsAndFirstOnly) {
  std::vector<Checkpointed> tensors = {numbered("w", {2, 8}, 0)};
  // The second row, backwards, over both axes, the second slowest.
  checkSlices(manifestWith(R"({"name": "v", "dtype": "f32", "shape": [8],
    "local_shape": [2], "split": [{"dim": 0, "axes": [1, 0], "by": "blocks"}],
    "first_only": [],
    "sources": [{"names": ["w"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [2, 8], "offset": 15, "strides": [-1]}]})",
                           2, "[0, 1]"),
              tensors, MOERT_F32, "");
  checkSlices(manifestWith(R"({"name": "v", "dtype": "f32", "shape": [],
    "local_shape": [], "split": [], "first_only": [1],
    "sources": [{"names": ["w"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [2, 8], "offset": 9, "strides": []}]})",
                           2, "[0, 1]"),
              tensors, MOERT_F32, "");
}

TEST(Weights, ExpertsInTheLastDimension) {
  std::vector<Checkpointed> tensors;
  for (int e = 0; e < 4; ++e)
    tensors.push_back(numbered("b." + std::to_string(e), {3}, 10 * e));
  checkSlices(manifestWith(R"({"name": "b", "dtype": "f32", "shape": [3, 4],
    "local_shape": [3, 2],
    "split": [{"dim": 1, "axes": [0], "by": "slots"}], "first_only": [],
    "sources": [{"names": ["b.{e}"], "expert_dim": 1, "part_dim": -1,
                 "file_shape": [3], "offset": 0, "strides": [1, 0]}]})",
                           4, "[0, 2, 1, 3]"),
              tensors, MOERT_F32, "");
}

TEST(Weights, WhatDoesNotFitIsNamed) {
  Manifest manifest = std::move(*parseManifest(testManifest(4)));
  Topology topology(manifest.mesh.shape, {});
  auto error = [&](const std::vector<Checkpointed> &tensors) {
    TemporaryFolder folder;
    std::string text = WeightLoader::open(manifest.functions[0], topology,
                                          save(folder, tensors, MOERT_F32),
                                          [](const std::string &) {})
                           .status()
                           .message();
    size_t at = text.find(folder.path);
    return at == std::string::npos
               ? text
               : text.replace(at, folder.path.size(), "FOLDER");
  };
  Checkpointed bias = numbered("bias", {4}, 0);
  EXPECT_EQ(error({numbered("experts.w", {5, 4}, 0), bias}), "");
  EXPECT_EQ(error({bias, numbered("experts.0.w", {4}, 0)}),
            "'FOLDER' has no tensor 'experts.1.w' for weight `w`; did you mean "
            "`experts.0.w`?");
  EXPECT_EQ(error({numbered("experts.w", {4, 5}, 0), bias}),
            "tensor 'experts.w' has shape [4, 5], weight `w` needs [5, 4]");
  EXPECT_EQ(error({numbered("experts.w", {5, 4}, 0)}),
            "'FOLDER' has no tensor 'bias' for weight `b`; choose from: "
            "experts.w");
  TemporaryFolder folder;
  std::vector<int32_t> numbers(20);
  ASSERT_TRUE(
      writeSafetensors(folder / "model.safetensors",
                       {{"experts.w", MOERT_I32, {5, 4}, numbers.data()},
                        {"bias", MOERT_F32, {4}, numbers.data()}})
          .ok());
  EXPECT_EQ(WeightLoader::open(manifest.functions[0], topology,
                               *Checkpoint::open(folder.path),
                               [](const std::string &) {})
                .status()
                .message(),
            "tensor 'experts.w' has dtype I32, weight `w` needs f32");
}
