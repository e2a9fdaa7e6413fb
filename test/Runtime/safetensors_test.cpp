// The format's rejection list, file by file, with exact messages.
#include "checkpoint.h"
#include "safetensors.h"
#include "temporary_folder.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

static std::string file(const std::string &header, const std::string &data,
                        int64_t extraHeader = 0) {
  uint64_t size = header.size() + static_cast<uint64_t>(extraHeader);
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + data;
}

static std::string errorOf(const std::string &bytes) {
  return SafetensorsFile::parse(bytes).status().message();
}

TEST(Safetensors, ReadsWhatItWrites) {
  TemporaryFolder folder;
  std::vector<float> floats = {1, 2, 3, 4, 5, 6};
  std::vector<uint16_t> halves = {1, 2, 3};
  std::vector<int64_t> longs = {-7};
  std::vector<NamedTensor> tensors = {
      {"h", MOERT_BF16, {3}, halves.data()},
      {"f \"quoted\" \xc3\xa4", MOERT_F32, {2, 3}, floats.data()},
      {"l", MOERT_I64, {}, longs.data()},
      {"empty", MOERT_F32, {0, 5}, nullptr}};
  std::string path = folder / "t.safetensors";
  ASSERT_TRUE(writeSafetensors(path, tensors).ok());
  std::shared_ptr<SafetensorsFile> read = *SafetensorsFile::open(path);
  EXPECT_EQ(read->names().size(), 4u);
  const TensorView *view = read->find("f \"quoted\" \xc3\xa4");
  ASSERT_TRUE(view);
  EXPECT_EQ(view->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(view->bytes.data(), floats.data(), 24), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(view->bytes.data()) % 4, 0u);
  EXPECT_EQ(read->find("l")->elements(), 1);
  EXPECT_EQ(read->find("empty")->bytes.size(), 0u);
  EXPECT_EQ(read->find("x"), nullptr);
  std::string first = readFile(path);
  ASSERT_TRUE(writeSafetensors(path, tensors).ok());
  EXPECT_EQ(readFile(path), first);
  EXPECT_EQ(writeSafetensors("/dev/full", tensors).message(),
            "cannot write '/dev/full': No space left on device");
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  for (
      const std::string &bytes : {
          file("{}", ""),
          file("{}   ", ""),
          file(R"({"__metadata__": {"format": "pt"}})", ""),
          file(
              R"({"a": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]}})",
              "abc"),
          file(
              R"({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}})",
              "ab"),
          file(R"({"b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
                    "z": {"dtype": "U8", "shape": [0], "data_offsets": [1, 1]},
                    "a": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}})",
               "abc"),
      })
    EXPECT_EQ(errorOf(bytes), "") << bytes;
}

TEST(Safetensors, EveryMistakeIsNamed) {
  auto one = [](const char *dtype, const char *shape, const char *offsets) {
    return concat(R"({"a": {"dtype": ")", dtype, R"(", "shape": )", shape,
                  R"(, "data_offsets": )", offsets, "}}");
  };
  const std::pair<std::string, std::string> cases[] = {
      {"", "the file has 0 bytes, a safetensors file has at least 8"},
      {"1234567", "the file has 7 bytes, a safetensors file has at least 8"},
      {file("{}", "", 1),
       "the header has 3 bytes, the file only 2 after its length"},
      {file("{}", "", 100000000),
       "the header has 100000002 bytes, at most 100000000 are allowed"},
      {file("{}", "", -3),
       "the header has 18446744073709551615 bytes, at most 100000000 are "
       "allowed"},
      {file("", ""), "the header does not begin with '{'"},
      {file(" {}", ""), "the header does not begin with '{'"},
      {file("[]", ""), "the header does not begin with '{'"},
      {file("{", ""), "header: the text is no JSON at byte 2"},
      {file("{}x", ""), "header: the text is no JSON at byte 3"},
      {file("{\"\xff\": 1}", ""), "header: the text is no JSON at byte 3"},
      {file("{\"a\":" + std::string(50, '['), ""),
       "header: the JSON text is nested more than 8 deep at byte 12"},
      {file(R"({"a": 1, "a": 2})", ""),
       "header: key 'a' stands twice in one object"},
      {file(R"({"__metadata__": 3})", ""),
       "__metadata__ is a number, an object of strings is expected"},
      {file(R"({"__metadata__": {"a": 3}})", ""),
       "__metadata__.a is a number, a string is expected"},
      {file(R"({"a": 1})", ""),
       "tensor 'a' is a number, an object is expected"},
      {file(R"({"a": {}})", ""), "tensor 'a'.dtype is missing"},
      {file(
           R"({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0], "x": 1}})",
           ""),
       "tensor 'a'.x is unknown; choose from: data_offsets, dtype, shape"},
      {file(one("F33", "[1]", "[0, 4]"), "abcd"),
       "tensor 'a' has the unknown dtype 'F33'"},
      {file(one("F32", "[-1]", "[0, 4]"), "abcd"),
       "tensor 'a'.shape[0] is -1, expected 0 to 9223372036854775807"},
      {file(one("F32", "[1.0]", "[0, 4]"), "abcd"),
       "tensor 'a'.shape[0] is no 64-bit integer, an integer is expected"},
      {file(one("F32", "[1]", "[0]"), "abcd"),
       "tensor 'a'.data_offsets has 1 elements, expected 2"},
      {file(one("F32", "[1]", "[4, 0]"), "abcd"),
       "tensor 'a' ends at 0, before it begins at 4"},
      {file(one("F32", "[1]", "[0, 4]"), "abc"),
       "tensor 'a' ends at 4, the data at 3"},
      {file(one("F32", "[4294967296, 4294967296]", "[0, 4]"), "abcd"),
       "tensor 'a' of shape [4294967296, 4294967296] is too large"},
      {file(one("F32", "[2305843009213693952]", "[0, 4]"), "abcd"),
       "tensor 'a' of shape [2305843009213693952] is too large"},
      {file(one("F4", "[3]", "[0, 2]"), "ab"),
       "tensor 'a' of shape [3] and dtype F4 does not fill whole bytes"},
      {file(one("F32", "[2]", "[0, 4]"), "abcd"),
       "tensor 'a' of shape [2] and dtype F32 needs 8 bytes, its offsets hold "
       "4"},
      {file(one("U8", "[2]", "[1, 3]"), "abc"),
       "no tensor holds the bytes 0 to 1 before 'a'"},
      {file(one("U8", "[2]", "[0, 2]"), "abc"),
       "no tensor holds the last 1 bytes"},
      {file("{}", "abc"), "no tensor holds the last 3 bytes"},
      {file(R"({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
                "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}})",
            "abc"),
       "tensor 'b' begins at 1, inside of 'a', which ends at 2"},
      {file(R"({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
                "b": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}})",
            "abc"),
       "tensor 'b' begins at 0, inside of 'a', which ends at 3"},
  };
  for (const auto &[bytes, message] : cases)
    EXPECT_EQ(errorOf(bytes), message);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  std::string good = file(
      R"({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}})", "abc");
  EXPECT_EQ(errorOf(good), "");
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(errorOf(good.substr(0, size)), "") << size;
}

namespace {
std::string tensorFile(const std::string &name, float value) {
  std::string data(4, '\0');
  std::memcpy(data.data(), &value, 4);
  return file(
      concat(R"({")", name,
             R"(": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})"),
      data);
}

float valueOf(Checkpoint &checkpoint, const std::string &name) {
  Result<const TensorView *> tensor = checkpoint.find(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status().message();
  float value = 0;
  if (tensor.ok())
    std::memcpy(&value, (*tensor)->bytes.data(), 4);
  return value;
}

std::string openError(const std::string &path) {
  return Checkpoint::open(path).status().message();
}
} // namespace

TEST(Checkpoint, SingleFileAndFolder) {
  TemporaryFolder folder;
  EXPECT_EQ(openError(folder.path), "'" + folder.path +
                                        "' holds neither model.safetensors nor "
                                        "model.safetensors.index.json");
  folder.write("golden.safetensors", "not a safetensors file");
  folder.write("model.safetensors", tensorFile("a", 5));
  for (std::string path : {folder.path, folder / "model.safetensors"}) {
    std::shared_ptr<Checkpoint> checkpoint = *Checkpoint::open(path);
    EXPECT_EQ(valueOf(*checkpoint, "a"), 5);
    EXPECT_EQ(checkpoint->find("b").status().message(),
              "'" + path + "' has no tensor 'b'; choose from: a");
  }
}

TEST(Checkpoint, ShardsAreOpenedWhenNeeded) {
  TemporaryFolder folder;
  folder.write("one.safetensors", tensorFile("a", 1));
  folder.write("two.safetensors", tensorFile("b", 2));
  folder.write("model.safetensors.index.json",
               R"({"metadata": {"total_size": 8}, "weight_map": {
                   "a": "one.safetensors", "b": "two.safetensors",
                   "c": "two.safetensors", "d": "three.safetensors"}})");
  std::shared_ptr<Checkpoint> checkpoint = *Checkpoint::open(folder.path);
  EXPECT_EQ(valueOf(*checkpoint, "a"), 1);
  EXPECT_EQ(valueOf(*checkpoint, "b"), 2);
  EXPECT_EQ(checkpoint->find("c").status().message(),
            "'" + (folder / "two.safetensors") +
                "' has no tensor 'c', but the index puts it there");
  EXPECT_EQ(checkpoint->find("d").status().message(),
            "cannot read '" + (folder / "three.safetensors") +
                "': No such file or directory");
}

TEST(Checkpoint, MalformedIndex) {
  const std::pair<const char *, const char *> cases[] = {
      {"", "the text is no JSON at byte 1"},
      {"[]", "weight_map is missing"},
      {"{}", "weight_map is missing"},
      {R"({"weight_map": []})", "weight_map is a array, an object is expected"},
      {R"({"weight_map": {"a": 1}})",
       "weight_map.a is a number, a string is expected"},
      {R"({"weight_map": {"a": "x", "a": "y"}})",
       "key 'a' stands twice in one object"},
      {R"({"weight_map": {"a": "../x"}})",
       "weight_map puts 'a' into '../x', the name of a file in the same folder "
       "is expected"},
      {R"({"weight_map": {"a": "/etc/passwd"}})",
       "weight_map puts 'a' into '/etc/passwd', the name of a file in the same "
       "folder is expected"},
      {R"({"weight_map": {"a": ""}})",
       "weight_map puts 'a' into '', the name of a file in the same folder is "
       "expected"},
  };
  TemporaryFolder folder;
  for (const auto &[text, message] : cases) {
    std::string path = folder.write("model.safetensors.index.json", text);
    EXPECT_EQ(openError(folder.path), "'" + path + "': " + message);
  }
}
