// A folder that goes away with the test, and small files in it.
#ifndef MOERT_TEST_TEMPORARY_FOLDER_H
#define MOERT_TEST_TEMPORARY_FOLDER_H

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace moert::test {

class TemporaryFolder {
public:
  TemporaryFolder() {
    // mkdtemp replaces the last six letters.
    std::string pattern =
        (std::filesystem::temp_directory_path() / "moert-").string() +
        std::string(6, 'X');
    const char *made = ::mkdtemp(pattern.data());
    if (!made)
      throw std::filesystem::filesystem_error(
          "no temporary folder", pattern,
          std::error_code(errno, std::generic_category()));
    path = made;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string operator/(std::string_view name) const {
    return path + "/" + std::string(name);
  }
  std::string write(std::string_view name, std::string_view bytes) const {
    std::ofstream(*this / name, std::ios::binary) << bytes;
    return *this / name;
  }

  std::string path;
};

inline std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

} // namespace moert::test

#endif
