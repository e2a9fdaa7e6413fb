// Every field of the manifest is checked, with the path to what is wrong.
#include "manifest.h"
#include "temporary_folder.h"
#include "test_artifact.h"

#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

static std::string errorOf(const std::string &text) {
  return parseManifest(text).status().message();
}

TEST(Manifest, ReadsWhatItSays) {
  Result<Manifest> manifest = parseManifest(testManifest(4));
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(manifest->worldSize, 4);
  ASSERT_EQ(manifest->functions.size(), 2u);
  const Function &function = manifest->functions[0];
  EXPECT_EQ(function.layer, 3);
  EXPECT_EQ(function.weights[0].sources.size(), 2u);
  EXPECT_EQ(function.slots, (std::vector<int64_t>{0, 1, 2, 3, 4, -1, -1, -1}));
  EXPECT_EQ(function.routing->expertWeights, 2);
  EXPECT_EQ(*manifest->functions[1].arena.bytes(7), 1024 + 8 * 7 + 4 * 4);
  EXPECT_FALSE(ArenaSize({0, INT64_MAX / 2, 0, 1}).bytes(3).has_value());
}

TEST(Manifest, TheExampleOfTheDocsIsOne) {
  std::string text = readFile(MOERT_DOCS "/Artifact.md");
  size_t begin = text.find("```json\n");
  ASSERT_NE(begin, std::string::npos);
  size_t end = text.find("```", begin + 8);
  Result<Manifest> manifest =
      parseManifest(std::string_view(text).substr(begin + 8, end - begin - 8));
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(manifest->functions[0].outputs.size(), 3u);
}

namespace {
struct Edit {
  const char *pointer; // JSON pointer; the value there is replaced
  const char *value;   // JSON; null pointer: removed
  const char *message; // after "manifest.json: "
};
} // namespace

static const Edit Edits[] = {
    {"/format", "\"zip\"", "format is 'zip', 'moe-mlir artifact' is expected"},
    {"/format", nullptr, "format is missing"},
    {"/version", "2", "version is 2, this runtime reads 1"},
    {"/abi", "7", "abi is 7, this runtime has 2"},
    {"/abi", "\"1\"", "abi is a string, an integer is expected"},
    {"/abi", "1.5", "abi is no 64-bit integer, an integer is expected"},
    {"/producer", "3", "producer is a number, a string is expected"},
    {"/producer", "\"a\\u0000b\"", "producer holds a NUL character"},
    {"/extra", "0", "extra is unknown; did you mean `abi`?"},
    {"/target", "[]", "target is a array, an object is expected"},
    {"/target/gpu", "1",
     "target.gpu is unknown; choose from: cpu, features, kind"},
    {"/options/place", "1", "options.place is a number, a string is expected"},
    {"/world_size", "0", "world_size is 0, expected 1 to 65536"},
    {"/world_size", "3", "mesh.shape has 4 members, world_size is 3"},
    {"/mesh/axes", "[\"ep\"]", "mesh.shape has 2 elements, expected 1"},
    {"/mesh/axes", "[\"ep\", \"ep\"]", "mesh.axes names 'ep' twice"},
    {"/groups/0", "[0, 2]", "groups[1] is 2, expected 0 to 1"},
    {"/groups/0", "[0, 0]", "groups names an axis twice"},
    {"/functions", "[]", "functions has 0 elements, expected 1 to 4096"},
    {"/functions/1/name", "\"scale\"", "functions names 'scale' twice"},
    {"/functions/0/top_k", "6", "functions[0].top_k is 6, expected 0 to 5"},
    {"/functions/0/inputs/0/dtype", "\"f23\"",
     "functions[0].inputs[0].dtype is 'f23'; choose from: f32, bf16, "
     "i32, i64, f16"},
    {"/functions/0/inputs/0/shape", "[-1, -1]",
     "functions[0].inputs[0].shape[1] is -1, only the first dimension may be "
     "the number of tokens"},
    {"/functions/0/inputs/0/shape", "[-2]",
     "functions[0].inputs[0].shape[0] is -2, expected -1 to 1099511627776"},
    {"/functions/0/inputs/0/shape", "[-1, 1099511627776, 1099511627776]",
     "functions[0].inputs[0].shape has more than 1099511627776 elements a row"},
    {"/functions/0/inputs/0/shape", "[4]",
     "functions[0].inputs[0].split is not empty, but the shape has no tokens"},
    {"/functions/0/inputs/0/split", "[5]",
     "functions[0].inputs[0].split[0] is 5, expected 0 to 1"},
    {"/functions/0/outputs/1/name", "\"y\"",
     "functions[0].outputs names 'y' twice"},
    {"/functions/0/outputs/1/name", "\"\"",
     "functions[0].outputs holds an empty name"},
    {"/functions/0/routing/expert_ids", "0",
     "functions[0].routing.expert_ids is output 0, which is no i32 [-1, 2]"},
    {"/functions/0/routing/expert_ids", "3",
     "functions[0].routing.expert_ids is 3, expected 0 to 2"},
    {"/functions/0/slots", "[0, 1, 2, 3, 3, -1, -1, -1]",
     "functions[0].slots hold no expert 4 of 5"},
    {"/functions/0/slots/0", "5",
     "functions[0].slots[0] is 5, expected -1 to 4"},
    {"/functions/0/slots", "[0, 1, 2, 3, 4]",
     "functions[0].weights[0].split cuts 5 slots of dimension 0 into 4 blocks"},
    {"/functions/0/weights/0/shape", "[4, 4]",
     "functions[0].weights[0].shape has 4 experts in dimension 0, the function "
     "has 5"},
    {"/functions/0/weights/0/local_shape", "[2, 2]",
     "functions[0].weights[0].local_shape is [2, 2], the split gives [2, 4]"},
    {"/functions/0/weights/0/split/0/by", "\"rows\"",
     "functions[0].weights[0].split[0].by is 'rows'; choose from: slots, "
     "blocks"},
    {"/functions/0/weights/0/split/0/dim", "2",
     "functions[0].weights[0].split[0].dim is 2, expected 0 to 1"},
    {"/functions/0/weights/0/split/1",
     "{\"dim\": 0, \"axes\": [1], \"by\": \"blocks\"}",
     "functions[0].weights[0].split cuts dimension 0 twice"},
    {"/functions/0/weights/0/split/1",
     "{\"dim\": 1, \"axes\": [0], \"by\": \"blocks\"}",
     "functions[0].weights[0].split uses axis 0 twice"},
    {"/functions/0/weights/0/sources", "[]",
     "functions[0].weights[0].sources has 0 elements, expected 1 to 16"},
    {"/functions/0/weights/0/sources/0/names/0", "\"x\"",
     "functions[0].weights[0].sources[0].names holds 'x', expected 1 {e} in "
     "it"},
    {"/functions/0/weights/0/sources/1/names/0", "\"{e}\"",
     "functions[0].weights[0].sources[1].names holds '{e}', expected 0 {e} in "
     "it"},
    {"/functions/0/weights/0/sources/0/part_dim", "1",
     "functions[0].weights[0].sources[0].names has 1 elements, part_dim gives "
     "4"},
    {"/functions/0/weights/0/sources/0/strides", "[1, 1]",
     "functions[0].weights[0].sources[0].strides reach outside of a tensor of "
     "shape [4]"},
    {"/functions/0/weights/0/sources/0/offset", "1",
     "functions[0].weights[0].sources[0].strides reach outside of a tensor of "
     "shape [4]"},
    {"/functions/0/weights/0/sources/1/strides", "[4, -1]",
     "functions[0].weights[0].sources[1].strides reach outside of a tensor of "
     "shape [5, 4]"},
    {"/functions/0/weights/0/sources/0/strides", "[1]",
     "functions[0].weights[0].sources[0].strides has 1 elements, expected 2"},
    {"/functions/0/packed/0", "{\"bytes\": -1}",
     "functions[0].packed[0].bytes is -1, expected 0 to 1125899906842624"},
    {"/functions/0/packed/0/size", "1",
     "functions[0].packed[0].size is unknown; choose from: bytes"},
    {"/functions/0/arena/shares", "0",
     "functions[0].arena.shares is 0, expected 1 to 65536"},
    {"/functions/0/arena", nullptr, "functions[0].arena is missing"},
    {"/functions/0/collectives", "\"0\"",
     "functions[0].collectives is not made of 32 hexadecimal digits"},
};

TEST(Manifest, EveryMistakeIsNamed) {
  for (const Edit &edit : Edits) {
    Json json = Json::parse(testManifest(4));
    Json::json_pointer pointer(edit.pointer);
    if (edit.value)
      json[pointer] = Json::parse(edit.value);
    else
      json[pointer.parent_pointer()].erase(pointer.back());
    EXPECT_EQ(errorOf(json.dump()), concat("manifest.json: ", edit.message))
        << edit.pointer;
  }
}

// The same manifest for a device.
static Json cudaManifest() {
  Json json = Json::parse(testManifest(4));
  json["target"] = {{"kind", "cuda"}, {"cpu", "x86-64"}, {"arch", "sm_90a"}};
  json["kernels"] = Json::parse(R"([
    {"name": "up", "entry": "kernels/up.cubin", "function": "up", "threads": 384,
     "cluster": 1, "shared_bytes": 200000, "ctas_per_sm": 1, "params": ["map", "ptr", "f32"]},
    {"name": "sum", "entry": "kernels/sum.ptx", "function": "sum", "threads": 128,
     "cluster": 1, "shared_bytes": 0, "ctas_per_sm": 8, "params": ["ptr", "ptr", "i64", "i64", "i32"]}])");
  json["sums"] = Json::parse(R"([{"dtype": "bf16", "kernel": 1}])");
  for (Json &function : json["functions"]) {
    function["bind"] = "bind";
    function["tensor_maps"] = 3;
  }
  json["functions"][0]["variants"] = Json::parse(R"([
    {"experts": 8, "top_k": 2, "hidden": 64, "inner": 32, "fp8": true, "few": [0, 1, 16]},
    {"experts": 8, "k": 64, "n": 128, "paired": true, "fp8": false, "rows_per_token": 2,
     "tiles": [{"tokens": 32, "weights": 128, "swap": true}]}])");
  return json;
}

TEST(Manifest, ReadsKernels) {
  Result<Manifest> manifest = parseManifest(cudaManifest().dump());
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_TRUE(manifest->target.isCuda());
  EXPECT_EQ(manifest->target.arch, "sm_90a");
  ASSERT_EQ(manifest->kernels.size(), 2u);
  const Kernel &kernel = manifest->kernels[0];
  EXPECT_EQ(kernel.entry, "kernels/up.cubin");
  EXPECT_EQ(kernel.sharedBytes, 200000);
  EXPECT_EQ(kernel.parameters,
            (std::vector<KernelParameter>{KernelParameter::TensorMap,
                                          KernelParameter::Pointer,
                                          KernelParameter::Float32}));
  EXPECT_EQ(manifest->sums[0].dtype, MOERT_BF16);
  EXPECT_EQ(manifest->sums[0].kernel, 1);
  EXPECT_EQ(manifest->functions[0].bind, "bind");
  EXPECT_EQ(manifest->functions[0].tensorMaps, 3);
  const std::vector<Choice> &variants = manifest->functions[0].variants;
  ASSERT_EQ(variants.size(), 2u);
  EXPECT_TRUE(variants[0].isLayer);
  EXPECT_TRUE(variants[0].isFp8);
  EXPECT_EQ(variants[0].variants(), 3);
  EXPECT_EQ(variants[1].rowsPerToken, 2);
  EXPECT_EQ(variants[1].variants(), 1);
  EXPECT_EQ(Json::parse(variants[1].tiles[0])["swap"], true);
  EXPECT_TRUE(manifest->functions[1].variants.empty());
}

static const Edit KernelEdits[] = {
    {"/target/kind", "\"tpu\"", "target.kind is 'tpu'; choose from: cpu, cuda"},
    {"/target/kind", "\"cpu\"",
     "target.arch is unknown; choose from: cpu, features, kind"},
    {"/target/arch", nullptr, "target.arch is missing"},
    {"/kernels/0/threads", "0", "kernels[0].threads is 0, expected 1 to 1024"},
    {"/kernels/0/params/1", "\"i8\"",
     "kernels[0].params[1] is 'i8'; choose from: ptr, i32, i64, f32, map"},
    {"/kernels/1/name", "\"up\"", "kernels names 'up' twice"},
    {"/sums/0/kernel", "2", "sums[0].kernel is 2, expected 0 to 1"},
    {"/sums/0/kernel", "0",
     "sums[0].kernel is kernel 0, which does not take ptr, ptr, i64, i64, i32"},
    {"/functions/1/bind", nullptr, "functions[1].bind is missing"},
    {"/functions/0/tensor_maps", "-1",
     "functions[0].tensor_maps is -1, expected 0 to 4096"},
    {"/functions/0/variants", "[]",
     "functions[0].variants has 0 elements, expected 1 to 256"},
    {"/functions/0/variants/0/top_k", "9",
     "functions[0].variants[0].top_k is 9, expected 1 to 8"},
    {"/functions/0/variants/1/n", nullptr,
     "functions[0].variants[1].n is missing"},
    {"/functions/0/variants/1/paired", "1",
     "functions[0].variants[1].paired is a number, true or false is expected"},
    {"/functions/0/variants/1/tiles/0/swap", "\"yes\"",
     "functions[0].variants[1].tiles[0].swap is a string, an integer is "
     "expected"},
    {"/functions/0/variants/1/few", "[1]",
     "functions[0].variants[1].top_k is missing"},
};

TEST(Manifest, EveryMistakeInKernelsIsNamed) {
  for (const Edit &edit : KernelEdits) {
    Json json = cudaManifest();
    Json::json_pointer pointer(edit.pointer);
    if (edit.value)
      json[pointer] = Json::parse(edit.value);
    else
      json[pointer.parent_pointer()].erase(pointer.back());
    EXPECT_EQ(errorOf(json.dump()), concat("manifest.json: ", edit.message))
        << edit.pointer;
  }
}

// Removing any field, or adding one to any object, is refused: nothing is
// optional but what the format says.
static void eachObject(Json &root, Json &json,
                       const std::function<void(Json &)> &visit) {
  if (json.is_object())
    visit(json);
  for (Json &child : json)
    if (child.is_structured())
      eachObject(root, child, visit);
}

TEST(Manifest, NoFieldMayBeMissingOrUnknown) {
  Json json = Json::parse(testManifest(4));
  int removed = 0;
  eachObject(json, json, [&](Json &object) {
    Json saved = object;
    bool isOptions = object.contains("place");
    for (const auto &item : saved.items()) {
      if (isOptions || item.key() == "routing" || item.key() == "steps")
        continue;
      object.erase(item.key());
      EXPECT_NE(errorOf(json.dump()), "") << item.key();
      object = saved;
      ++removed;
    }
    if (!isOptions) {
      object["surprise"] = 1;
      EXPECT_NE(errorOf(json.dump()).find("surprise is unknown"),
                std::string::npos)
          << errorOf(json.dump());
      object = saved;
    }
  });
  EXPECT_GT(removed, 60);
}

// Whatever type a value is given, the answer is an error or a manifest, and
// never a crash.
TEST(Manifest, AnyTypeInAnyPlace) {
  const char *values[] = {"null",
                          "true",
                          "-1",
                          "1e300",
                          "9223372036854775807",
                          "18446744073709551615",
                          "\"\"",
                          "[]",
                          "{}",
                          "[[]]"};
  Json flat = Json::parse(testManifest(4)).flatten();
  for (const auto &item : flat.items())
    for (const char *value : values) {
      Json json = Json::parse(testManifest(4));
      json[Json::json_pointer(item.key())] = Json::parse(value);
      Result<Manifest> result = parseManifest(json.dump());
      EXPECT_EQ(result.ok(), result.status().message().empty());
    }
}

TEST(Manifest, TextThatIsNoJson) {
  EXPECT_EQ(errorOf(""), "manifest.json: the text is no JSON at byte 1");
  EXPECT_EQ(errorOf("{\"a\": }"),
            "manifest.json: the text is no JSON at byte 7");
  EXPECT_EQ(errorOf("{} {}"), "manifest.json: the text is no JSON at byte 4");
  EXPECT_EQ(errorOf("\"\xff\""),
            "manifest.json: the text is no JSON at byte 2");
  EXPECT_EQ(errorOf("[1e999]"),
            "manifest.json: the JSON text holds a number out of range");
  EXPECT_EQ(errorOf("{\"a\": 1, \"b\": {\"a\": 1, \"a\": 2}}"),
            "manifest.json: key 'a' stands twice in one object");
  EXPECT_EQ(errorOf(std::string(100000, '[')),
            "manifest.json: the JSON text is nested more than 16 deep at byte "
            "16");
  EXPECT_EQ(errorOf("\"" + std::string(100000, '[') + "\""),
            "manifest.json: the document is a string, an object is expected");
  EXPECT_EQ(errorOf(std::string((64 << 20) + 1, ' ')),
            "manifest.json: the JSON text has 67108865 bytes, at most 67108864 "
            "are allowed");
}
