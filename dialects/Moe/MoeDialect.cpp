#include "dialects/Moe/MoeDialect.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Forms/GridSize.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

#include "dialects/Moe/MoeDialect.cpp.inc"

void MoeDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/Moe/MoeOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Discardable attributes
//===----------------------------------------------------------------------===//

LogicalResult MoeDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attr) {
  StringRef name = attr.getName();
  if (name == "moe.phase") {
    if (!isa<ModuleOp>(op) || !isa<StringAttr>(attr.getValue()))
      return op->emitError()
             << "`moe.phase` is a string on a module, but found "
             << attr.getValue() << " on '" << op->getName() << "'";
    return success();
  }
  if (name == "moe.scheduled") {
    if (!isa<ModuleOp>(op) || !isa<StringAttr>(attr.getValue()))
      return op->emitError()
             << "`moe.scheduled` is a text on a module, but it stands on '"
             << op->getName() << "'";
    return success();
  }
  if (name == "moe.options") {
    if (!isa<ModuleOp>(op) || !isa<DictionaryAttr>(attr.getValue()))
      return op->emitError()
             << "`moe.options` is a dictionary on a module, but found "
             << attr.getValue() << " on '" << op->getName() << "'";
    return success();
  }
  if (name == "moe.layer") {
    auto layer = dyn_cast<IntegerAttr>(attr.getValue());
    if (!isa<FunctionOpInterface>(op) || !layer || layer.getInt() < 0)
      return op->emitError()
             << "`moe.layer` is a layer's index on a function, but found "
             << attr.getValue() << " on '" << op->getName() << "'";
    return success();
  }
  if (name == "moe.part") {
    auto part = dyn_cast<DenseI64ArrayAttr>(attr.getValue());
    if (!isa<GroupedMatmulOp>(op) || !part || part.size() != 2 || part[0] < 1 ||
        part[1] < part[0])
      return op->emitError()
             << "`moe.part` is [slots here, slots of all] on "
                "moe.grouped_matmul, but found "
             << attr.getValue() << " on '" << op->getName() << "'";
    return success();
  }
  return op->emitError()
         << "`" << name
         << "` is not an attribute of operations that the moe dialect knows";
}

SmallVector<CheckpointAttr> moe::checkpointAlternatives(Attribute weight) {
  if (auto one = dyn_cast_or_null<CheckpointAttr>(weight))
    return {one};
  SmallVector<CheckpointAttr> all;
  if (auto array = dyn_cast_or_null<ArrayAttr>(weight))
    for (Attribute entry : array)
      all.push_back(dyn_cast<CheckpointAttr>(entry));
  return all;
}

// Attributes of arguments and of results; `type` is the value's type.
static LogicalResult verifyValueAttribute(Operation *op, Type type,
                                          NamedAttribute attr,
                                          bool isArgument) {
  StringRef name = attr.getName();
  Attribute value = attr.getValue();
  auto shaped = dyn_cast<ShapedType>(type);
  if (name == "moe.name") {
    if (auto text = dyn_cast<StringAttr>(value); text && !text.empty())
      return success();
    return op->emitError() << "`moe.name` is a name, but found " << value;
  }
  if (name == "moe.split") {
    if (isa<DenseI64ArrayAttr>(value) && shaped && shaped.hasRank() &&
        shaped.getRank() > 0)
      return success();
    return op->emitError() << "`moe.split` is array<i64> of grid axes on a "
                              "value with rows, but found "
                           << value << " on " << type;
  }
  if (name == "moe.weight" && isArgument) {
    SmallVector<CheckpointAttr> alternatives = checkpointAlternatives(value);
    if (alternatives.empty() || llvm::is_contained(alternatives, nullptr))
      return op->emitError() << "`moe.weight` is #moe.checkpoint or a "
                                "non-empty array of them, but found "
                             << value;
    for (CheckpointAttr alternative : alternatives)
      if (!shaped || !shaped.hasRank() ||
          alternative.getMap().getValue().getNumDims() !=
              static_cast<unsigned>(shaped.getRank()))
        return op->emitError() << "`moe.weight` maps "
                               << alternative.getMap().getValue().getNumDims()
                               << " dimensions, but the argument is " << type;
    return success();
  }
  if (name == "moe.slice" && isArgument) {
    auto slice = dyn_cast<SliceAttr>(value);
    if (slice && shaped && shaped.hasRank() &&
        slice.getShape().size() == shaped.getRank()) {
      shard::GridOp grid = coll::lookupGrid(op, slice.getGrid());
      return grid ? verifyGridSize(op, grid) : success();
    }
    return op->emitError() << "`moe.slice` is #moe.slice with a shape of the "
                              "argument's rank, but found "
                           << value << " on " << type;
  }
  return op->emitError() << "`" << name << "` is not an attribute of "
                         << (isArgument ? "arguments" : "results")
                         << " that the moe dialect knows";
}

LogicalResult MoeDialect::verifyRegionArgAttribute(Operation *op,
                                                   unsigned regionIndex,
                                                   unsigned argIndex,
                                                   NamedAttribute attr) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function)
    return op->emitError() << "`" << attr.getName()
                           << "` stands on an argument of '" << op->getName()
                           << "', but belongs to arguments of functions";
  return verifyValueAttribute(op, function.getArgumentTypes()[argIndex], attr,
                              /*isArgument=*/true);
}

LogicalResult MoeDialect::verifyRegionResultAttribute(Operation *op,
                                                      unsigned regionIndex,
                                                      unsigned resultIndex,
                                                      NamedAttribute attr) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function)
    return op->emitError() << "`" << attr.getName()
                           << "` stands on a result of '" << op->getName()
                           << "', but belongs to results of functions";
  return verifyValueAttribute(op, function.getResultTypes()[resultIndex], attr,
                              /*isArgument=*/false);
}
