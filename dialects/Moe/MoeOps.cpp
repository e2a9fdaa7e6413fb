#include "dialects/Forms/ShapeTable.h"
#include "dialects/Forms/TwoForms.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace moe;

#define GET_OP_CLASSES
#include "dialects/Moe/MoeOps.cpp.inc"

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;
using Shapes = ReifiedRankedShapedTypeDims;

// Index of the operand group `outs` in ops where it is the only optional or
// variadic one.
template <typename OpTy> struct OutsGroup;
template <> struct OutsGroup<CountsOp> {
  static constexpr unsigned value = 1;
};
template <> struct OutsGroup<RegroupOp> {
  static constexpr unsigned value = 2;
};
template <> struct OutsGroup<TokenGateOp> {
  static constexpr unsigned value = 2;
};

// `outs` is the last operand group of every op, optional or variadic.
template <typename OpTy> static ValueRange outsOf(OpTy op) {
  if constexpr (OpTy::template hasTrait<OpTrait::AttrSizedOperandSegments>())
    return op->getOperands().take_back(
        op.getProperties().operandSegmentSizes.back());
  else // `outs` alone is variadic: what follows the operands that are always
       // there
    return op.getODSOperands(OutsGroup<OpTy>::value);
}

static Type typeOf(Value value) { return value ? value.getType() : Type(); }

//===----------------------------------------------------------------------===//
// Verifiers: each op's shape table
//===----------------------------------------------------------------------===//

// (C2) to (C4) of moe.route, shared with moe.select_experts.
static LogicalResult verifySelection(Operation *op, RouterAttr router,
                                     int64_t experts) {
  if (ShapedType::isDynamic(experts))
    return op->emitOpError(
        "has an unknown number of experts, but a static one is expected");
  if (router.getTopK() > experts)
    return op->emitOpError()
           << "selects " << router.getTopK()
           << " experts per token, but there are only " << experts;
  if (experts % router.getNGroup() != 0)
    return op->emitOpError()
           << "splits " << experts << " experts into " << router.getNGroup()
           << " groups, but groups of equal size are expected";
  int64_t kept = experts / router.getNGroup() * router.getTopkGroup();
  if (router.getTopK() > kept)
    return op->emitOpError()
           << "selects " << router.getTopK() << " experts per token, but the "
           << router.getTopkGroup() << " kept groups hold only " << kept;
  if (router.getGroupScore() == GroupScore::Top2Sum &&
      experts / router.getNGroup() < 2)
    return op->emitOpError()
           << "scores groups by their two best experts, but each of its "
           << router.getNGroup() << " groups holds "
           << experts / router.getNGroup();
  return success();
}

LogicalResult RouteOp::verify() {
  if (failed(verifyFirstSegments(*this, 2)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 2)))
    return failure();
  ShapeTable table(*this);
  SmallVector<Type> results = resultTypes(*this, outsOf(*this));
  table.bind("k", getRouter().getTopK(), "the router");
  if (failed(table.check("x", getX().getType(), {"T", "H"})) ||
      failed(table.check("weight", getWeight().getType(), {"E", "H"})) ||
      failed(table.check("bias", typeOf(getBias()), {"E"})) ||
      failed(
          table.check("selection_bias", typeOf(getSelectionBias()), {"E"})) ||
      failed(table.checkResult("weights", results[0], {"T", "k"})) ||
      failed(table.checkResult("ids", results[1], {"T", "k"})))
    return failure();
  return verifySelection(*this, getRouter(), table.size("E"));
}

// P, by the activation (C1, C4).
static void bindParts(ShapeTable &table, ActivationAttr activation) {
  table.bind("P", activation.getGated() ? 2 : 1,
             activation.getGated() ? "the gated activation"
                                   : "the activation, which is not gated,");
}

// Blocks of a dimension.
static StringRef blocksOf(StringRef letter) {
  return llvm::StringSwitch<StringRef>(letter)
      .Case("H", "Hb")
      .Case("I", "Ib")
      .Case("S", "Sb");
}

// Scales are there when the format has them, and have the dimensions of their
// weight: blocks of the last (mxfp4) or of the last two (fp8_block).
template <typename OpTy>
static LogicalResult verifyScales(OpTy op, ShapeTable &table,
                                  ArrayRef<StringRef> up,
                                  ArrayRef<StringRef> down) {
  WeightFormat format = op.getWeightFormat();
  if ((format == WeightFormat::Plain) == static_cast<bool>(op.getUpScales()))
    return op.emitOpError()
           << "has weight_format " << stringifyWeightFormat(format)
           << (op.getUpScales() ? " and scales" : " and no scales")
           << ", but scales are expected exactly when the format is not plain";
  auto scalesOf = [&](ArrayRef<StringRef> weight) {
    SmallVector<StringRef> dims(weight);
    dims.back() = blocksOf(dims.back());
    if (StringRef &rows = dims[dims.size() - 2];
        format == WeightFormat::Fp8Block)
      rows = blocksOf(rows);
    return dims;
  };
  return failure(failed(table.check("up_scales", typeOf(op.getUpScales()),
                                    scalesOf(up))) ||
                 failed(table.check("down_scales", typeOf(op.getDownScales()),
                                    scalesOf(down))));
}

LogicalResult ExpertsOp::verify() {
  if (failed(verifyFirstSegments(*this, 5)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  ShapeTable table(*this);
  bindParts(table, getActivation());
  if (failed(table.check("x", getX().getType(), {"T", "H"})) ||
      failed(table.check("ids", getIds().getType(), {"T", "k"})) ||
      failed(table.check("weights", getWeights().getType(), {"T", "k"})) ||
      failed(table.check("up", getUp().getType(), {"E", "P", "I", "H"})) ||
      failed(table.check("down", getDown().getType(), {"E", "H", "I"})) ||
      failed(table.check("up_bias", typeOf(getUpBias()), {"E", "P", "I"})) ||
      failed(table.check("down_bias", typeOf(getDownBias()), {"E", "H"})) ||
      failed(table.checkResult(
          "result", resultTypes(*this, outsOf(*this)).front(), {"T", "H"})))
    return failure();
  if (failed(verifyScales(*this, table, {"E", "P", "I", "H"},
                          {"E", "H", "I"}))) // (C3)
    return failure();
  if (ShapedType::isDynamic(table.size("E")) ||
      ShapedType::isDynamic(table.size("k")))
    return emitOpError("has an unknown number of experts or of experts per "
                       "token, but static ones are expected");
  if (std::optional<PlacementAttr> placement = getPlacement()) { // (C4)
    llvm::SmallSet<int32_t, 8> held;
    for (int32_t expert : placement->getSlots().asArrayRef())
      if (expert >= table.size("E"))
        return emitOpError()
               << "has expert " << expert << " in a slot, but there are only "
               << table.size("E") << " experts";
      else if (expert >= 0)
        held.insert(expert);
    if (static_cast<int64_t>(held.size()) != table.size("E"))
      return emitOpError() << "has slots for " << held.size() << " of "
                           << table.size("E")
                           << " experts, but each expert needs one";
  }
  return success();
}

LogicalResult SharedExpertOp::verify() {
  if (failed(verifyFirstSegments(*this, 3)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  ShapeTable table(*this);
  bindParts(table, getActivation());
  return failure(
      failed(table.check("x", getX().getType(), {"T", "H"})) ||
      failed(table.check("up", getUp().getType(), {"P", "S", "H"})) ||
      failed(table.check("down", getDown().getType(), {"H", "S"})) ||
      failed(table.check("gate", typeOf(getGate()), {"1", "H"})) ||
      failed(verifyScales(*this, table, {"P", "S", "H"}, {"H", "S"})) || // (C2)
      failed(table.checkResult(
          "result", resultTypes(*this, outsOf(*this)).front(), {"T", "H"})));
}

// A packed weight has the size that its layout says.
static LogicalResult checkPacked(Operation *op, StringRef name, Type type,
                                 PanelsAttr panels) {
  auto buffer = dyn_cast<MemRefType>(type);
  if (!buffer || buffer.getRank() != 1 ||
      buffer.getDimSize(0) != panels.getElements())
    return op->emitOpError() << "has a packed `" << name << "` of type " << type
                             << ", but a buffer of " << panels.getElements()
                             << " elements is expected";
  return success();
}

LogicalResult RouterLogitsOp::verify() {
  if (failed(verifyFirstSegments(*this, 2)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  ShapeTable table(*this);
  if (std::optional<PanelsAttr> panels = getPacked()) { // (C2)
    if (panels->getGroups() != 1 || panels->getParts() != 1)
      return emitOpError() << "has a weight packed in " << panels->getGroups()
                           << " groups and " << panels->getParts()
                           << " parts, but one of each is expected";
    if (failed(checkPacked(*this, "weight", getWeight().getType(), *panels)))
      return failure();
    table.bind("E", panels->getColumns(), "`packed`");
    table.bind("H", panels->getDepth(), "`packed`");
  } else if (failed(table.check("weight", getWeight().getType(), {"E", "H"}))) {
    return failure();
  }
  return failure(
      failed(table.check("x", getX().getType(), {"T", "H"})) ||
      failed(table.check("bias", typeOf(getBias()), {"E"})) ||
      failed(table.check("result", resultTypes(*this, outsOf(*this)).front(),
                         {"T", "E"})));
}

LogicalResult SelectExpertsOp::verify() {
  if (failed(verifyFirstSegments(*this, 1)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 2)))
    return failure();
  ShapeTable table(*this);
  SmallVector<Type> results = resultTypes(*this, outsOf(*this));
  table.bind("k", getRouter().getTopK(), "the router");
  if (failed(table.check("logits", getLogits().getType(), {"T", "E"})) ||
      failed(
          table.check("selection_bias", typeOf(getSelectionBias()), {"E"})) ||
      failed(table.check("weights", results[0], {"T", "k"})) ||
      failed(table.check("ids", results[1], {"T", "k"})))
    return failure();
  return verifySelection(*this, getRouter(), table.size("E"));
}

LogicalResult SortOp::verify() {
  if (failed(verifyFirstSegments(*this, 1)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 3)))
    return failure();
  int64_t slots = getSlots().size(), window = getWindow();
  if (window <= 0 || window > slots || (!getFirst() && window != slots)) // (C2)
    return emitOpError() << "keeps a window of " << window << " of " << slots
                         << " slots" << (getFirst() ? "" : " without `first`")
                         << ", but "
                         << (getFirst() ? "a positive part of them is expected"
                                        : "all of them are expected");
  llvm::SmallSet<int32_t, 8> held;
  for (int32_t expert : getSlots())
    if (expert < -1 || expert >= static_cast<int64_t>(getExperts()) ||
        (expert >= 0 && !held.insert(expert).second)) // (C3)
      return emitOpError()
             << "has expert " << expert << " in a slot, but each of "
             << getExperts()
             << " experts stands in one slot, -1 marks an empty one";
  if (held.size() != getExperts())
    return emitOpError() << "has slots for " << held.size() << " of "
                         << getExperts()
                         << " experts, but each expert needs one";
  int64_t group = getGroup();
  if (group <= 0 || window % group != 0) // (C4)
    return emitOpError() << "groups a window of " << window << " slots by "
                         << group << ", but a divisor of it is expected";
  int64_t bins = getBins();
  ShapeTable table(*this);
  SmallVector<Type> results = resultTypes(*this, outsOf(*this));
  table.bind("bins", bins, "the window");
  if (failed(table.check("ids", getIds().getType(), {"T", "k"})))
    return failure();
  if (ShapedType::isDynamic(table.size("k")))
    return emitOpError("has an unknown number of experts per token, but a "
                       "static one is expected");
  int64_t tokens = table.size("T");
  table.bind("M",
             ShapedType::isDynamic(tokens)
                 ? tokens
                 : tokens * std::min(table.size("k"), bins),
             "T * min(k, window / group)");
  return failure(failed(table.check("order", results[0], {"M"})) ||
                 failed(table.check("positions", results[1], {"T", "k"})) ||
                 failed(table.check("offsets", results[2], {"bins+1"})));
}

LogicalResult CountsOp::verify() {
  if (failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  auto offsets = cast<ShapedType>(getOffsets().getType()),
       result = cast<ShapedType>(resultTypes(*this, outsOf(*this)).front());
  if (offsets.getRank() != 1 || result.getRank() != 2 ||
      !offsets.hasStaticShape() || !result.hasStaticShape() ||
      offsets.getNumElements() != result.getNumElements() + 1)
    return emitOpError()
           << "turns " << offsets << " into " << result
           << ", but [n * S + 1] offsets and [n, S] counts are expected";
  return success();
}

LogicalResult TakeOp::verify() {
  if (failed(verifyFirstSegments(*this, 3)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  if (static_cast<int64_t>(getTopK()) <= 0) // (C2)
    return emitOpError() << "has top_k " << getTopK()
                         << ", but a positive number is expected";
  Type from = cast<ShapedType>(getX().getType()).getElementType(),
       to = cast<ShapedType>(resultTypes(*this, outsOf(*this)).front())
                .getElementType();
  if (from.isInteger() != to.isInteger() || (from.isInteger() && getWeights()))
    return emitOpError() << "takes " << (getWeights() ? "weighted " : "")
                         << "rows of " << from << " as rows of " << to
                         << ", but integers are neither converted nor "
                            "weighted"; // (C3)
  ShapeTable table(*this);
  table.bind("k", getTopK(), "`top_k`");
  return failure(
      failed(table.check("x", getX().getType(), {"T", "H"})) ||
      failed(table.check("order", getOrder().getType(), {"M"})) ||
      failed(table.check("weights", typeOf(getWeights()), {"T", "k"})) ||
      failed(table.check("result", resultTypes(*this, outsOf(*this)).front(),
                         {"rows", "H"})));
}

LogicalResult RegroupOp::verify() {
  if (failed(verifyTwoForms(*this, outsOf(*this), 2)))
    return failure();
  auto counts = cast<ShapedType>(getCounts().getType());
  if (counts.getRank() < 1 || !counts.hasStaticShape())
    return emitOpError() << "has counts of type " << counts
                         << ", but a static shape [..., S] is expected";
  ShapeTable table(*this);
  table.bind("S", counts.getShape().back(), "`counts`");
  SmallVector<Type> results = resultTypes(*this, outsOf(*this));
  return failure(failed(table.check("order", results[0], {"rows"})) ||
                 failed(table.check("offsets", results[1], {"S+1"})));
}

// (C6) of moe.grouped_matmul: the scales that a quantised weight needs.
static LogicalResult verifyScales(GroupedMatmulOp op) {
  auto weight = cast<ShapedType>(op.getRhs().getType());
  bool isFp8 = isa<Float8E4M3FNType>(weight.getElementType());
  bool isMxfp4 = isa<Float4E2M1FNType>(weight.getElementType());
  if ((isFp8 || isMxfp4) != static_cast<bool>(op.getScales()))
    return op.emitOpError()
           << "has `rhs` of type " << weight
           << (op.getScales() ? " and scales" : " and no scales")
           << ", but scales are expected exactly when `rhs` is quantised";
  if (!op.getScales())
    return success();
  SmallVector<int64_t> shape(weight.getShape());
  size_t rank = shape.size();
  if (isFp8)
    shape[rank - 2] = llvm::divideCeil(shape[rank - 2], fp8BlockSize);
  shape[rank - 1] =
      llvm::divideCeil(shape[rank - 1], isFp8 ? fp8BlockSize : mxfp4BlockSize);
  auto scales = cast<ShapedType>(op.getScales().getType());
  Type element = isFp8 ? Type(Float32Type::get(op.getContext()))
                       : Type(IntegerType::get(op.getContext(), 8));
  if (scales.getShape() == ArrayRef<int64_t>(shape) &&
      scales.getElementType() == element)
    return success();
  return op.emitOpError() << "has scales of type " << scales << ", but "
                          << RankedTensorType::get(shape, element)
                          << " is expected for `rhs` of type " << weight;
}

LogicalResult GroupedMatmulOp::verify() {
  if (failed(verifyFirstSegments(*this, 3)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  ShapeTable table(*this);
  if (!getOffsets())
    table.bind("G", 1, "a product without `offsets`"); // (C2)
  std::optional<ActivationAttr> activation = getActivation();
  SmallVector<StringRef, 4> rhs = {"G", "N", "K"}, bias = {"G", "N"};
  if (activation) {
    bindParts(table, *activation); // (C4)
    rhs = {"G", "P", "N", "K"};
    bias = {"G", "P", "N"};
  }
  if (std::optional<PanelsAttr> panels = getPacked()) { // (C5)
    if (failed(checkPacked(*this, "rhs", getRhs().getType(), *panels)))
      return failure();
    int64_t sizes[] = {panels->getGroups(), panels->getParts(),
                       panels->getColumns(), panels->getDepth()};
    StringRef letters[] = {"G", "P", "N", "K"};
    int64_t parts = activation && activation->getGated() ? 2 : 1;
    if ((!getOffsets() && sizes[0] != 1) || sizes[1] != parts)
      return emitOpError() << "has `rhs` packed in " << sizes[0]
                           << " groups and " << sizes[1] << " parts, but "
                           << (getOffsets() ? "any number of" : "1")
                           << " groups and " << parts << " parts are expected";
    for (auto [letter, size] : llvm::zip(letters, sizes))
      table.bind(letter, size, "`packed`");
  } else if (failed(table.check("rhs", getRhs().getType(), rhs))) {
    return failure();
  }
  if (failed(table.check("lhs", getLhs().getType(), {"m", "K"})) ||
      failed(table.check("offsets", typeOf(getOffsets()), {"G+1"})) ||
      failed(table.check("gather", typeOf(getGather()), {"g"})) ||
      failed(table.check("scatter", typeOf(getScatter()), {"s"})) ||
      failed(table.check("row_weights", typeOf(getRowWeights()), {"T", "k"})) ||
      failed(table.check("bias", typeOf(getBias()), bias)) ||
      failed(table.check("result", resultTypes(*this, outsOf(*this)).front(),
                         {"rows", "N"})))
    return failure();
  if (static_cast<int64_t>(getGatherDivisor()) <= 0 ||
      (!getGather() && (getGatherDivisor() != 1 || getRowWeights()))) // (C3)
    return emitOpError() << "has gather_divisor " << getGatherDivisor()
                         << (getRowWeights() ? " and row_weights" : "")
                         << ", but a positive number is expected, and 1 and no "
                            "row_weights without `gather`";
  if (!cast<ShapedType>(getRhs().getType()).hasStaticShape())
    return emitOpError() << "has `rhs` of type " << getRhs().getType()
                         << ", but a static shape is expected";
  return verifyScales(*this);
}

int64_t GroupedMatmulOp::getGroups() {
  if (std::optional<PanelsAttr> panels = getPacked())
    return panels->getGroups();
  return cast<ShapedType>(getRhs().getType()).getDimSize(0);
}

LogicalResult TokenGateOp::verify() {
  if (failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  ShapeTable table(*this);
  return failure(
      failed(table.check("x", getX().getType(), {"T", "H"})) ||
      failed(table.check("weight", getWeight().getType(), {"1", "H"})) ||
      failed(table.check("result", resultTypes(*this, outsOf(*this)).front(),
                         {"T", "1"})));
}

LogicalResult CombineOp::verify() {
  if (failed(verifyFirstSegments(*this, 1)) ||
      failed(verifyTwoForms(*this, outsOf(*this), 1)))
    return failure();
  if (getAddendGate() && !getAddend()) // (C2)
    return emitOpError("has `addend_gate` without `addend`");
  ShapeTable table(*this);
  if (!getPositions())
    table.bind("k", 1, "a sum without `positions`");
  return failure(
      failed(table.check("rows", getRows().getType(),
                         {getPositions() ? "m" : "T", "H"})) ||
      failed(table.check("positions", typeOf(getPositions()), {"T", "k"})) ||
      failed(table.check("weights", typeOf(getWeights()), {"T", "k"})) ||
      failed(table.check("addend", typeOf(getAddend()), {"T", "H"})) ||
      failed(table.check("addend_gate", typeOf(getAddendGate()), {"T", "1"})) ||
      failed(table.check("result", resultTypes(*this, outsOf(*this)).front(),
                         {"T", "H"})));
}

//===----------------------------------------------------------------------===//
// Effects
//===----------------------------------------------------------------------===//

#define TWO_FORM_EFFECTS(Op)                                                   \
  void Op::getEffects(Effects &effects) {                                      \
    twoFormEffects(*this, outsOf(*this), effects);                             \
  }
TWO_FORM_EFFECTS(RouteOp)
TWO_FORM_EFFECTS(ExpertsOp)
TWO_FORM_EFFECTS(SharedExpertOp)
TWO_FORM_EFFECTS(RouterLogitsOp)
TWO_FORM_EFFECTS(SelectExpertsOp)
TWO_FORM_EFFECTS(SortOp)
TWO_FORM_EFFECTS(CountsOp)
TWO_FORM_EFFECTS(TakeOp)
TWO_FORM_EFFECTS(RegroupOp)
TWO_FORM_EFFECTS(GroupedMatmulOp)
TWO_FORM_EFFECTS(TokenGateOp)
TWO_FORM_EFFECTS(CombineOp)
#undef TWO_FORM_EFFECTS

//===----------------------------------------------------------------------===//
// Result shapes
//===----------------------------------------------------------------------===//

LogicalResult RouteOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  OpFoldResult tokens = dimOf(b, getLoc(), getX(), 0),
               k = b.getIndexAttr(getRouter().getTopK());
  shapes = {{tokens, k}, {tokens, k}};
  return success();
}
LogicalResult ExpertsOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {{dimOf(b, getLoc(), getX(), 0), dimOf(b, getLoc(), getX(), 1)}};
  return success();
}
LogicalResult SharedExpertOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {{dimOf(b, getLoc(), getX(), 0), dimOf(b, getLoc(), getX(), 1)}};
  return success();
}
LogicalResult RouterLogitsOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {
      {dimOf(b, getLoc(), getX(), 0), dimOf(b, getLoc(), getWeight(), 0)}};
  return success();
}
LogicalResult SelectExpertsOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  OpFoldResult tokens = dimOf(b, getLoc(), getLogits(), 0),
               k = b.getIndexAttr(getRouter().getTopK());
  shapes = {{tokens, k}, {tokens, k}};
  return success();
}
LogicalResult SortOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  OpFoldResult tokens = dimOf(b, getLoc(), getIds(), 0),
               k = b.getIndexAttr(getTopK());
  int64_t perToken = std::min<int64_t>(getTopK(), getBins());
  OpFoldResult pairs;
  if (auto constant = dyn_cast<Attribute>(tokens)) {
    pairs = b.getIndexAttr(cast<IntegerAttr>(constant).getInt() * perToken);
  } else {
    Value factor = arith::ConstantIndexOp::create(b, getLoc(), perToken);
    pairs = arith::MulIOp::create(b, getLoc(), cast<Value>(tokens), factor)
                .getResult();
  }
  shapes = {{pairs}, {tokens, k}, {b.getIndexAttr(getBins() + 1)}};
  return success();
}
LogicalResult CountsOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  auto type = cast<ShapedType>(getResult().getType());
  shapes = {
      {b.getIndexAttr(type.getDimSize(0)), b.getIndexAttr(type.getDimSize(1))}};
  return success();
}
LogicalResult TakeOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {{getRows(), dimOf(b, getLoc(), getX(), 1)}};
  return success();
}
LogicalResult RegroupOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {
      {getRows()},
      {b.getIndexAttr(
          cast<ShapedType>(getCounts().getType()).getShape().back() + 1)}};
  return success();
}
LogicalResult GroupedMatmulOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  auto rhs = cast<ShapedType>(getRhs().getType());
  shapes = {{getRows(), b.getIndexAttr(rhs.getDimSize(rhs.getRank() - 2))}};
  return success();
}
LogicalResult TokenGateOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {{dimOf(b, getLoc(), getX(), 0), b.getIndexAttr(1)}};
  return success();
}
LogicalResult CombineOp::reifyResultShapes(OpBuilder &b, Shapes &shapes) {
  shapes = {{dimOf(b, getLoc(), getPositions() ? getPositions() : getRows(), 0),
             dimOf(b, getLoc(), getRows(), 1)}};
  return success();
}
