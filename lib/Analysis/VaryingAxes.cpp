#include "moe/Analysis/VaryingAxes.h"
#include "VaryingTransfer.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Analysis/DataFlow/SparseAnalysis.h"
#include "mlir/Analysis/DataFlow/Utils.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// The lattice
//===----------------------------------------------------------------------===//

AxisSet Variation::ofDim(int64_t dim) const {
  return dim < static_cast<int64_t>(dims.size()) ? dims[dim] : AxisSet();
}

Variation Variation::join(const Variation &a, const Variation &b) {
  Variation result = a;
  result.contents |= b.contents;
  if (result.dims.size() < b.dims.size())
    result.dims.resize(b.dims.size());
  for (auto [index, dim] : llvm::enumerate(b.dims))
    result.dims[index] |= dim;
  return result;
}

bool Variation::operator==(const Variation &other) const {
  return contents == other.contents && dims == other.dims;
}

void Variation::print(raw_ostream &os) const {
  auto printSet = [&](const AxisSet &set) {
    os << "{";
    llvm::interleaveComma(set.members(), os);
    os << "}";
  };
  printSet(contents);
  for (const AxisSet &dim : dims) {
    os << " ";
    printSet(dim);
  }
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

// Adds the operands of `op` that are not handed on to a successor.
static void addKept(Operation *op, ArrayRef<OperandRange> forwarded,
                    SmallVectorImpl<Value> &values) {
  llvm::SmallBitVector handedOn(op->getNumOperands());
  for (OperandRange range : forwarded)
    if (!range.empty())
      handedOn.set(range.getBeginOperandIndex(),
                   range.getBeginOperandIndex() + range.size());
  for (OpOperand &operand : op->getOpOperands())
    if (!handedOn.test(operand.getOperandNumber()))
      values.push_back(operand.get());
}

// Conditions of branches between the blocks of `region`.
static void addBranchConditions(Region &region,
                                SmallVectorImpl<Value> &values) {
  for (Block &block : region) {
    if (block.empty() || block.back().getNumSuccessors() < 2)
      continue;
    SmallVector<OperandRange> forwarded;
    if (auto branch = dyn_cast<BranchOpInterface>(block.back()))
      for (unsigned index = 0; index < block.back().getNumSuccessors(); ++index)
        forwarded.push_back(
            branch.getSuccessorOperands(index).getForwardedOperands());
    addKept(&block.back(), forwarded, values);
  }
}

SmallVector<Value> moe::decidingValues(Operation *op) {
  SmallVector<Value> values;
  auto branch = dyn_cast<RegionBranchOpInterface>(op);
  if (branch) {
    SmallVector<OperandRange> forwarded;
    SmallVector<RegionSuccessor> successors;
    branch.getSuccessorRegions(RegionBranchPoint::parent(), successors);
    for (RegionSuccessor &successor : successors)
      forwarded.push_back(branch.getEntrySuccessorOperands(successor));
    addKept(op, forwarded, values);
  }
  for (Region &region : op->getRegions()) {
    addBranchConditions(region, values);
    for (Block &block : region) {
      if (!branch || block.empty())
        continue;
      auto terminator =
          dyn_cast<RegionBranchTerminatorOpInterface>(block.back());
      if (!terminator)
        continue;
      SmallVector<OperandRange> forwarded;
      SmallVector<RegionSuccessor> successors;
      branch.getSuccessorRegions(RegionBranchPoint(terminator), successors);
      for (RegionSuccessor &successor : successors)
        forwarded.push_back(terminator.getSuccessorOperands(successor));
      addKept(terminator, forwarded, values);
    }
  }
  return values;
}

//===----------------------------------------------------------------------===//
// Seeds: what the arguments of a program say about themselves
//===----------------------------------------------------------------------===//

// The grids that a function's operations and weights name; its ranks are
// theirs.
static SmallVector<shard::GridOp> gridsOf(FunctionOpInterface function,
                                          const AxisTable &table) {
  llvm::SmallSetVector<Operation *, 2> grids;
  auto add = [&](FlatSymbolRefAttr name) {
    if (shard::GridOp grid = coll::lookupGrid(function, name))
      grids.insert(grid);
  };
  for (unsigned index = 0; index < function.getNumArguments(); ++index)
    if (auto slice = function.getArgAttrOfType<SliceAttr>(index, "moe.slice"))
      add(slice.getGrid());
  function->walk([&](Operation *op) {
    if (auto grid = op->getAttrOfType<FlatSymbolRefAttr>("grid"))
      add(grid);
  });
  if (grids.empty())
    return llvm::to_vector(table.grids());
  SmallVector<shard::GridOp> result;
  for (Operation *grid : grids)
    result.push_back(cast<shard::GridOp>(grid));
  return result;
}

static AxisSet everythingIn(FunctionOpInterface function,
                            const AxisTable &table) {
  AxisSet result;
  for (shard::GridOp grid : gridsOf(function, table))
    result |= table.all(grid);
  return result;
}

static AxisSet sliceAxes(SliceAttr slice, shard::GridOp grid,
                         const AxisTable &table) {
  AxisSet result;
  for (Attribute split : slice.getSplits())
    result |= table.axes(grid, cast<SplitAttr>(split).getAxes().asArrayRef());
  if (DenseI64ArrayAttr first = slice.getFirstOnly())
    result |= table.axes(grid, first.asArrayRef());
  return result;
}

// Axes of a `moe.split` or slice that the grid does not have make everything
// possible.
static bool hasAxes(shard::GridOp grid, ArrayRef<int64_t> axes) {
  return llvm::all_of(
      axes, [&](int64_t axis) { return axis >= 0 && axis < grid.getRank(); });
}

static Variation seedOf(BlockArgument argument, FunctionOpInterface function,
                        const AxisTable &table) {
  unsigned index = argument.getArgNumber();
  Type type = argument.getType();
  AxisSet everything = everythingIn(function, table);
  if (auto slice = function.getArgAttrOfType<SliceAttr>(index, "moe.slice")) {
    shard::GridOp grid = coll::lookupGrid(function, slice.getGrid());
    bool known = static_cast<bool>(grid);
    for (Attribute split : slice.getSplits())
      known =
          known && hasAxes(grid, cast<SplitAttr>(split).getAxes().asArrayRef());
    if (known && (!slice.getFirstOnly() ||
                  hasAxes(grid, slice.getFirstOnly().asArrayRef())))
      return varyingOver(sliceAxes(slice, grid, table), type);
    return varyingOver(everything, type);
  }
  if (function.getArgAttr(index, "moe.weight"))
    return varyingOver(AxisSet(), type); // every rank reads the whole of it
  auto split = function.getArgAttrOfType<DenseI64ArrayAttr>(index, "moe.split");
  if (!split)
    return varyingOver(everything, type);
  if (split.empty())
    return varyingOver(AxisSet(), type);
  SmallVector<shard::GridOp> grids = gridsOf(function, table);
  if (grids.size() != 1 || !hasAxes(grids[0], split.asArrayRef()))
    return varyingOver(everything, type);
  Variation result;
  result.contents = table.axes(grids[0], split.asArrayRef());
  result.dims = {result.contents}; // rows; the other dimensions are global
  return fitted(result, type);
}

//===----------------------------------------------------------------------===//
// The analysis
//===----------------------------------------------------------------------===//

namespace {

using VaryingLattice = dataflow::Lattice<Variation>;

class VaryingAxesAnalysis
    : public dataflow::SparseForwardDataFlowAnalysis<VaryingLattice> {
  using Base = dataflow::SparseForwardDataFlowAnalysis<VaryingLattice>;

public:
  VaryingAxesAnalysis(DataFlowSolver &solver, const AxisTable &table)
      : Base(solver), table(table) {}

  LogicalResult initialize(Operation *top) override {
    if (failed(Base::initialize(top)))
      return failure();
    top->walk([&](Operation *op) {
      addDecisions(getProgramPointAfter(op));
      for (Region &region : op->getRegions())
        for (Block &block : region)
          addDecisions(getProgramPointBefore(&block));
    });
    return success();
  }

  LogicalResult visit(ProgramPoint *point) override {
    if (failed(Base::visit(point)))
      return failure();
    addDecisions(point);
    return success();
  }

  LogicalResult visitOperation(Operation *op,
                               ArrayRef<const VaryingLattice *> operands,
                               ArrayRef<VaryingLattice *> results) override {
    ProgramPoint *point = getProgramPointAfter(op);
    auto stateOf = [&](Value value) -> const Variation & {
      return getLatticeElementFor(point, value)->getValue();
    };
    TransferContext context{table, stateOf, everythingAt(op)};
    for (auto [lattice, state] : llvm::zip(results, transfer(op, context)))
      propagateIfChanged(lattice, lattice->join(state));
    return success();
  }

  // Induction variables and the arguments of bodies: whatever the operation
  // sees.
  void visitNonControlFlowArguments(Operation *op,
                                    const RegionSuccessor &successor,
                                    ArrayRef<VaryingLattice *> arguments,
                                    unsigned firstIndex) override {
    ValueRange handedOn = successor.getSuccessorInputs();
    for (auto [index, lattice] : llvm::enumerate(arguments)) {
      if (index >= firstIndex && index < firstIndex + handedOn.size())
        continue;
      auto argument = dyn_cast<BlockArgument>(lattice->getAnchor());
      if (!argument) {
        setToEntryState(lattice);
        continue;
      }
      ProgramPoint *point = getProgramPointBefore(argument.getOwner());
      AxisSet over;
      if (isa<LoopLikeOpInterface>(op)) {
        for (Value value : decidingValues(op))
          over |= getLatticeElementFor(point, value)->getValue().contents;
      } else {
        for (Value value : op->getOperands())
          over |= getLatticeElementFor(point, value)->getValue().contents;
      }
      propagateIfChanged(lattice,
                         lattice->join(varyingOver(over, argument.getType())));
    }
  }

protected:
  void setToEntryState(VaryingLattice *lattice) override {
    Value value = lattice->getAnchor();
    Variation state;
    auto argument = dyn_cast<BlockArgument>(value);
    FunctionOpInterface function;
    if (argument && argument.getOwner()->isEntryBlock())
      function =
          dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
    if (function)
      state = seedOf(argument, function, table);
    else
      state = varyingOver(everythingAt(value.getParentBlock()->getParentOp()),
                          value.getType());
    propagateIfChanged(lattice, lattice->join(state));
  }

private:
  const AxisSet &everythingAt(Operation *op) {
    auto function = dyn_cast<FunctionOpInterface>(op);
    if (!function)
      function = op->getParentOfType<FunctionOpInterface>();
    auto [it, isNew] = everything.try_emplace(function);
    if (isNew)
      it->second = function ? everythingIn(function, table) : table.all();
    return it->second;
  }

  // A value that a branch or a loop hands out varies as the decision does.
  void addDecisions(ProgramPoint *point) {
    SmallVector<Value> deciding;
    ValueRange decided;
    if (point->isBlockStart()) {
      Block *block = point->getBlock();
      if (block->isEntryBlock() || block->getNumArguments() == 0)
        return;
      addBranchConditions(*block->getParent(), deciding);
      decided = block->getArguments();
    } else {
      Operation *op = point->getPrevOp();
      if (op->getNumResults() == 0)
        return;
      decided = op->getResults();
      if (isa<RegionBranchOpInterface>(op))
        deciding = decidingValues(op);
      else if (auto call = dyn_cast<CallOpInterface>(op))
        if (auto callee =
                dyn_cast_or_null<FunctionOpInterface>(call.resolveCallable()))
          addBranchConditions(callee.getFunctionBody(), deciding);
    }
    AxisSet over;
    for (Value value : deciding)
      over |= getLatticeElementFor(point, value)->getValue().contents;
    if (over.empty())
      return;
    for (Value value : decided) {
      VaryingLattice *lattice = getLatticeElement(value);
      propagateIfChanged(lattice,
                         lattice->join(varyingOver(over, value.getType())));
    }
  }

  const AxisTable &table;
  llvm::DenseMap<Operation *, AxisSet> everything; // of each function
};

} // namespace

VaryingAxes::VaryingAxes(ModuleOp module) : module(module), axisTable(module) {}
VaryingAxes::~VaryingAxes() = default;

LogicalResult VaryingAxes::run() {
  solver = std::make_unique<DataFlowSolver>();
  dataflow::loadBaselineAnalyses(*solver);
  solver->load<VaryingAxesAnalysis>(axisTable);
  return solver->initializeAndRun(module);
}

Variation VaryingAxes::of(Value value) const {
  const auto *lattice = solver->lookupState<VaryingLattice>(value);
  return lattice ? lattice->getValue() : Variation();
}

AxisSet VaryingAxes::dimOf(Value value, int64_t dim) const {
  return of(value).ofDim(dim);
}
