#include "dialects/Forms/GridSize.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moe::moert;

// (C2) every entry is an AttrTy; no name twice among those in `names`.
template <typename AttrTy>
static LogicalResult verifyEntries(InterfaceOp op, StringRef what,
                                   ArrayAttr entries,
                                   llvm::StringSet<> &names) {
  for (Attribute entry : entries) {
    auto typed = dyn_cast<AttrTy>(entry);
    if (!typed)
      return op.emitOpError()
             << "has " << entry << " among its " << what << ", but #moert."
             << AttrTy::getMnemonic() << " is expected";
    if (!names.insert(typed.getName().getValue()).second)
      return op.emitOpError() << "names `" << typed.getName().getValue()
                              << "` twice among its " << what;
  }
  return success();
}

// (C5)
static LogicalResult verifySlots(InterfaceOp op) {
  int64_t experts = op.getExperts();
  if (experts < 0)
    return op.emitOpError()
           << "has " << experts
           << " experts, but a number that is not negative is expected";
  llvm::SmallSet<int32_t, 8> seen;
  for (int32_t expert : op.getSlots()) {
    if (expert < -1 || expert >= experts)
      return op.emitOpError()
             << "has expert " << expert << " in a slot, but -1 to "
             << experts - 1 << " are expected";
    if (expert != -1 && !seen.insert(expert).second)
      return op.emitOpError() << "has expert " << expert << " in two slots";
  }
  if (static_cast<int64_t>(seen.size()) != experts)
    return op.emitOpError()
           << "places " << seen.size() << " of " << op.getExperts()
           << " experts, but all are expected in its slots";
  return success();
}

LogicalResult InterfaceOp::verify() {
  if (getTopK() <= 0 || getTopK() > getExperts()) // (C6)
    return emitOpError() << "selects " << getTopK() << " of " << getExperts()
                         << " experts, but 1 to " << getExperts()
                         << " are expected";
  if (static_cast<int64_t>(getLayer()) < 0) // (C6)
    return emitOpError() << "has layer " << static_cast<int64_t>(getLayer())
                         << ", but one that is not negative is expected";
  llvm::StringSet<> values, weights;
  if (failed(verifyEntries<ValueAttr>(*this, "inputs", getInputs(), values)) ||
      failed(
          verifyEntries<ValueAttr>(*this, "outputs", getOutputs(), values)) ||
      failed(
          verifyEntries<WeightAttr>(*this, "weights", getWeights(), weights)))
    return failure();
  for (int64_t bytes : getPacked())
    if (bytes <= 0) // (C4)
      return emitOpError() << "has a packed buffer of " << bytes
                           << " bytes, but a positive size is expected";
  return verifySlots(*this);
}

static LogicalResult verifyAxes(InterfaceOp op, StringAttr name,
                                ArrayRef<int64_t> axes, shard::GridOp grid) {
  for (int64_t axis : axes)
    if (axis >= grid.getRank())
      return op.emitOpError() << "splits `" << name.getValue() << "` over axis "
                              << axis << ", but the grid `" << grid.getSymName()
                              << "` has axes 0 to " << grid.getRank() - 1;
  return success();
}

// (C3), (C5)
static LogicalResult verifySlice(InterfaceOp op, WeightAttr weight,
                                 shard::GridOp grid) {
  moe::SliceAttr slice = weight.getSlice();
  if (!slice)
    return success();
  if (slice.getGrid() != op.getGridAttr())
    return op.emitOpError() << "has `" << weight.getName().getValue()
                            << "` sliced over the grid " << slice.getGrid()
                            << ", but " << op.getGridAttr() << " is expected";
  for (auto split : slice.getSplits().getAsRange<moe::SplitAttr>())
    if (failed(verifyAxes(op, weight.getName(), split.getAxes().asArrayRef(),
                          grid)))
      return failure();
  if (slice.getFirstOnly() &&
      failed(verifyAxes(op, weight.getName(), slice.getFirstOnly().asArrayRef(),
                        grid)))
    return failure();
  if (slice.getSlots() && slice.getSlots() != op.getSlotsAttr())
    return op.emitOpError() << "has `" << weight.getName().getValue()
                            << "` in slots [" << slice.getSlots().asArrayRef()
                            << "], but [" << op.getSlots() << "] are expected";
  return success();
}

LogicalResult InterfaceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!symbols.lookupNearestSymbolFrom<FunctionOpInterface>( // (C1)
          *this, getFunctionAttr()))
    return emitOpError() << "names the function `" << getFunction()
                         << "`, but there is none of that name";
  auto grid =
      symbols.lookupNearestSymbolFrom<shard::GridOp>(*this, getGridAttr());
  if (!grid) // (C1)
    return emitOpError() << "names the grid `" << getGrid()
                         << "`, but there is no `shard.grid` of that name";
  if (failed(verifyGridSize(*this, grid)))
    return failure();
  for (ArrayAttr entries : {getInputs(), getOutputs()})
    for (auto value : entries.getAsRange<ValueAttr>())
      if (failed(verifyAxes(*this, value.getName(),
                            value.getSplit().asArrayRef(), grid)))
        return failure();
  for (auto weight : getWeights().getAsRange<WeightAttr>())
    if (failed(verifySlice(*this, weight, grid)))
      return failure();
  return success();
}
