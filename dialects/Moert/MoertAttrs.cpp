#include "dialects/Moert/MoertDialect.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Builders.h"
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
  llvm::SmallDenseSet<int64_t> seen;
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
