#include "test_artifact.h"

#include "moert/artifact.h"

#include <fstream>
#include <iterator>
#include <sstream>

using namespace moert;

std::string test::testProgram() {
  std::ifstream file(MOERT_TEST_PROGRAM, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

// Two slots a rank for at most five experts: from three ranks on some are
// empty.
std::string test::testManifest(int ranks) {
  int slots = 2 * ranks;
  int experts = slots < 5 ? slots : 5;
  std::ostringstream slotList;
  for (int slot = 0; slot < slots; ++slot)
    slotList << (slot ? ", " : "") << (slot < experts ? slot : -1);
  std::ostringstream out;
  out << R"({
"format": "moe-mlir artifact", "version": 1, "abi": 2, "producer": "test",
"target": {"kind": "cpu", "cpu": "x86-64"},
"options": {"place": "ranks=)"
      << ranks << R"("},
"world_size": )"
      << ranks << R"(,
"mesh": {"name": "ranks", "axes": ["ep", "one"], "shape": [)"
      << ranks << R"(, 1]},
"groups": [[0, 1], [0], [1]],
"functions": [{
  "name": "scale", "run": "scale", "prepare": "scale_prepare",
  "layer": 3, "experts": )"
      << experts << R"(, "top_k": 2,
  "inputs": [{"name": "x", "dtype": "f32", "shape": [-1, 4], "split": [0]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": [-1, 4], "split": [0]},
              {"name": "expert_ids", "dtype": "i32", "shape": [-1, 2], "split": [0]},
              {"name": "expert_weights", "dtype": "f32", "shape": [-1, 2], "split": [0]}],
  "routing": {"expert_ids": 1, "expert_weights": 2},
  "slots": [)"
      << slotList.str() << R"(],
  "weights": [{
    "name": "w", "dtype": "f32", "shape": [)"
      << experts << R"(, 4], "local_shape": [2, 4],
    "split": [{"dim": 0, "axes": [0], "by": "slots"}], "first_only": [],
    "sources": [{"names": ["experts.{e}.w"], "expert_dim": 0, "part_dim": -1,
                 "file_shape": [4], "offset": 0, "strides": [0, 1]},
                {"names": ["experts.w"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [)"
      << experts << R"(, 4], "offset": 0, "strides": [4, 1]}]
  }, {
    "name": "b", "dtype": "f32", "shape": [4], "local_shape": [4],
    "split": [], "first_only": [0],
    "sources": [{"names": ["bias"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [4], "offset": 0, "strides": [1]}]
  }],
  "packed": [{"bytes": 16}, {"bytes": 0}],
  "arena": {"constant": 64, "per_token": 0, "per_share": 0, "shares": )"
      << ranks << R"(},
  "collectives": "0123456789abcdef0123456789abcdef", "steps": ["multiply"]
}, {
  "name": "misbehave", "run": "misbehave", "prepare": "misbehave_prepare",
  "layer": 0, "experts": 0, "top_k": 0,
  "inputs": [{"name": "mode", "dtype": "i32", "shape": [-1], "split": []}],
  "outputs": [{"name": "y", "dtype": "i32", "shape": [-1], "split": []}],
  "slots": [], "weights": [], "packed": [],
  "arena": {"constant": 1024, "per_token": 8, "per_share": 4, "shares": 2},
  "collectives": "00000000000000000000000000000000"
}]
})";
  return out.str();
}

std::string test::testArtifact(const std::string &manifest) {
  std::string program = testProgram(), bytes;
  ArtifactEntry entries[] = {{std::string(ManifestEntryName), manifest},
                             {std::string(ProgramEntryName), program},
                             {std::string(ScheduledEntryName), "module {}\n"}};
  std::string error = encodeArtifact(entries, bytes);
  return error.empty() ? bytes : std::string();
}

std::string test::testArtifact(int ranks) {
  return testArtifact(testManifest(ranks));
}
