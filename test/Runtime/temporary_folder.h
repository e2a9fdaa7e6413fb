// A folder that goes away with the test, and small files in it.
#ifndef MOERT_TEST_TEMPORARY_FOLDER_H
#define MOERT_TEST_TEMPORARY_FOLDER_H

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace moert::test {

class TemporaryFolder {
public:
  explicit TemporaryFolder(
      const std::string &parent = std::filesystem::temp_directory_path())
      // mkdtemp replaces the last six letters.
      : path(parent + "/moert-" + std::string(6, 'X')) {
    if (!::mkdtemp(path.data()))
      fail(path);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;

  std::string operator/(std::string_view name) const {
    return path + "/" + std::string(name);
  }
  std::string write(std::string_view name, std::string_view bytes) const {
    std::string file = *this / name;
    if (!(std::ofstream(file, std::ios::binary) << bytes).flush())
      fail(file);
    return file;
  }

  std::string path;

private:
  [[noreturn]] static void fail(const std::string &path) {
    std::perror(path.c_str());
    std::abort();
  }
};

inline std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

} // namespace moert::test

#endif
