// Proves that all ranks of a group issue the same collectives in the same
// order, with sizes that match. The argument, its assumptions and an example of
// each refusal are in docs/Collectives.md; the letters of the rules below are
// its.
//
// The proof rests on varying axes (moe/Analysis/VaryingAxes.h). A group over
// axes G is safe when nothing that decides whether, in which order, or with
// which sizes its collective runs varies over an axis of G.
#include "dialects/Coll/CollDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "moe/Analysis/Collectives.h"
#include "moe/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace moe {
#define GEN_PASS_DEF_VERIFYCOLLECTIVESPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// A collective with its group.
struct Issue {
  coll::Collective op;
  shard::GridOp grid;
  AxisSet group;
};

class CollectiveVerifier {
public:
  CollectiveVerifier(ModuleOp module, const VaryingAxes &varying)
      : module(module), varying(varying) {}

  LogicalResult run();

private:
  Issue issueOf(coll::Collective op) {
    shard::GridOp grid = coll::lookupGrid(op, op.getGridAttr());
    return {op, grid, varying.table().axes(grid, op.getAxes())};
  }
  /// The part of `over` that tells members of the group apart. Axes of another
  /// grid cut the same ranks in another way: each of them may.
  AxisSet within(const AxisSet &over, const Issue &issue);
  std::string groupName(const Issue &issue) {
    return varying.table().names(issue.group);
  }

  LogicalResult verify(coll::Collective op);
  LogicalResult verifyControl(Operation *op, const Issue &issue,
                              StringRef what);
  LogicalResult verifyDecision(Operation *op, Operation *parent,
                               const Issue &issue, StringRef what);
  LogicalResult verifyCall(CallOpInterface call);
  LogicalResult verifyShapes(const Issue &issue);
  LogicalResult verifyExchange(coll::AllToAllVOp op, const Issue &issue);
  LogicalResult verifyGathered(const Issue &issue, Value counts);
  LogicalResult verifyToken(coll::StartOp start);
  LogicalResult verifyResults(FunctionOpInterface function);
  LogicalResult verifyGrids(FunctionOpInterface function);

  /// All collectives that a call of `function` may issue.
  ArrayRef<Issue> issuedBy(FunctionOpInterface function);

  ModuleOp module;
  const VaryingAxes &varying;
  llvm::MapVector<Operation *, SmallVector<Issue>> issued;
};

} // namespace

AxisSet CollectiveVerifier::within(const AxisSet &over, const Issue &issue) {
  AxisSet result;
  for (unsigned id : over.members())
    if (issue.group.contains(id) || varying.table().gridOf(id) != issue.grid)
      result.insert(id);
  return result;
}

//===----------------------------------------------------------------------===//
// (a), (f): whether and in which order
//===----------------------------------------------------------------------===//

// Runs its regions one at a time, as its deciding values say. A closed list: an
// interface for region control flow does not say that a rank waits for the end
// (`async.execute` implements it).
static bool isSequential(Operation *op) {
  return isa<scf::IfOp, scf::ForOp, scf::WhileOp, scf::IndexSwitchOp,
             scf::ExecuteRegionOp, affine::AffineForOp, affine::AffineIfOp,
             coll::StartOp>(op);
}

LogicalResult CollectiveVerifier::verifyDecision(Operation *op,
                                                 Operation *parent,
                                                 const Issue &issue,
                                                 StringRef what) {
  for (Value value : decidingValues(parent)) {
    AxisSet over = within(varying.contentsOf(value), issue);
    if (over.empty())
      continue;
    InFlightDiagnostic diagnostic =
        op->emitOpError()
        << what << "over " << groupName(issue) << " stands in '"
        << parent->getName() << "', whose decision may differ over "
        << varying.table().names(over)
        << ", but all members of the group must take it alike";
    diagnostic.attachNote(parent->getLoc()) << "the decision is made here";
    noteOrigin(diagnostic, originOf(value, -1, over, varying), over, varying);
    return diagnostic;
  }
  return success();
}

LogicalResult CollectiveVerifier::verifyControl(Operation *op,
                                                const Issue &issue,
                                                StringRef what) {
  for (Operation *child = op; !isa<FunctionOpInterface>(child);
       child = child->getParentOp()) {
    Operation *parent = child->getParentOp();
    if (!parent || isa<ModuleOp>(parent))
      break;
    if (!child->getParentRegion()->hasOneBlock()) {
      InFlightDiagnostic diagnostic =
          op->emitOpError()
          << what << "over " << groupName(issue)
          << " stands among branches between blocks, where no order can be "
             "shown, but structured control flow (`scf`) is expected";
      diagnostic.attachNote(parent->getLoc()) << "in this region";
      return diagnostic;
    }
    if (isa<FunctionOpInterface>(parent))
      break;
    if (!isSequential(parent)) {
      InFlightDiagnostic diagnostic =
          op->emitOpError()
          << what << "over " << groupName(issue) << " stands in '"
          << parent->getName()
          << "', whose body runs in no order that can be shown, but all ranks "
             "must issue their collectives in one order";
      diagnostic.attachNote(parent->getLoc()) << "in this body";
      return diagnostic;
    }
    if (failed(verifyDecision(op, parent, issue, what)))
      return failure();
  }
  return success();
}

ArrayRef<Issue> CollectiveVerifier::issuedBy(FunctionOpInterface function) {
  auto [it, isNew] = issued.try_emplace(function);
  if (!isNew)
    return it->second; // a function that calls itself adds nothing new
  SmallVector<Issue> all;
  function->walk([&](Operation *op) {
    if (auto collective = dyn_cast<coll::Collective>(op))
      all.push_back(issueOf(collective));
    if (auto call = dyn_cast<CallOpInterface>(op))
      if (auto callee =
              dyn_cast_or_null<FunctionOpInterface>(call.resolveCallable()))
        llvm::append_range(all, issuedBy(callee));
  });
  return issued[function] = all;
}

LogicalResult CollectiveVerifier::verifyCall(CallOpInterface call) {
  auto callee = dyn_cast_or_null<FunctionOpInterface>(call.resolveCallable());
  if (!callee || callee.isExternal())
    return success(); // no collectives in what is not ours (assumption A4)
  for (const Issue &issue : issuedBy(callee)) {
    if (issue.group.empty())
      continue;
    std::string what = ("calls `" + callee.getName() + "`, whose '" +
                        issue.op->getName().getStringRef() + "' ")
                           .str();
    if (failed(verifyControl(call, issue, what)))
      return failure();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// (b), (e): sizes that types do not give
//===----------------------------------------------------------------------===//

LogicalResult CollectiveVerifier::verifyShapes(const Issue &issue) {
  Value sent = coll::Collective(issue.op).getSent();
  auto shaped = cast<ShapedType>(sent.getType());
  // The first dimension of a ragged collective is what its counts are about.
  bool fixed = coll::Collective(issue.op).isFixedSize();
  for (int64_t dim = fixed ? 0 : 1; dim < shaped.getRank(); ++dim) {
    AxisSet over = within(varying.dimOf(sent, dim), issue);
    if (over.empty())
      continue;
    Origin origin = originOf(sent, dim, over, varying);
    InFlightDiagnostic diagnostic = coll::Collective(issue.op)->emitOpError()
                                    << "over " << groupName(issue);
    if (origin.throughData)
      diagnostic << " sends dimension " << dim << " of " << sent.getType()
                 << " as large as this rank's own data says (a capacity "
                    "computed per rank): it may differ over "
                 << varying.table().names(over)
                 << ", but the members must agree on it by a collective first";
    else
      diagnostic << " sends " << sent.getType() << ", whose dimension " << dim
                 << " may differ over " << varying.table().names(over)
                 << ", but all members of the group must send equal shapes";
    noteOrigin(diagnostic, origin, over, varying);
    return diagnostic;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// (c), (d): counts
//===----------------------------------------------------------------------===//

static StringRef axesNote() { return "this exchange is over "; }

LogicalResult CollectiveVerifier::verifyExchange(coll::AllToAllVOp op,
                                                 const Issue &issue) {
  Value send = withoutReshapes(op.getSendCounts());
  Value recv = withoutReshapes(op.getRecvCounts());
  SmallVector<coll::AllToAllOp, 2> exchanges;
  for (auto [to, from] : {std::pair(recv, send), std::pair(send, recv)}) {
    auto exchange = to.getDefiningOp<coll::AllToAllOp>();
    if (!exchange)
      continue;
    exchanges.push_back(exchange);
    shard::GridOp grid = coll::lookupGrid(exchange, exchange.getGridAttr());
    if (withoutReshapes(exchange.getSource()) == from &&
        coll::sameGroup(issue.grid, op.getAxes(), grid, exchange.getAxes()))
      return success();
  }
  InFlightDiagnostic diagnostic =
      op.emitOpError()
      << "over " << groupName(issue)
      << " has send and receive counts that are not exchanges of each other, "
         "but one must be 'coll.all_to_all' of the other over the same axes";
  for (coll::AllToAllOp exchange : exchanges) {
    Issue other = issueOf(cast<coll::Collective>(exchange.getOperation()));
    Diagnostic &note = diagnostic.attachNote(exchange.getLoc());
    if (coll::sameGroup(issue.grid, op.getAxes(), other.grid,
                        exchange.getAxes()))
      note << "this exchange is of other counts";
    else
      note << axesNote() << groupName(other);
  }
  if (exchanges.empty())
    for (Value counts : {send, recv})
      diagnostic.attachNote(counts.getLoc())
          << (counts == send ? "send" : "receive") << " counts come from here";
  return diagnostic;
}

LogicalResult CollectiveVerifier::verifyGathered(const Issue &issue,
                                                 Value counts) {
  coll::Collective op = issue.op;
  AxisSet over = within(varying.contentsOf(counts), issue);
  if (!over.empty()) {
    InFlightDiagnostic diagnostic =
        op->emitOpError() << "over " << groupName(issue)
                          << " has counts that may differ over "
                          << varying.table().names(over)
                          << ", but every member must know the same counts: "
                             "'coll.all_gather' of the local ones";
    noteOrigin(diagnostic, originOf(counts, -1, over, varying), over, varying);
    return diagnostic;
  }
  Value root = withoutReshapes(counts);
  auto gather = root.getDefiningOp<coll::AllGatherOp>();
  if (gather && coll::sameGroup(issue.grid, op.getAxes(),
                                coll::lookupGrid(gather, gather.getGridAttr()),
                                gather.getAxes()))
    return success();
  InFlightDiagnostic diagnostic =
      op->emitOpError()
      << "over " << groupName(issue)
      << " has counts that are not 'coll.all_gather' of local counts over the "
         "same axes, so that nothing shows that block i is what member i holds";
  Diagnostic &note = diagnostic.attachNote(root.getLoc());
  if (gather)
    note << "this gather is over "
         << groupName(issueOf(cast<coll::Collective>(gather.getOperation())));
  else
    note << "the counts come from here";
  return diagnostic;
}

//===----------------------------------------------------------------------===//
// One collective, one function, the module
//===----------------------------------------------------------------------===//

LogicalResult CollectiveVerifier::verify(coll::Collective op) {
  Issue issue = issueOf(op);
  if (issue.group.empty())
    return success(); // a group of one waits for nobody
  if (isa<coll::SendOp, coll::RecvOp>(op))
    return op->emitOpError()
           << "over " << groupName(issue)
           << " is matched by an operation of one other member, which cannot "
              "be "
              "shown, but collectives of the whole group are expected";
  if (failed(verifyControl(op, issue, "")) || failed(verifyShapes(issue)))
    return failure();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](coll::AllToAllVOp v) { return verifyExchange(v, issue); })
      .Case<coll::AllGatherVOp, coll::ReduceScatterVOp>(
          [&](auto v) { return verifyGathered(issue, v.getCounts()); })
      .Default([](Operation *) { return success(); });
}

//===----------------------------------------------------------------------===//
// (g): what is started is awaited once
//===----------------------------------------------------------------------===//

LogicalResult CollectiveVerifier::verifyToken(coll::StartOp start) {
  SmallVector<Operation *> users(start.getToken().getUsers());
  if (users.size() == 1 && isa<coll::WaitOp>(users[0]) &&
      users[0]->getBlock() == start->getBlock())
    return success();
  InFlightDiagnostic diagnostic =
      start.emitOpError() << "starts '"
                          << start.getBody().front().front().getName()
                          << "', whose token has " << users.size()
                          << " uses, but one 'coll.wait' in the same block is "
                             "expected";
  for (Operation *user : llvm::reverse(users))
    diagnostic.attachNote(user->getLoc()) << "the token is used here";
  return diagnostic;
}

// A result that says how it is split must not differ in another way.
LogicalResult CollectiveVerifier::verifyResults(FunctionOpInterface function) {
  Region &body = function.getFunctionBody();
  if (!body.hasOneBlock())
    return success();
  Operation *end = body.front().getTerminator();
  for (unsigned index = 0; index < function.getNumResults(); ++index) {
    auto split =
        function.getResultAttrOfType<DenseI64ArrayAttr>(index, "moe.split");
    if (!split || end->getNumOperands() != function.getNumResults())
      continue;
    Value value = end->getOperand(index);
    AxisSet over = varying.contentsOf(value);
    AxisSet declared;
    for (shard::GridOp grid : varying.table().grids()) {
      if (llvm::any_of(split.asArrayRef(), [&](int64_t axis) {
            return axis < 0 || axis >= grid.getRank();
          }))
        continue;
      declared |= varying.table().axes(grid, split.asArrayRef());
    }
    AxisSet extra = over - declared;
    if (extra.empty())
      continue;
    InFlightDiagnostic diagnostic = end->emitOpError()
                                    << "returns result " << index
                                    << " that may differ over "
                                    << varying.table().names(extra)
                                    << ", but its `moe.split` says "
                                    << varying.table().names(declared);
    noteOrigin(diagnostic, originOf(value, -1, extra, varying), extra, varying);
    return diagnostic;
  }
  return success();
}

LogicalResult CollectiveVerifier::verifyGrids(FunctionOpInterface function) {
  coll::Collective first;
  WalkResult walked = function->walk([&](coll::Collective op) {
    shard::GridOp grid = issueOf(op).grid;
    if (!first)
      first = op;
    shard::GridOp other = issueOf(first).grid;
    auto ranks = [](shard::GridOp grid) {
      return coll::groupSize(
          grid, llvm::to_vector(llvm::seq<int64_t>(0, grid.getRank())));
    };
    if (ranks(grid) == ranks(other))
      return WalkResult::advance();
    InFlightDiagnostic diagnostic =
        op->emitOpError() << "is over the grid `" << grid.getSymName()
                          << "` of " << ranks(grid)
                          << " ranks, but one program runs on one set of ranks";
    diagnostic.attachNote(first->getLoc())
        << "this one is over `" << other.getSymName() << "` of " << ranks(other)
        << " ranks";
    return WalkResult::interrupt();
  });
  return failure(walked.wasInterrupted());
}

LogicalResult CollectiveVerifier::run() {
  bool ok = true;
  module.walk([&](Operation *op) {
    if (auto function = dyn_cast<FunctionOpInterface>(op)) {
      if (function.isExternal())
        return;
      ok &= succeeded(verifyGrids(function));
      ok &= succeeded(verifyResults(function));
    } else if (auto collective = dyn_cast<coll::Collective>(op)) {
      ok &= succeeded(verify(collective));
    } else if (auto start = dyn_cast<coll::StartOp>(op)) {
      ok &= succeeded(verifyToken(start));
    } else if (auto call = dyn_cast<CallOpInterface>(op)) {
      ok &= succeeded(verifyCall(call));
    } else if (isa<shard::AllGatherOp, shard::AllReduceOp, shard::AllSliceOp,
                   shard::AllToAllOp, shard::BroadcastOp, shard::GatherOp,
                   shard::RecvOp, shard::ReduceOp, shard::ReduceScatterOp,
                   shard::ScatterOp, shard::SendOp, shard::ShiftOp>(op)) {
      op->emitOpError("communicates, but may be moved or removed as an op "
                      "without effects: `coll` operations are expected "
                      "(convert-shard-to-coll)");
      ok = false;
    }
  });
  return success(ok);
}

namespace {
struct VerifyCollectivesPass
    : moe::impl::VerifyCollectivesPassBase<VerifyCollectivesPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    VaryingAxes varying(getOperation());
    if (failed(varying.run()))
      return signalPassFailure();
    if (failed(CollectiveVerifier(getOperation(), varying).run()))
      signalPassFailure();
  }
};

} // namespace
