#include "moe/Transforms/LayerInterface.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"

using namespace mlir;
using namespace moe;

static FailureOr<Attribute> valueEntry(func::FuncOp function, StringRef what,
                                       unsigned index, Type type,
                                       DictionaryAttr attributes) {
  auto name =
      attributes ? attributes.getAs<StringAttr>("moe.name") : StringAttr();
  if (!name)
    return function.emitError()
           << what << " " << index
           << " has no `moe.name`, but a caller passes it by name";
  auto split = attributes.getAs<DenseI64ArrayAttr>("moe.split");
  if (!split)
    return function.emitError()
           << what << " `" << name.getValue()
           << "` has neither `moe.weight`, which makes a weight of it, nor "
              "`moe.split`, which says how its rows lie over the ranks";
  auto entry = moert::ValueAttr::getChecked(
      [&] { return function.emitError(); }, function.getContext(), name,
      TypeAttr::get(type), split);
  if (!entry)
    return failure();
  return Attribute(entry);
}

static FailureOr<Attribute> weightEntry(func::FuncOp function, unsigned index,
                                        Type type, Attribute source) {
  MLIRContext *context = function.getContext();
  auto name = function.getArgAttrOfType<StringAttr>(index, "moe.name");
  if (!name)
    name = StringAttr::get(context, "weight" + std::to_string(index));
  auto sources = dyn_cast<ArrayAttr>(source);
  if (!sources)
    sources = ArrayAttr::get(context, {source});
  auto entry = moert::WeightAttr::getChecked(
      [&] { return function.emitError(); }, context, name, TypeAttr::get(type),
      sources, function.getArgAttrOfType<SliceAttr>(index, "moe.slice"));
  if (!entry)
    return failure();
  return Attribute(entry);
}

FailureOr<LayerInterface> LayerInterface::collect(func::FuncOp function) {
  LayerInterface interface;
  // One layer sorts at each step of its dispatch, and a function may hold
  // several layers; what the interface says of experts holds for all of them.
  auto sorts = llvm::to_vector(function.getOps<SortOp>());
  if (sorts.empty())
    return function.emitError("sorts no routed tokens, but a layer with routed "
                              "experts is expected");
  for (SortOp sort : sorts)
    if (sort.getExperts() != sorts.front().getExperts() ||
        sort.getTopK() != sorts.front().getTopK() ||
        sort.getSlots() != sorts.front().getSlots()) {
      InFlightDiagnostic diag =
          sort.emitOpError()
          << "routes to " << sort.getTopK() << " of " << sort.getExperts()
          << " experts, but one function has layers of one kind only; put each "
             "layer into a function of its own";
      diag.attachNote(sorts.front().getLoc())
          << "an earlier layer routes to " << sorts.front().getTopK() << " of "
          << sorts.front().getExperts();
      return failure();
    }
  interface.experts = sorts.front().getExperts();
  interface.topK = sorts.front().getTopK();
  interface.slots =
      DenseI32ArrayAttr::get(function.getContext(), sorts.front().getSlots());
  if (auto layer = function->getAttrOfType<IntegerAttr>("moe.layer"))
    interface.layer = layer.getInt();
  auto grids = llvm::to_vector(
      function->getParentOfType<ModuleOp>().getOps<shard::GridOp>());
  if (grids.size() != 1)
    return function.emitError() << "stands beside " << grids.size()
                                << " grids, but one `shard.grid` is expected";
  interface.grid =
      FlatSymbolRefAttr::get(function.getContext(), grids.front().getSymName());

  for (auto [index, type] : llvm::enumerate(function.getArgumentTypes())) {
    if (Attribute source = function.getArgAttr(index, "moe.weight")) {
      FailureOr<Attribute> entry = weightEntry(function, index, type, source);
      if (failed(entry))
        return failure();
      interface.weights.push_back(*entry);
      continue;
    }
    FailureOr<Attribute> entry = valueEntry(function, "argument", index, type,
                                            function.getArgAttrDict(index));
    if (failed(entry))
      return failure();
    interface.inputs.push_back(*entry);
  }
  for (auto [index, type] : llvm::enumerate(function.getResultTypes())) {
    FailureOr<Attribute> entry = valueEntry(function, "result", index, type,
                                            function.getResultAttrDict(index));
    if (failed(entry))
      return failure();
    interface.outputs.push_back(*entry);
  }
  return interface;
}

void LayerInterface::create(func::FuncOp function) const {
  MLIRContext *context = function.getContext();
  // The function keeps only what later passes read from its arguments.
  SmallVector<Attribute> attributes(function.getNumArguments(),
                                    DictionaryAttr::get(context));
  auto mark = [&](unsigned index, Attribute entry) {
    NamedAttribute split(StringAttr::get(context, "moe.split"),
                         cast<moert::ValueAttr>(entry).getSplit());
    attributes[index] = DictionaryAttr::get(context, split);
  };
  for (auto [index, entry] : llvm::enumerate(inputs))
    mark(index, entry);
  for (auto [index, entry] : llvm::enumerate(outputs))
    mark(inputs.size() + weights.size() + index, entry);
  function.setAllArgAttrs(attributes);

  OpBuilder builder(context);
  builder.setInsertionPointAfter(function);
  moert::InterfaceOp::create(
      builder, function.getLoc(), FlatSymbolRefAttr::get(function), grid,
      builder.getI64IntegerAttr(layer), builder.getI64IntegerAttr(experts),
      builder.getI64IntegerAttr(topK), slots, builder.getArrayAttr(inputs),
      builder.getArrayAttr(outputs), builder.getArrayAttr(weights),
      builder.getDenseI64ArrayAttr({}),
      moert::ArenaAttr::get(context, 0, 0, 0, 1));
}
