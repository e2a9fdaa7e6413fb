#include "dialects/Moe/MoeDialect.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace moe;

#include "dialects/Moe/MoeEnums.cpp.inc"

FailureOr<Decimal> moe::parseDouble(AsmParser &parser) {
  double value = 0;
  if (failed(parser.parseFloat(value)))
    return failure();
  return Decimal(value);
}

void moe::printDouble(AsmPrinter &printer, double value) {
  std::string text;
  for (int digits = 1; digits <= 17; ++digits) {
    char buffer[64];
    snprintf(buffer, sizeof(buffer), "%.*g", digits, value);
    text = buffer;
    if (std::strtod(buffer, nullptr) == value)
      break;
  }
  // A float literal needs its point: 1e-20 is written 1.0e-20.
  if (!StringRef(text).contains('.')) {
    size_t exponent = text.find('e');
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  }
  printer << text;
}

// The generated code parses and prints parameters through these.
#define GET_ATTRDEF_CLASSES
#include "dialects/Moe/MoeAttrs.cpp.inc"

void MoeDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Moe/MoeAttrs.cpp.inc"
      >();
}

LogicalResult RouterAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t topK, Score score, bool scoreAfterTopK,
                                 int64_t nGroup, int64_t topkGroup,
                                 GroupScore groupScore, MaskedFill, Normalize,
                                 Decimal epsilon, Decimal scale, WeightOn,
                                 MatmulType, Decimal jitter, Capacity capacity,
                                 Decimal capacityFactor) {
  if (topK <= 0) // (C1)
    return emitError() << "router selects " << topK
                       << " experts per token, but at least 1 is expected";
  if (nGroup <= 0 || topkGroup <= 0 || topkGroup > nGroup) // (C2)
    return emitError() << "router keeps " << topkGroup << " of " << nGroup
                       << " groups, but 0 < topk_group <= n_group is expected";
  if ((groupScore == GroupScore::None) != (nGroup == 1)) // (C3)
    return emitError()
           << "router scores groups by `" << stringifyGroupScore(groupScore)
           << "` with n_group = " << nGroup
           << ", but `none` is expected exactly when there is one group";
  if (score == Score::SparseMixer && topK != 2) // (C4)
    return emitError() << "sparsemixer selects " << topK
                       << " experts per token, but is defined for 2";
  if ((capacity == Capacity::None) != (capacityFactor.value == 0.0) ||
      capacityFactor.value < 0) // (C5)
    return emitError() << "router has capacity rule `"
                       << stringifyCapacity(capacity) << "` with factor "
                       << capacityFactor
                       << ", but a positive factor is expected with a rule and "
                          "none without";
  for (double value : {epsilon, scale, jitter, capacityFactor})
    if (!std::isfinite(value))
      return emitError() << "router has a parameter that is not finite";
  return success();
}

LogicalResult
ActivationAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                       ActivationKind kind, bool gated, Decimal alpha,
                       Decimal limit, Decimal upOffset) {
  if (!(limit.value >= 0) || !std::isfinite(limit) || !std::isfinite(alpha) ||
      !std::isfinite(upOffset)) // (C1)
    return emitError()
           << "activation has limit " << limit
           << ", but a finite number that is not negative is expected";
  if (!gated &&
      (limit.value != 0 || upOffset.value != 0 || alpha.value != 1)) // (C2)
    return emitError() << "activation is not gated, but alpha, limit or "
                          "up_offset differ from their defaults";
  return success();
}

LogicalResult PanelsAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t groups, int64_t parts, int64_t columns,
                                 int64_t depth, int64_t width,
                                 int64_t interleave, int64_t streams) {
  for (int64_t value :
       {groups, parts, columns, depth, width, interleave, streams})
    if (value <= 0) // (C1)
      return emitError() << "panels have the number " << value
                         << ", but positive ones are expected";
  if (width % parts != 0) // (C2)
    return emitError() << "panels have width " << width << " for " << parts
                       << " parts, but a multiple of them is expected";
  if (streams > 1 && depth % (interleave * streams) != 0) // (C3)
    return emitError() << "panels have depth " << depth << " for " << streams
                       << " streams of " << interleave
                       << " values a step, but a multiple of "
                       << interleave * streams << " is expected";
  return success();
}

int64_t PanelsAttr::getPartWidth() const { return getWidth() / getParts(); }
int64_t PanelsAttr::getPanelsPerGroup() const {
  return llvm::divideCeil(getColumns(), getPartWidth());
}
int64_t PanelsAttr::getSteps() const {
  return llvm::divideCeil(getDepth(), getInterleave());
}
int64_t PanelsAttr::getPanelElements() const {
  return getWidth() * getSteps() * getInterleave();
}
int64_t PanelsAttr::getElements() const {
  return getGroups() * getPanelsPerGroup() * getPanelElements();
}

LogicalResult
CheckpointAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                       ArrayAttr names, DenseI64ArrayAttr fileShape,
                       AffineMapAttr map, int64_t expertDim, int64_t partDim) {
  AffineMap affine = map.getValue();
  int64_t rank = affine.getNumDims();
  if (affine.getNumSymbols() != 0 ||
      affine.getNumResults() != static_cast<unsigned>(fileShape.size())) // (C1)
    return emitError() << "checkpoint maps to " << affine.getNumResults()
                       << " indices, but the file's tensor has "
                       << fileShape.size() << " dimensions";
  for (int64_t size : fileShape.asArrayRef())
    if (size < 0)
      return emitError() << "checkpoint has a dimension of size " << size
                         << ", but a size that is not negative is expected";
  for (AffineExpr result : affine.getResults()) {
    bool linear = true;
    result.walk([&](AffineExpr expr) {
      AffineExprKind kind = expr.getKind();
      linear &= kind != AffineExprKind::Mod &&
                kind != AffineExprKind::FloorDiv &&
                kind != AffineExprKind::CeilDiv;
    });
    if (!linear)
      return emitError() << "checkpoint maps indices by " << map
                         << ", but linear expressions are expected";
  }
  if (expertDim < -1 || expertDim >= rank || partDim < -1 || partDim >= rank)
    return emitError() << "checkpoint has expert_dim " << expertDim
                       << " and part_dim " << partDim << ", but -1 to "
                       << rank - 1 << " are expected";
  if (names.empty() || (names.size() != 1 && partDim == -1)) // (C2)
    return emitError() << "checkpoint has " << names.size()
                       << " names, but one is expected without part_dim";
  for (Attribute entry : names) {
    auto name = dyn_cast<StringAttr>(entry);
    if (!name || name.empty())
      return emitError() << "checkpoint has the name " << entry
                         << ", but a string is expected";
    if (name.getValue().contains("{e}") != (expertDim != -1)) // (C3)
      return emitError()
             << "checkpoint has the name " << name << " and expert_dim "
             << expertDim
             << ", but {e} is expected exactly when expert_dim is set";
  }
  return success();
}

static LogicalResult
verifyAxisList(function_ref<InFlightDiagnostic()> emitError,
               ArrayRef<int64_t> axes) {
  llvm::SmallSet<int64_t, 8> seen;
  for (int64_t axis : axes)
    if (axis < 0 || !seen.insert(axis).second)
      return emitError() << "axes are [" << axes
                         << "], but distinct axes of a grid are expected";
  return success();
}

LogicalResult SplitAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t dim, DenseI64ArrayAttr axes,
                                SplitKind) {
  if (dim < 0)
    return emitError() << "split cuts dimension " << dim
                       << ", but one that is not negative is expected";
  return verifyAxisList(emitError, axes);
}

LogicalResult SliceAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                FlatSymbolRefAttr, DenseI64ArrayAttr shape,
                                ArrayAttr splits, DenseI32ArrayAttr slots,
                                DenseI64ArrayAttr firstOnly) {
  for (Attribute entry : splits) {
    auto split = dyn_cast<SplitAttr>(entry);
    if (!split || split.getDim() >= shape.size())
      return emitError() << "slice has the split " << entry
                         << ", but #moe.split of one of its " << shape.size()
                         << " dimensions is expected";
    if (split.getBy() == SplitKind::Slots && !slots)
      return emitError() << "slice is split by slots, but has no `slots`";
  }
  return firstOnly ? verifyAxisList(emitError, firstOnly) : success();
}

LogicalResult
PlacementAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      FlatSymbolRefAttr, DenseI64ArrayAttr ep,
                      DenseI64ArrayAttr etp, DenseI64ArrayAttr edp,
                      DenseI32ArrayAttr slots, Dispatcher, bool, Boundary,
                      SharedLayout, DenseI64ArrayAttr attnTp) {
  SmallVector<int64_t> axes;
  for (DenseI64ArrayAttr part : {ep, etp, edp})
    llvm::append_range(axes, part.asArrayRef());
  if (failed(verifyAxisList(emitError, axes))) // (C2)
    return failure();
  if (attnTp && failed(verifyAxisList(emitError, attnTp)))
    return failure();
  llvm::SmallSet<int32_t, 8> seen;
  for (int32_t expert : slots.asArrayRef())
    if (expert < -1 || (expert != -1 && !seen.insert(expert).second)) // (C1)
      return emitError() << "placement has expert " << expert
                         << " twice or below -1 in its slots";
  return success();
}
