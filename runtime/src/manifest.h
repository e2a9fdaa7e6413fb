// The manifest, read and checked: docs/Artifact.md in C++.
#ifndef MOERT_MANIFEST_H
#define MOERT_MANIFEST_H

#include "dtype.h"
#include "json_reader.h"
#include "status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

struct Target {
  std::string kind; // "cpu" or "cuda"
  std::string cpu;
  std::vector<std::string> features;
  std::string arch; // cuda only: "sm_90a"

  bool isCuda() const { return kind == "cuda"; }
};

enum class KernelParameter { Pointer, Int32, Int64, Float32, TensorMap };

// A kernel of a program for a device; its number is its place in the list.
struct Kernel {
  std::string name;     // distinct
  std::string entry;    // of the artifact: machine code, or assembly
  std::string function; // symbol in it
  int64_t threads = 0;  // of one CTA
  int64_t cluster = 1;  // CTAs of one cluster; a grid is a multiple of it
  int64_t sharedBytes = 0;
  int64_t ctasPerSm = 1;
  bool early = false; // it waits itself for what comes before it
  std::vector<KernelParameter> parameters;
};

// The kernels that add what several ranks bring to a collective, by type.
struct SumKernel {
  moert_dtype dtype = MOERT_F32;
  int kernel = 0;
};

struct Mesh {
  std::string name;
  std::vector<std::string> axes;
  std::vector<int64_t> shape;

  // The axes up to the one called `node`: ranks that agree on them are on one
  // node. Empty without such an axis.
  std::vector<int> nodeAxes() const;
};

// An input or an output. The first dimension may be -1: the number of tokens.
struct TensorSpec {
  std::string name;
  moert_dtype dtype = MOERT_F32;
  std::vector<int64_t> shape;
  std::vector<int> split;

  bool hasTokens() const { return !shape.empty() && shape[0] == -1; }
  // Bytes of one row, or of all where there are no tokens.
  int64_t rowBytes() const;
};

// "[tokens, 64]" for [-1, 64].
std::string shapeText(const std::vector<int64_t> &shape);

struct WeightSplit {
  int dim = 0;
  std::vector<int> axes;
  bool bySlots = false;
};

struct WeightSource {
  std::vector<std::string> names;
  int expertDim = -1;
  int partDim = -1;
  std::vector<int64_t> fileShape;
  int64_t offset = 0;
  std::vector<int64_t> strides;
};

struct Weight {
  std::string name;
  moert_dtype dtype = MOERT_F32;
  std::vector<int64_t> shape;
  std::vector<int64_t> localShape;
  std::vector<WeightSplit> split;
  std::vector<int> firstOnly;
  std::vector<WeightSource> sources;

  // Bytes of a rank's slice; the same on each rank.
  int64_t sliceBytes() const;
};

struct ArenaSize {
  int64_t constant = 0;
  int64_t perToken = 0;
  int64_t perShare = 0;
  int64_t shares = 1;

  // Nothing if the size leaves 64 bits.
  std::optional<int64_t> bytes(int64_t maxTokens) const;
};

struct RoutingOutputs {
  int expertIds = 0;
  int expertWeights = 0;
};

// A collective that the program calls.
struct CallSpec {
  std::string collective; // "all_to_all_v", ...
  std::string payload;    // "rows", "ids", "weights" or "counts"
  std::vector<int> axes;
};

// Where a program that is timed asks which of several kernels is wanted. A
// product has tiles, a layer the most tokens of kernels that compute it whole.
struct Choice {
  bool isLayer = false;
  int64_t experts = 0;
  bool isFp8 = false;
  int64_t k = 0, n = 0, rowsPerToken = 0;  // of a product
  bool isPaired = false;                   // of a product
  std::vector<std::string> tiles;          // objects in JSON, as in a table
  int64_t topK = 0, hidden = 0, inner = 0; // of a layer
  std::vector<int64_t> few; // of a layer; 0: the products' own kernels

  // Variants are numbered from 1; 0 is what the program does by itself.
  int32_t variants() const {
    return static_cast<int32_t>(isLayer ? few.size() : tiles.size());
  }
};

struct Function {
  std::string name;
  std::string run;
  std::string prepare;
  std::string bind;       // cuda only
  int64_t tensorMaps = 0; // cuda only: number of slots
  int64_t layer = 0;
  int64_t experts = 0;
  int64_t topK = 0;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::optional<RoutingOutputs> routing;
  std::vector<int64_t> slots;
  std::vector<Weight> weights;
  std::vector<int64_t> packedBytes;
  ArenaSize arena;
  std::string collectives;
  // In order of execution; nothing if that depends on data.
  std::optional<std::vector<CallSpec>> calls;
  std::vector<std::string> steps; // what the program's marks number
  std::vector<Choice> variants;   // cuda only; of programs that are timed
};

struct Manifest {
  std::string producer;
  Target target;
  std::vector<std::pair<std::string, std::string>> options;
  int64_t worldSize = 1;
  Mesh mesh;
  std::vector<std::vector<int>> groups;
  std::vector<Kernel> kernels; // cuda only
  std::vector<SumKernel> sums; // cuda only
  std::vector<Function> functions;

  // The number of members of a set of axes.
  int64_t sizeOf(const std::vector<int> &axes) const;
  std::vector<std::string> functionNames() const;
};

Result<Manifest> parseManifest(std::string_view text);

} // namespace moert

#endif
