// Writes the test artifact and what its run needs into a folder, for lit tests.
#include "test_artifact.h"

#include "safetensors.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace moert;

static void writeCheckpoint(const std::string &folder) {
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<float>> rows;
  for (int expert = 0; expert < 5; ++expert)
    rows.push_back({1, 2, static_cast<float>(expert), 0.5f});
  rows.push_back({10, 20, 30, 40});
  for (int expert = 0; expert < 5; ++expert)
    tensors.push_back({"experts." + std::to_string(expert) + ".w",
                       MOERT_F32,
                       {4},
                       rows[expert].data()});
  tensors.push_back({"bias", MOERT_F32, {4}, rows[5].data()});
  if (!writeSafetensors(folder + "/model.safetensors", tensors).ok())
    std::exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: make-test-artifact FOLDER RANKS\n");
    return 2;
  }
  std::string folder = argv[1];
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/layer.moe", std::ios::binary)
      << test::testArtifact(std::atoi(argv[2]));
  writeCheckpoint(folder);
  // The same by the name that documents use.
  std::filesystem::create_directories(folder + "/checkpoint");
  writeCheckpoint(folder + "/checkpoint");
}
