// Selection of one token's experts by one warp, for the kernels that need it.
#ifndef MOE_LIB_CODEGEN_SELECTEXPERTSBUILDER_H
#define MOE_LIB_CODEGEN_SELECTEXPERTSBUILDER_H

#include "moe/Codegen/DeviceBuilder.h"
#include "moe/Codegen/SelectExperts.h"

#include "llvm/Support/MathExtras.h"

namespace moe {

/// Lane l holds experts l, l + 32, ...  The largest (c, -id) is found by
/// comparing one i64 per expert, topK times.
class SelectBuilder {
public:
  struct Arrays {
    mlir::Value logits, bias, ids, weights; ///< bias: null without
    mlir::Value cells; ///< shared: room for the warp's c, with groups only
  };
  SelectBuilder(DeviceBuilder &b, const Arrays &arrays,
                const SelectExpertsSpec &spec)
      : b(b), arrays(arrays), spec(spec),
        perLane(llvm::divideCeil(spec.experts, 32)), f32(b.getF32Type()),
        lane(b.lane()) {}

  /// From row `token` of the logits to its rows of ids and weights.
  void selectFor(mlir::Value token);

private:
  using Values = llvm::SmallVectorImpl<mlir::Value>;
  mlir::Value expert(int64_t i) { return b.add(lane, 32 * i); }
  mlir::Value inside(int64_t i) { return b.less(expert(i), spec.experts); }
  mlir::Value exchange64(mlir::Value value, int64_t distance);
  mlir::Value max(mlir::Value a, mlir::Value c);
  mlir::Value loadRow(mlir::Value array, mlir::Value first, int64_t i,
                      float otherwise);
  void scoreAll(Values &scores);
  mlir::Value getKey(mlir::Value c, mlir::Value id);
  mlir::Value largest(mlir::Value a, mlir::Value c);
  void maskGroups(Values &c);
  mlir::Value scoreGroup(mlir::Value cells);
  void select(llvm::ArrayRef<mlir::Value> c, llvm::ArrayRef<mlir::Value> scores,
              mlir::Value token);
  mlir::Value finishWeight(mlir::Value weight);

  DeviceBuilder &b;
  Arrays arrays;
  const SelectExpertsSpec &spec;
  int64_t perLane;
  mlir::Type f32;
  mlir::Value lane;
};

} // namespace moe

#endif
