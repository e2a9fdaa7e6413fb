// How weights lie in checkpoints, written once for all families.
#ifndef MOE_LIB_IMPORT_LAYOUTS_H
#define MOE_LIB_IMPORT_LAYOUTS_H

#include "Model.h"

namespace moe::import {

using Exprs = llvm::SmallVector<mlir::AffineExpr>;

/// One tensor that holds the whole weight: logical index to file index.
Source stacked(mlir::MLIRContext *context, std::string name,
               llvm::ArrayRef<int64_t> fileShape, unsigned dims,
               llvm::function_ref<Exprs(llvm::ArrayRef<mlir::AffineExpr>)> map);

/// One tensor of the weight's own shape.
Source whole(mlir::MLIRContext *context, std::string name,
             llvm::ArrayRef<int64_t> shape);

/// One tensor per expert, `{e}` in its name: logical [E, ...].
Source perExpert(mlir::MLIRContext *context, std::string name,
                 llvm::ArrayRef<int64_t> shape);

/// A weight of `shape` with one layout.
Weight plainWeight(mlir::MLIRContext *context, std::string name,
                   llvm::ArrayRef<int64_t> shape,
                   Element element = Element::Program);

/// Names of a SwiGLU expert's three matrices, after the expert's prefix.
struct SwigluNames {
  llvm::StringRef gate = "gate_proj.weight";
  llvm::StringRef up = "up_proj.weight";
  llvm::StringRef down = "down_proj.weight";
};

/// Sizes of experts: E, I and H.
struct ExpertSizes {
  int64_t experts, width, hidden;
};

/// Routed SwiGLU experts, as `<experts>{e}.<name>`, or stacked as
/// `<fused>gate_up_proj` [E, 2I, H], gate rows first, and `<fused>down_proj`
/// [E, H, I]. In fp8_block each has 128 x 128 scales in `<tensor>_scale_inv`.
FeedForward swigluExperts(mlir::MLIRContext *context, WeightFormat format,
                          ExpertSizes sizes, const std::string &experts,
                          const std::string &fused, SwigluNames names = {});

/// A shared SwiGLU expert of `width` with its matrices at `<prefix><name>`.
FeedForward swigluShared(mlir::MLIRContext *context, WeightFormat format,
                         int64_t width, int64_t hidden,
                         const std::string &prefix);

} // namespace moe::import
#endif
