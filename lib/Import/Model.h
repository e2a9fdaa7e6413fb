// What the importer knows about a model before any IR: its MoE layers, their
// rules, and where each weight may stand in a checkpoint.
#ifndef MOE_LIB_IMPORT_MODEL_H
#define MOE_LIB_IMPORT_MODEL_H

#include "dialects/Moe/MoeDialect.h"
#include "mlir/IR/AffineMap.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>
#include <string>
#include <vector>

namespace moe::import {

/// `#moe.router` with its defaults; see there.
struct Router {
  int64_t topK = 1;
  Score score = Score::Softmax;
  bool scoreAfterTopK = false;
  int64_t nGroup = 1;
  int64_t topkGroup = 1;
  GroupScore groupScore = GroupScore::None;
  MaskedFill maskedFill = MaskedFill::Zero;
  Normalize normalize = Normalize::None;
  double normalizeEpsilon = 0;
  double scale = 1;
  WeightOn weightOn = WeightOn::Output;
  MatmulType matmul = MatmulType::Model;
  double jitter = 0;
  Capacity capacity = Capacity::None;
  double capacityFactor = 0;
};

/// `#moe.activation` with its defaults.
struct Activation {
  ActivationKind kind = ActivationKind::Silu;
  bool gated = true;
  double alpha = 1;
  double limit = 0;
  double upOffset = 0;
};

/// Element type of a weight in the program.
enum class Element { Program, F32, F8E4M3, F4E2M1, Byte };

/// One layout of a weight in checkpoints: the fields of `#moe.checkpoint`.
struct Source {
  llvm::SmallVector<std::string> names;
  llvm::SmallVector<int64_t> fileShape;
  mlir::AffineMap map;
  int64_t expertDim = -1;
  int64_t partDim = -1;
  /// The shape in the file where it is not `fileShape`: elements smaller than
  /// a byte are stored as bytes.
  llvm::SmallVector<int64_t> storedShape;
};

struct Weight {
  llvm::SmallVector<int64_t> shape;
  Element element = Element::Program;
  /// Alternatives, the usual one first.
  std::vector<Source> sources;
};

/// Two products with an activation between them; shapes as in `moe.experts`,
/// or `moe.shared_expert` without the dimension of experts.
struct FeedForward {
  Weight up, down;
  std::optional<Weight> upBias, downBias;
  WeightFormat format = WeightFormat::Plain;
  std::optional<Weight> upScales, downScales;
};

struct Layer {
  int64_t index = 0;
  int64_t hidden = 1;
  int64_t experts = 1;
  Router router;
  Activation activation;
  Weight gate;
  std::optional<Weight> gateBias, selectionBias;
  FeedForward routed;
  std::optional<FeedForward> shared;
  std::optional<Weight> sharedGate;
};

struct Model {
  /// Layers of any kind; MoE layers lie in [0, layers).
  int64_t layers = 0;
  /// In ascending order of `index`.
  std::vector<Layer> moeLayers;
};

} // namespace moe::import
#endif
