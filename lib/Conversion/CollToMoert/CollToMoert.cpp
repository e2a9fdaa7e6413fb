// Each coll op becomes, in place, a call by thread 0 and a barrier (or local
// arithmetic); groups are numbered in the order of the walk. All threads of a
// team run the same function, so that a barrier behind each call is reached
// by all of them.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Conversion/Passes.h"
#include "moe/Conversion/TeamLoops.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTCOLLTOMOERTPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

// The groups of a module, numbered in order of first use.
class GroupTable {
public:
  int32_t number(ArrayRef<int64_t> axes) {
    for (auto [index, known] : llvm::enumerate(groups))
      if (ArrayRef<int64_t>(known) == axes)
        return index;
    groups.emplace_back(axes);
    return groups.size() - 1;
  }
  ArrayAttr attribute(Builder &builder) const {
    SmallVector<Attribute> entries;
    for (ArrayRef<int64_t> axes : groups)
      entries.push_back(builder.getDenseI64ArrayAttr(axes));
    return builder.getArrayAttr(entries);
  }

private:
  SmallVector<SmallVector<int64_t>> groups;
};

struct ConvertCollToMoertPass
    : moe::impl::ConvertCollToMoertPassBase<ConvertCollToMoertPass> {
  void runOnOperation() override;

private:
  LogicalResult convert(Operation *op, GroupTable &groups);
};

} // namespace

//===----------------------------------------------------------------------===//
// Communication
//===----------------------------------------------------------------------===//

// Thread 0 calls, all wait for it.
static void callOnce(ImplicitLocOpBuilder &b,
                     function_ref<void(ImplicitLocOpBuilder &)> call) {
  team::onFirstThread(b, call);
  moert::TeamBarrierOp::create(b);
}

template <typename RuntimeOp, typename CollOp>
static void convertFixed(ImplicitLocOpBuilder &b, CollOp op, int32_t group) {
  callOnce(b, [&](ImplicitLocOpBuilder &inner) {
    RuntimeOp::create(inner, op.getSource(), op.getOuts(), group);
  });
}

template <typename RuntimeOp, typename CollOp>
static void convertGathered(ImplicitLocOpBuilder &b, CollOp op, int32_t group) {
  callOnce(b, [&](ImplicitLocOpBuilder &inner) {
    RuntimeOp::create(inner, op.getSource(), op.getOuts(), op.getCounts(),
                      group);
  });
}

static void convertExchange(ImplicitLocOpBuilder &b, coll::AllToAllVOp op,
                            int32_t group) {
  callOnce(b, [&](ImplicitLocOpBuilder &inner) {
    moert::AllToAllVOp::create(inner, op.getSource(), op.getOuts(),
                               op.getSendCounts(), op.getRecvCounts(), group);
  });
}

//===----------------------------------------------------------------------===//
// Local ops
//===----------------------------------------------------------------------===//

// The rank's coordinates on `axes` read as digits, first axis slowest.
static Value memberIndex(ImplicitLocOpBuilder &b, shard::GridOp grid,
                         ArrayRef<int64_t> axes) {
  Value index = team::constant(b, 0);
  for (int64_t axis : axes) {
    Value size = team::constant(b, grid.getShape()[axis]);
    Value digit = moert::CoordinateOp::create(b, b.getIndexType(), axis);
    index =
        arith::AddIOp::create(b, arith::MulIOp::create(b, index, size), digit);
  }
  return index;
}

// Sum over all entries of `counts`, from dimension `indices.size()` on.
static Value sumCounts(ImplicitLocOpBuilder &b, Value counts, Value sum,
                       SmallVector<Value> &indices) {
  auto type = cast<MemRefType>(counts.getType());
  int64_t dim = indices.size();
  if (dim == type.getRank()) {
    Value count = memref::LoadOp::create(b, counts, indices);
    Value wide = arith::IndexCastOp::create(b, b.getIndexType(), count);
    return arith::AddIOp::create(b, sum, wide);
  }
  auto body = [&](ImplicitLocOpBuilder &inner, Value index,
                  ValueRange carried) -> SmallVector<Value> {
    indices.push_back(index);
    Value next = sumCounts(inner, counts, carried.front(), indices);
    indices.pop_back();
    return {next};
  };
  Value size = b.createOrFold<memref::DimOp>(counts, dim);
  return team::forLoop(b, team::constant(b, 0), size, 1, sum, body).front();
}

static LogicalResult convertRows(ImplicitLocOpBuilder &b, coll::RowsOp op) {
  auto function = op->getParentOfType<FunctionOpInterface>();
  BlockArgument maximum =
      function ? moert::markedArgument(function, moert::maxTokensName)
               : BlockArgument();
  if (!maximum)
    return op.emitOpError() << "is bounded by the maximum of tokens, but the "
                               "function has no argument marked `"
                            << moert::maxTokensName << "`";
  SmallVector<Value> indices;
  Value sum = sumCounts(b, op.getCounts(), team::constant(b, 0), indices);
  AffineMap bound = op.getBound();
  SmallVector<Value> symbols(bound.getNumSymbols(), maximum);
  std::optional<SmallVector<Value, 8>> limit =
      affine::expandAffineMap(b, op.getLoc(), bound, symbols);
  if (!limit)
    return op.emitOpError() << "has the bound " << op.getBoundAttr()
                            << ", which cannot be computed";
  // Unsigned: a negative sum is too large as well.
  Value over =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, sum, limit->front());
  auto branch = scf::IfOp::create(b, over, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    moert::FailOp::create(b, moert::Failure::Rows, sum, limit->front());
  }
  op.getResult().replaceAllUsesWith(sum);
  return success();
}

static void convertShare(ImplicitLocOpBuilder &b, coll::ShareOp op) {
  shard::GridOp grid = coll::lookupGrid(op, op.getGridAttr());
  Value shares = team::constant(b, coll::groupSize(grid, op.getAxes()));
  Value index = memberIndex(b, grid, op.getAxes());
  Value source = op.getSource(), target = op.getOuts();
  Value total = b.createOrFold<memref::DimOp>(source, 0);
  // The first T mod n shares are one row longer.
  Value quotient = arith::DivUIOp::create(b, total, shares);
  Value remainder = arith::RemUIOp::create(b, total, shares);
  Value start =
      arith::AddIOp::create(b, arith::MulIOp::create(b, index, quotient),
                            arith::MinUIOp::create(b, index, remainder));
  int64_t rank = cast<MemRefType>(source.getType()).getRank();
  SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(rank, b.getIndexAttr(1));
  offsets.front() = start;
  SmallVector<OpFoldResult> sizes =
      memref::getMixedSizes(b, op.getLoc(), target);
  Value rows = memref::SubViewOp::create(b, source, offsets, sizes, strides);
  memref::CopyOp::create(b, rows, target);
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

LogicalResult ConvertCollToMoertPass::convert(Operation *op,
                                              GroupTable &groups) {
  if (llvm::any_of(op->getOperandTypes(), llvm::IsaPred<TensorType>) ||
      llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>))
    return op->emitOpError("is in value form, but buffers are expected");
  ImplicitLocOpBuilder b(op->getLoc(), op);
  auto group = [&](auto coll) { return groups.number(coll.getAxes()); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](coll::AllReduceOp coll) {
        convertFixed<moert::AllReduceOp>(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::AllGatherOp coll) {
        convertFixed<moert::AllGatherOp>(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::ReduceScatterOp coll) {
        convertFixed<moert::ReduceScatterOp>(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::AllToAllOp coll) {
        convertFixed<moert::AllToAllOp>(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::AllGatherVOp coll) {
        convertGathered<moert::AllGatherVOp>(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::ReduceScatterVOp coll) {
        convertGathered<moert::ReduceScatterVOp>(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::AllToAllVOp coll) {
        convertExchange(b, coll, group(coll));
        return success();
      })
      .Case([&](coll::SendOp coll) {
        callOnce(b, [&](ImplicitLocOpBuilder &inner) {
          moert::SendOp::create(inner, coll.getSource(), coll.getPeer(),
                                group(coll));
        });
        return success();
      })
      .Case([&](coll::RecvOp coll) {
        callOnce(b, [&](ImplicitLocOpBuilder &inner) {
          moert::RecvOp::create(inner, coll.getOuts(), coll.getPeer(),
                                group(coll));
        });
        return success();
      })
      .Case([&](coll::IndexOp coll) {
        coll.getResult().replaceAllUsesWith(memberIndex(
            b, coll::lookupGrid(coll, coll.getGridAttr()), coll.getAxes()));
        return success();
      })
      .Case([&](coll::RowsOp coll) { return convertRows(b, coll); })
      .Case([&](coll::ShareOp coll) {
        convertShare(b, coll);
        return success();
      })
      .Default([](Operation *other) {
        return other->emitOpError("has no conversion to moert");
      });
}

// Threads of a rank have no stream beside them: what is started runs at once,
// in the order of the starts, and nothing is left to wait for.
static void completeAtStart(ModuleOp module) {
  SmallVector<coll::StartOp> starts;
  module.walk([&](coll::StartOp start) { starts.push_back(start); });
  for (coll::StartOp start : starts) {
    for (Operation *wait : llvm::make_early_inc_range(start->getUsers()))
      wait->erase();
    start->getBlock()->getOperations().splice(
        start->getIterator(), start.getBody().front().getOperations());
    start->erase();
  }
}

void ConvertCollToMoertPass::runOnOperation() {
  completeAtStart(getOperation());
  SmallVector<Operation *> ops;
  getOperation().walk([&](Operation *op) {
    if (isa_and_present<coll::CollDialect>(op->getDialect()))
      ops.push_back(op);
  });
  GroupTable groups;
  for (Operation *op : ops) {
    if (failed(convert(op, groups)))
      return signalPassFailure();
    op->erase();
  }
  Builder builder(&getContext());
  getOperation()->setAttr(moert::groupsName, groups.attribute(builder));
}
