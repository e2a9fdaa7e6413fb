// .npy files: what is read, and what is refused with which message.
#include "npy.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moert;

static std::string npy(std::string header, const std::string &data,
                       int version = 1) {
  header += '\n';
  std::string bytes("\x93NUMPY", 6);
  bytes += static_cast<char>(version);
  bytes += '\0';
  uint32_t size = static_cast<uint32_t>(header.size());
  bytes.append(reinterpret_cast<const char *>(&size), version == 1 ? 2 : 4);
  return bytes + header + data;
}

static std::string errorOf(const std::string &bytes) {
  return parseNpy(bytes).status().message();
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const std::tuple<const char *, FileDtype, std::vector<int64_t>, size_t>
      cases[] = {
          {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }    ",
           FileDtype::F32,
           {2, 3},
           24},
          {"{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }",
           FileDtype::F16,
           {3},
           6},
          {"{'shape': (), 'descr': '<i8', 'fortran_order': False}",
           FileDtype::I64,
           {},
           8},
          {"{\"descr\": \"<i4\", 'fortran_order': False, 'shape': (0, 7)}",
           FileDtype::I32,
           {0, 7},
           0},
          {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 2), }",
           FileDtype::F64,
           {1, 1, 2},
           16},
      };
  for (const auto &[header, dtype, shape, size] : cases)
    for (int version : {1, 2, 3}) {
      std::string bytes = npy(header, std::string(size, 'x'), version);
      Result<TensorView> tensor = parseNpy(bytes);
      ASSERT_TRUE(tensor.ok()) << header << tensor.status().message();
      EXPECT_EQ(tensor->dtype, dtype);
      EXPECT_EQ(tensor->shape, shape);
      EXPECT_EQ(tensor->bytes.size(), size);
    }
}

TEST(Npy, EveryMistakeIsNamed) {
  const std::string notADictionary =
      "the header is no dictionary of descr, fortran_order and shape";
  auto with = [](const char *descr, const char *order, const char *shape) {
    return concat("{'descr': '", descr, "', 'fortran_order': ", order,
                  ", 'shape': ", shape, ", }");
  };
  std::string good = npy(with("<f4", "False", "(2,)"), "12345678");
  ASSERT_EQ(errorOf(good), "");
  std::string badVersion = good;
  badVersion[6] = 4;
  std::string longHeader = good;
  longHeader[6] = 2;
  const std::pair<std::string, std::string> cases[] = {
      {"", "the file does not begin with the mark of a .npy file"},
      {"PK\3\4 an .npz",
       "the file does not begin with the mark of a .npy file"},
      {badVersion, "the .npy version is 4.0, expected 1.0, 2.0 or 3.0"},
      {good.substr(0, 9), "the file ends inside of its header"},
      {good.substr(0, 30), "the file ends inside of its header"},
      {longHeader, "the header has 662372410 bytes, at most 1048576 are "
                   "allowed"},
      {npy("", ""), notADictionary},
      {npy("{}", ""), notADictionary},
      {npy("{'descr': '<f4', 'fortran_order': False}", ""), notADictionary},
      {npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': "
           "(2,)}",
           ""),
       notADictionary},
      {npy(with("<f4", "False", "(2,)") + "x", "12345678"),
       "the header does not end with spaces and a line feed"},
      {npy(with("<f4", "0", "(2,)"), "12345678"), notADictionary},
      {npy(with("<f4", "False", "(2)"), "12345678"), notADictionary},
      {npy(with("<f4", "False", "[2]"), "12345678"), notADictionary},
      {npy(with("<f4", "False", "(-2,)"), "12345678"), notADictionary},
      {npy(with("<f4", "False", "(99999999999999999999,)"), "12345678"),
       notADictionary},
      {npy(with("<f4", "True", "(2,)"), "12345678"),
       "the array is in Fortran order, C order is expected"},
      {npy(with(">f4", "False", "(2,)"), "12345678"),
       "the dtype is '>f4', expected one of <f8, <f4, <f2, <i8, <i4"},
      {npy(with("|O", "False", "(2,)"), "12345678"),
       "the dtype is '|O', expected one of <f8, <f4, <f2, <i8, <i4"},
      {npy(with("<f4", "False", "(3,)"), "12345678"),
       "an array of shape [3] and dtype <f4 needs 12 bytes, the file has 8"},
      {npy(with("<f4", "False", "(1,)"), "12345678"),
       "an array of shape [1] and dtype <f4 needs 4 bytes, the file has 8"},
      {npy(with("<f4", "False", "(4294967296, 4294967296)"), ""),
       "an array of shape [4294967296, 4294967296] is too large"},
  };
  for (const auto &[bytes, message] : cases)
    EXPECT_EQ(errorOf(bytes), message);
}

TEST(Npy, EveryTruncationIsRefused) {
  std::string good = npy(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "12345678");
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(errorOf(good.substr(0, size)), "") << size;
}
