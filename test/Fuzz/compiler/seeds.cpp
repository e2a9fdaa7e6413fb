#include "seeds.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

using namespace fuzz;

static std::vector<std::string> passesOf(const std::string &text) {
  static const std::regex flag(
      "--((moe|convert)-[a-z0-9-]+)(=\"([^\"]*)\"|=([^ ]+))?");
  std::vector<std::string> passes;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.find("RUN:") == std::string::npos)
      continue;
    for (std::sregex_iterator it(line.begin(), line.end(), flag), end;
         it != end; ++it) {
      std::string options = (*it)[4].str() + (*it)[5].str();
      // Files that tests make are not there.
      if (options.find('%') != std::string::npos)
        continue;
      passes.push_back((*it)[1].str() +
                       (options.empty() ? "" : "{" + options + "}"));
    }
  }
  return passes;
}

std::vector<Seed> fuzz::readSeeds(const std::string &folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto &entry :
       std::filesystem::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".mlir")
      paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Seed> seeds;
  for (const std::filesystem::path &path : paths) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    std::string all = text.str();
    std::vector<std::string> passes = passesOf(all);
    static const std::string separator = "\n// -----";
    for (size_t begin = 0; begin != std::string::npos;) {
      size_t end = all.find(separator, begin);
      seeds.push_back({all.substr(begin, end - begin), passes});
      begin = end == std::string::npos ? end : end + separator.size();
    }
  }
  return seeds;
}
