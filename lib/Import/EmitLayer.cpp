#include "EmitLayer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using llvm::Twine;

namespace moe::import {

static RouterAttr routerAttr(MLIRContext *context, const Router &r) {
  return RouterAttr::get(context, r.topK, r.score, r.scoreAfterTopK, r.nGroup,
                         r.topkGroup, r.groupScore, r.maskedFill, r.normalize,
                         r.normalizeEpsilon, r.scale, r.weightOn, r.matmul,
                         r.jitter, r.capacity, r.capacityFactor);
}

static Attribute checkpointAttr(Builder &builder, const Weight &weight) {
  SmallVector<Attribute> alternatives;
  for (const Source &source : weight.sources) {
    SmallVector<StringRef> names(source.names.begin(), source.names.end());
    alternatives.push_back(CheckpointAttr::get(
        builder.getContext(), builder.getStrArrayAttr(names),
        builder.getDenseI64ArrayAttr(source.fileShape),
        AffineMapAttr::get(source.map), source.expertDim, source.partDim));
  }
  return alternatives.size() == 1 ? alternatives.front()
                                  : builder.getArrayAttr(alternatives);
}

namespace {

// Collects the arguments of one function before it is built.
class Arguments {
public:
  Arguments(OpBuilder &builder, FloatType program)
      : builder(builder), program(program) {}

  void input(StringRef name, Type type) {
    types.push_back(type);
    attributes.push_back(builder.getDictionaryAttr(
        builder.getNamedAttr("moe.name", builder.getStringAttr(name))));
    names.push_back(name.str());
  }

  void weight(StringRef name, const Weight &weight) {
    input(name, RankedTensorType::get(weight.shape, elementType(weight)));
    NamedAttrList list(attributes.back());
    list.set("moe.weight", checkpointAttr(builder, weight));
    attributes.back() = list.getDictionary(builder.getContext());
  }

  void weight(StringRef name, const std::optional<Weight> &maybe) {
    if (maybe)
      weight(name, *maybe);
  }

  void feedForward(const FeedForward &experts, StringRef prefix) {
    auto named = [&](StringRef name) { return (prefix + name).str(); };
    weight(named("up"), experts.up);
    weight(named("down"), experts.down);
    weight(named("up_bias"), experts.upBias);
    weight(named("down_bias"), experts.downBias);
    weight(named("up_scales"), experts.upScales);
    weight(named("down_scales"), experts.downScales);
  }

  ArrayRef<Type> getTypes() const { return types; }
  ArrayRef<DictionaryAttr> getAttributes() const { return attributes; }

  // The argument of that name in the entry block; null when there is none.
  Value find(Block &entry, StringRef name) const {
    const auto *found = llvm::find(names, name);
    return found == names.end() ? Value()
                                : entry.getArgument(found - names.begin());
  }

private:
  Type elementType(const Weight &weight) const {
    switch (weight.element) {
    case Element::Program:
      return program;
    case Element::F32:
      return builder.getF32Type();
    case Element::F8E4M3:
      return builder.getType<Float8E4M3FNType>();
    case Element::F4E2M1:
      return builder.getType<Float4E2M1FNType>();
    case Element::Byte:
      return builder.getI8Type();
    }
    llvm_unreachable("every element type is listed");
  }

  OpBuilder &builder;
  FloatType program;
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  SmallVector<std::string> names;
};

} // namespace

static DictionaryAttr nameAttr(Builder &builder, StringRef name) {
  return builder.getDictionaryAttr(
      builder.getNamedAttr("moe.name", builder.getStringAttr(name)));
}

// Routed experts, plus the shared one where there is one.
static Value emitExperts(OpBuilder &builder, const Layer &layer,
                         const Arguments &arguments, Block &entry, Value ids,
                         Value weights) {
  Location loc = builder.getUnknownLoc();
  MLIRContext *context = builder.getContext();
  auto argument = [&](StringRef name) { return arguments.find(entry, name); };
  const Activation &a = layer.activation;
  auto activation = ActivationAttr::get(context, a.kind, a.gated, a.alpha,
                                        a.limit, a.upOffset);
  Value x = argument("x");
  UnitAttr onInput = layer.router.weightOn == WeightOn::Input
                         ? builder.getUnitAttr()
                         : UnitAttr();
  Value routed =
      ExpertsOp::create(builder, loc, x.getType(), x, ids, weights,
                        argument("up"), argument("down"), argument("up_bias"),
                        argument("down_bias"), argument("up_scales"),
                        argument("down_scales"), /*outs=*/Value(), activation,
                        WeightFormatAttr::get(context, layer.routed.format),
                        onInput, /*placement=*/PlacementAttr())
          .getResult();
  if (!layer.shared)
    return routed;
  Value shared =
      SharedExpertOp::create(
          builder, loc, x.getType(), x, argument("shared_up"),
          argument("shared_down"), argument("shared_gate"),
          argument("shared_up_scales"), argument("shared_down_scales"),
          /*outs=*/Value(), activation,
          WeightFormatAttr::get(context, layer.shared->format),
          /*placement=*/PlacementAttr())
          .getResult();
  return arith::AddFOp::create(builder, loc, routed, shared);
}

void emitLayer(OpBuilder &builder, const Layer &layer, FloatType program,
               bool router) {
  Location loc = builder.getUnknownLoc();
  int64_t topK = layer.router.topK;
  auto tokens =
      RankedTensorType::get({ShapedType::kDynamic, layer.hidden}, program);
  auto idType =
      RankedTensorType::get({ShapedType::kDynamic, topK}, builder.getI32Type());
  auto weightType =
      RankedTensorType::get({ShapedType::kDynamic, topK}, builder.getF32Type());
  Arguments arguments(builder, program);
  arguments.input("x", tokens);
  if (router) {
    arguments.weight("gate", layer.gate);
    arguments.weight("gate_bias", layer.gateBias);
    arguments.weight("selection_bias", layer.selectionBias);
  } else {
    arguments.input("expert_ids", idType);
    arguments.input("expert_weights", weightType);
  }
  arguments.feedForward(layer.routed, "");
  if (layer.shared)
    arguments.feedForward(*layer.shared, "shared_");
  arguments.weight("shared_gate", layer.sharedGate);

  SmallVector<Type> results{tokens};
  SmallVector<DictionaryAttr> resultAttributes{nameAttr(builder, "y")};
  if (router) {
    results.append({idType, weightType});
    resultAttributes.append(
        {nameAttr(builder, "expert_ids"), nameAttr(builder, "expert_weights")});
  }
  auto function = func::FuncOp::create(
      builder, loc, ("layer" + Twine(layer.index)).str(),
      builder.getFunctionType(arguments.getTypes(), results));
  function->setAttr("moe.layer", builder.getI64IntegerAttr(layer.index));
  function.setAllArgAttrs(arguments.getAttributes());
  function.setAllResultAttrs(resultAttributes);

  OpBuilder::InsertionGuard guard(builder);
  Block &entry = *function.addEntryBlock();
  builder.setInsertionPointToStart(&entry);
  auto argument = [&](StringRef name) { return arguments.find(entry, name); };
  Value ids = argument("expert_ids"), weights = argument("expert_weights");
  if (router) {
    auto route = RouteOp::create(
        builder, loc, TypeRange{weightType, idType}, argument("x"),
        argument("gate"), argument("gate_bias"), argument("selection_bias"),
        /*outs=*/ValueRange(), routerAttr(builder.getContext(), layer.router));
    weights = route.getResult(0);
    ids = route.getResult(1);
  }
  SmallVector<Value> returned{
      emitExperts(builder, layer, arguments, entry, ids, weights)};
  if (router)
    returned.append({ids, weights});
  func::ReturnOp::create(builder, loc, returned);
}

} // namespace moe::import
