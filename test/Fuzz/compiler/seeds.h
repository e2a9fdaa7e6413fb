// Modules to mutate: every part of every test in MLIR that is valid, with the
// passes that the test runs.
#ifndef MOE_TEST_FUZZ_SEEDS_H
#define MOE_TEST_FUZZ_SEEDS_H

#include <string>
#include <vector>

namespace fuzz {

struct Seed {
  std::string text;
  std::vector<std::string> passes; // flags of moe-opt, of passes of ours
};

/// Reads all of a folder, in the order of their paths.
std::vector<Seed> readSeeds(const std::string &folder);

} // namespace fuzz

#endif
