#include "dialects/Moert/MoertDialect.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe::moert;

#include "dialects/Moert/MoertEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Moert/MoertAttrs.cpp.inc"

using EmitError = function_ref<InFlightDiagnostic()>;

void MoertDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Moert/MoertAttrs.cpp.inc"
      >();
}

static LogicalResult verifyName(EmitError emitError, StringAttr name) {
  if (name.empty())
    return emitError() << "the name is empty, but one is expected";
  return success();
}

// What weights alone may be: quantised elements and their exponents.
static bool isStoredElement(Type type) {
  return isa<Float8E4M3FNType, Float4E2M1FNType>(type) || type.isInteger(8);
}

// Only the first dimension may be dynamic, and that only with `rows`, which
// values have and weights have not.
static LogicalResult verifyShape(EmitError emitError, StringAttr name,
                                 Type type, bool rows) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() < 1 ||
      (!isRuntimeElement(tensor.getElementType()) &&
       (rows || !isStoredElement(tensor.getElementType()))))
    return emitError() << "`" << name.getValue() << "` has type " << type
                       << ", but a ranked tensor of f32, bf16, f16, i32 or "
                          "i64 is expected"
                       << (rows ? "" : ", or of f8E4M3FN, f4E2M1FN or i8");
  for (int64_t dim = rows ? 1 : 0; dim < tensor.getRank(); ++dim)
    if (tensor.isDynamicDim(dim))
      return emitError() << "`" << name.getValue() << "` has type " << type
                         << ", but dimension " << dim
                         << " is expected to be static";
  return success();
}

LogicalResult ValueAttr::verify(EmitError emitError, StringAttr name,
                                TypeAttr type, DenseI64ArrayAttr split) {
  if (failed(verifyName(emitError, name)) ||                       // (C2)
      failed(verifyShape(emitError, name, type.getValue(), true))) // (C1)
    return failure();
  llvm::SmallSet<int64_t, 8> seen;
  for (int64_t axis : split.asArrayRef())
    if (axis < 0 || !seen.insert(axis).second) // (C2)
      return emitError() << "`" << name.getValue() << "` is split over axes ["
                         << split.asArrayRef()
                         << "], but distinct axes of a grid are expected";
  return success();
}

LogicalResult WeightAttr::verify(EmitError emitError, StringAttr name,
                                 TypeAttr type, ArrayAttr sources,
                                 moe::SliceAttr slice) {
  if (failed(verifyName(emitError, name)) ||
      failed(verifyShape(emitError, name, type.getValue(), false))) // (C1)
    return failure();
  int64_t rank = cast<ShapedType>(type.getValue()).getRank();
  if (sources.empty()) // (C2)
    return emitError() << "`" << name.getValue()
                       << "` has no source, but at least one is expected";
  for (Attribute entry : sources) {
    auto source = dyn_cast<moe::CheckpointAttr>(entry);
    if (!source || source.getMap().getValue().getNumDims() != rank) // (C2)
      return emitError() << "`" << name.getValue() << "` has the source "
                         << entry << ", but #moe.checkpoint with a map of "
                         << rank << " dimensions is expected";
  }
  if (slice && slice.getShape().size() != rank) // (C3)
    return emitError() << "`" << name.getValue() << "` is a slice of rank "
                       << slice.getShape().size() << ", but its type is "
                       << type;
  return success();
}

LogicalResult ArenaAttr::verify(EmitError emitError, int64_t constant,
                                int64_t perToken, int64_t perShare,
                                int64_t shares) {
  if (constant < 0 || perToken < 0 || perShare < 0 || shares <= 0) // (C1)
    return emitError() << "the arena has terms " << constant << ", " << perToken
                       << ", " << perShare << " over " << shares
                       << " shares, but terms that are not negative and a "
                          "positive number of shares are expected";
  return success();
}

LogicalResult KernelAttr::verify(EmitError emitError, StringAttr name,
                                 int64_t threads, int64_t cluster,
                                 int64_t sharedBytes, int64_t ctasPerSm,
                                 bool /*early*/, ArrayAttr params) {
  if (failed(verifyName(emitError, name))) // (C1)
    return failure();
  if (threads < 1 || threads > 1024 || cluster < 1 || cluster > 16 ||
      sharedBytes < 0 || ctasPerSm < 1) // (C1)
    return emitError() << "`" << name.getValue() << "` has " << threads
                       << " threads, clusters of " << cluster << ", "
                       << sharedBytes << " bytes of shared memory and "
                       << ctasPerSm
                       << " CTAs per SM, but 1 to 1024, 1 to 16, no less than "
                          "0 and 1 are expected";
  for (Attribute param : params) { // (C2)
    auto kind = dyn_cast<StringAttr>(param);
    if (!kind || !llvm::is_contained(
                     ArrayRef<StringRef>{"ptr", "i32", "i64", "f32", "map"},
                     kind.getValue()))
      return emitError() << "`" << name.getValue() << "` has the parameter "
                         << param
                         << ", but ptr, i32, i64, f32 or map is expected";
  }
  return success();
}
