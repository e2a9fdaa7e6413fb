// A checkpoint, down to the slices of four ranks: weights by slot and by
// column, fp8 with blocks and scales, mxfp4, transposed ones. One byte says
// whether a safetensors file follows, or the size of an index (two bytes), the
// index and its one file.
#include "fuzz.h"
#include "mutators/mutators.h"

#include "artifact.h"
#include "session.h"
#include "test_artifact.h"

#include <algorithm>

using namespace moert;

static const char manifest[] = R"({
"format": "moe-mlir artifact", "version": 1, "abi": 2, "producer": "test",
"target": {"kind": "cpu", "cpu": "x86-64"}, "options": {},
"world_size": 4,
"mesh": {"name": "ranks", "axes": ["ep", "etp"], "shape": [2, 2]},
"groups": [[0, 1], [0], [1]],
"functions": [{
  "name": "scale", "run": "scale", "prepare": "scale_prepare",
  "layer": 3, "experts": 3, "top_k": 2,
  "inputs": [{"name": "x", "dtype": "f32", "shape": [-1, 4], "split": [0]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": [-1, 4], "split": [0]},
              {"name": "expert_ids", "dtype": "i32", "shape": [-1, 2], "split": [0]},
              {"name": "expert_weights", "dtype": "f32", "shape": [-1, 2], "split": [0]}],
  "routing": {"expert_ids": 1, "expert_weights": 2},
  "slots": [2, 0, 1, -1],
  "weights": [
   {"name": "w", "dtype": "f32", "shape": [3, 4], "local_shape": [2, 4],
    "split": [{"dim": 0, "axes": [0], "by": "slots"}], "first_only": [],
    "sources": [{"names": ["e.{e}.w"], "expert_dim": 0, "part_dim": -1,
                 "file_shape": [4], "offset": 0, "strides": [0, 1]}]},
   {"name": "b", "dtype": "f32", "shape": [4], "local_shape": [4],
    "split": [], "first_only": [0, 1],
    "sources": [{"names": ["bias"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [4], "offset": 0, "strides": [1]},
                {"names": ["bias2"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [8], "offset": 7, "strides": [-2]}]},
   {"name": "up", "dtype": "f8E4M3FN", "shape": [3, 2, 8, 16], "local_shape": [2, 2, 4, 16],
    "split": [{"dim": 0, "axes": [0], "by": "slots"}, {"dim": 2, "axes": [1], "by": "blocks"}],
    "first_only": [],
    "sources": [{"names": ["e.{e}.gate", "e.{e}.up"], "expert_dim": 0, "part_dim": 1,
                 "file_shape": [8, 16], "offset": 0, "strides": [0, 0, 16, 1]}]},
   {"name": "up_scales", "dtype": "f32", "shape": [3, 2, 2, 2], "local_shape": [2, 2, 1, 2],
    "split": [{"dim": 0, "axes": [0], "by": "slots"}, {"dim": 2, "axes": [1], "by": "blocks"}],
    "first_only": [],
    "sources": [{"names": ["e.{e}.gate_scale_inv", "e.{e}.up_scale_inv"], "expert_dim": 0, "part_dim": 1,
                 "file_shape": [2, 2], "offset": 0, "strides": [0, 0, 2, 1]}]},
   {"name": "down", "dtype": "i8", "shape": [3, 6, 4, 16], "local_shape": [2, 6, 2, 16],
    "split": [{"dim": 0, "axes": [0], "by": "slots"}, {"dim": 2, "axes": [1], "by": "blocks"}],
    "first_only": [],
    "sources": [{"names": ["down_blocks"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [3, 6, 4, 16], "offset": 0, "strides": [384, 64, 16, 1]}]},
   {"name": "down_scales", "dtype": "i8", "shape": [3, 6, 4], "local_shape": [2, 6, 2],
    "split": [{"dim": 0, "axes": [0], "by": "slots"}, {"dim": 2, "axes": [1], "by": "blocks"}],
    "first_only": [],
    "sources": [{"names": ["down_scales"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [3, 6, 4], "offset": 0, "strides": [24, 4, 1]}]},
   {"name": "router", "dtype": "bf16", "shape": [70, 6], "local_shape": [70, 3],
    "split": [{"dim": 1, "axes": [1], "by": "blocks"}], "first_only": [],
    "sources": [{"names": ["router"], "expert_dim": -1, "part_dim": -1,
                 "file_shape": [6, 70], "offset": 0, "strides": [1, 70]}]}],
  "packed": [{"bytes": 16}, {"bytes": 0}],
  "arena": {"constant": 64, "per_token": 0, "per_share": 0, "shares": 4},
  "collectives": "0123456789abcdef0123456789abcdef", "steps": ["multiply"]
}]
})";

// Opened once: what is loaded later replaces what was loaded before.
static Session &session() {
  static const std::unique_ptr<Session> opened = [] {
    Result<std::shared_ptr<Artifact>> artifact =
        Artifact::openMemory(test::testArtifact(manifest));
    if (!artifact.ok())
      std::fprintf(stderr, "fuzz: %s\n", artifact.status().message().c_str());
    fuzz::require(artifact.ok(), "the artifact can be opened");
    SessionOptions options;
    options.maxTokens = 4;
    options.threads = 1;
    Result<std::unique_ptr<Session>> session =
        Session::open(*artifact, std::move(options));
    fuzz::require(session.ok(), "a session can be opened");
    return std::move(*session);
  }();
  return *opened;
}

static size_t indexSize(std::string_view bytes) {
  if (bytes.size() < 2)
    return 0;
  size_t size = static_cast<uint8_t>(bytes[0]) |
                static_cast<size_t>(static_cast<uint8_t>(bytes[1])) << 8;
  return std::min(size, bytes.size() - 2);
}

static std::string mutateCheckpoint(std::string_view bytes,
                                    fuzz::Random &random) {
  std::string kind(bytes.substr(0, 1));
  bytes.remove_prefix(kind.size());
  if (kind.empty() || kind[0] % 2 == 0 || bytes.size() < 2)
    return kind + fuzz::mutateSafetensors(bytes, random);
  size_t size = indexSize(bytes);
  std::string index(bytes.substr(2, size)), file(bytes.substr(2 + size));
  if (random.oneIn(2))
    index = fuzz::mutateJson(index, random);
  else
    file = fuzz::mutateSafetensors(file, random);
  index.resize(std::min<size_t>(index.size(), 0xffff));
  kind += static_cast<char>(index.size());
  kind += static_cast<char>(index.size() >> 8);
  return kind + index + file;
}
MOE_FUZZ_MUTATE_BY(mutateCheckpoint);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder whole, sharded;
  std::string_view bytes = fuzz::text(data, size);
  if (bytes.empty())
    return 0;
  bool isSharded = bytes[0] % 2;
  bytes.remove_prefix(1);
  if (isSharded) {
    size_t length = indexSize(bytes);
    sharded.write("model.safetensors.index.json",
                  bytes.substr(std::min<size_t>(2, bytes.size()), length));
    sharded.write("a.safetensors",
                  bytes.substr(std::min(2 + length, bytes.size())));
  } else {
    whole.write("model.safetensors", bytes);
  }
  Status loaded = session().loadWeights(isSharded ? sharded.path : whole.path);
  fuzz::require(loaded.ok() || !loaded.message().empty(),
                "an error says what is wrong");
  fuzz::require(loaded.code() != MOERT_ERROR_INTERNAL,
                "a checkpoint is no defect of the runtime");
  return 0;
}
