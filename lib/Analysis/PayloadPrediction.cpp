// An interpreter of what decides how much is sent. A value is a list of
// integers: an index, the entries of an i32 tensor, or for a tensor of floats
// with rows the token of each row. Weights and products have no entries that
// matter; of them only the number of rows is kept.
#include "moe/Analysis/PayloadPrediction.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Analysis/MeshLayout.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;
using namespace moe;

namespace {

struct State {
  std::vector<int64_t> data;
  int64_t perRow = 1; // entries of a row

  int64_t rows() const { return perRow ? data.size() / perRow : 0; }
  void append(const State &from, int64_t first, int64_t count) {
    perRow = from.perRow;
    auto begin = from.data.begin() + first * perRow;
    data.insert(data.end(), begin, begin + count * perRow);
  }
  /// Block `index` of rows that stand in blocks of these sizes.
  void appendBlock(const State &from, ArrayRef<double> sizes, int64_t index) {
    append(from, std::accumulate(sizes.begin(), sizes.begin() + index, 0.0),
           sizes[index]);
  }
};

class Interpreter {
public:
  Interpreter(func::FuncOp function, shard::GridOp grid,
              const RecordedRouting &routing)
      : function(function), grid(grid), routing(routing),
        ranks(ShapedType::getNumElements(grid.getShape())), values(ranks) {}

  LogicalResult run();
  std::vector<PredictedCall> calls;

private:
  LogicalResult enter();
  LogicalResult step(Operation *op);
  LogicalResult sort(SortOp op);
  LogicalResult collective(coll::Collective op);
  void record(coll::Collective op);
  State received(Operation *op, int64_t rank);

  /// The rank's number over `axes`, first axis slowest.
  int64_t indexOn(ArrayRef<int64_t> axes, int64_t rank);
  /// The ranks of its group, in member order.
  SmallVector<int64_t> groupOf(ArrayRef<int64_t> axes, int64_t rank);
  State share(const State &whole, int64_t parts, int64_t index) const;
  /// Sums of the blocks of counts.
  std::vector<double> blocks(Value counts, int64_t members, int64_t rank);
  State &at(Value value, int64_t rank) { return values[rank][value]; }
  void setEach(Value value, function_ref<State(int64_t)> make) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      State state = make(rank);
      values[rank][value] = std::move(state);
    }
  }

  func::FuncOp function;
  shard::GridOp grid;
  const RecordedRouting &routing;
  int64_t ranks;
  std::vector<DenseMap<Value, State>> values;
};

} // namespace

int64_t Interpreter::indexOn(ArrayRef<int64_t> axes, int64_t rank) {
  int64_t number = 0;
  for (int64_t axis : axes) {
    int64_t stride = 1;
    for (int64_t later = axis + 1; later < grid.getRank(); ++later)
      stride *= grid.getShape()[later];
    number =
        number * grid.getShape()[axis] + rank / stride % grid.getShape()[axis];
  }
  return number;
}

SmallVector<int64_t> Interpreter::groupOf(ArrayRef<int64_t> axes,
                                          int64_t rank) {
  SmallVector<int64_t> others, members;
  for (int64_t axis = 0; axis < grid.getRank(); ++axis)
    if (!llvm::is_contained(axes, axis))
      others.push_back(axis);
  for (int64_t other = 0; other < ranks; ++other)
    if (indexOn(others, other) == indexOn(others, rank))
      members.push_back(other);
  llvm::sort(members, [&](int64_t a, int64_t b) {
    return indexOn(axes, a) < indexOn(axes, b);
  });
  return members;
}

State Interpreter::share(const State &whole, int64_t parts,
                         int64_t index) const {
  int64_t rows = whole.rows(), longer = rows % parts;
  State part;
  part.append(whole, rows / parts * index + std::min(index, longer),
              rows / parts + (index < longer));
  return part;
}

std::vector<double> Interpreter::blocks(Value counts, int64_t members,
                                        int64_t rank) {
  const std::vector<int64_t> &entries = at(counts, rank).data;
  std::vector<double> sums(members, 0);
  for (size_t i = 0; i < entries.size(); ++i)
    sums[i * members / entries.size()] += entries[i];
  return sums;
}

LogicalResult Interpreter::enter() {
  State tokens, ids;
  for (int64_t token = 0; token < routing.tokens; ++token)
    tokens.data.push_back(token);
  ids.data.assign(routing.ids.begin(), routing.ids.end());
  ids.perRow = routing.topK;
  for (BlockArgument argument : function.getArguments()) {
    auto split = function.getArgAttrOfType<DenseI64ArrayAttr>(
        argument.getArgNumber(), "moe.split");
    if (!split)
      continue;
    bool isIds =
        cast<ShapedType>(argument.getType()).getElementType().isInteger();
    setEach(argument, [&](int64_t rank) {
      return share(isIds ? ids : tokens, coll::groupSize(grid, split),
                   indexOn(split, rank));
    });
  }
  return success();
}

LogicalResult Interpreter::sort(SortOp op) {
  SmallVector<int64_t> slotOf(op.getExperts(), -1);
  for (auto [slot, expert] : llvm::enumerate(op.getSlots()))
    if (expert >= 0)
      slotOf[expert] = slot;
  int64_t group = op.getGroup(), bins = op.getBins(), topK = op.getTopK();
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const State &ids = at(op.getIds(), rank);
    int64_t first = op.getFirst() ? at(op.getFirst(), rank).data.front() : 0;
    std::vector<std::vector<int64_t>> pairs(bins);
    for (int64_t pair = 0; pair < int64_t(ids.data.size()); ++pair) {
      int64_t expert = ids.data[pair];
      if (expert < 0 || expert >= int64_t(op.getExperts()))
        return op.emitOpError() << "meets expert " << expert << " of "
                                << op.getExperts() << " in the routing";
      int64_t inside = slotOf[expert] - first;
      if (inside < 0 || inside >= int64_t(op.getWindow()))
        continue;
      std::vector<int64_t> &bin = pairs[inside / group];
      if (bin.empty() || bin.back() / topK != pair / topK || group == 1)
        bin.push_back(pair);
    }
    State order, offsets;
    offsets.data.push_back(0);
    for (const std::vector<int64_t> &bin : pairs) {
      order.data.insert(order.data.end(), bin.begin(), bin.end());
      offsets.data.push_back(order.data.size());
    }
    values[rank][op.getResult(0)] = order;
    values[rank][op.getResult(2)] = offsets;
  }
  return success();
}

// What `rank` has after a collective that moves integers or tokens.
State Interpreter::received(Operation *op, int64_t rank) {
  auto collective = cast<coll::Collective>(op);
  ArrayRef<int64_t> axes = collective.getAxes();
  SmallVector<int64_t> members = groupOf(axes, rank);
  int64_t me = indexOn(axes, rank);
  Value source = collective.getSent();
  State result;
  for (auto [number, member] : llvm::enumerate(members)) {
    const State &theirs = at(source, member);
    if (isa<coll::AllGatherOp, coll::AllGatherVOp>(op)) {
      result.append(theirs, 0, theirs.rows());
    } else if (isa<coll::AllToAllOp>(op)) {
      int64_t block = theirs.data.size() / members.size();
      result.append(theirs, me * block, block);
    } else if (auto exchange = dyn_cast<coll::AllToAllVOp>(op)) {
      result.appendBlock(
          theirs, blocks(exchange.getSendCounts(), members.size(), member), me);
    } else if (auto sums = dyn_cast<coll::ReduceScatterVOp>(op)) {
      // The same rows from everybody: the first will do.
      result.appendBlock(theirs,
                         blocks(sums.getCounts(), members.size(), member), me);
      break;
    } else { // all_reduce
      result = at(source, rank);
      break;
    }
  }
  return result;
}

void Interpreter::record(coll::Collective op) {
  PredictedCall call{op, {}, {}};
  ArrayRef<int64_t> axes = op.getAxes();
  SmallVector<int64_t> nodeAxes;
  for (int64_t axis = 0; axis < grid.getRank() && nodeAxes.empty(); ++axis)
    if (coll::axisName(grid, axis) == kNodeAxis)
      nodeAxes = llvm::to_vector(llvm::seq<int64_t>(0, axis + 1));
  for (int64_t rank = 0; rank < ranks; ++rank) {
    SmallVector<int64_t> members = groupOf(axes, rank);
    std::vector<double> rows;
    if (Value counts = op.getBlockCounts())
      rows = blocks(counts, members.size(), rank);
    else
      rows = {double(at(op.getSent(), rank).rows())};
    SmallVector<double> bytes = op.getSentBytes(indexOn(axes, rank), rows);
    int64_t sent = 0, between = 0;
    for (auto [member, size] : llvm::zip(members, bytes)) {
      sent += size;
      if (indexOn(nodeAxes, member) != indexOn(nodeAxes, rank))
        between += size;
    }
    call.sent.push_back(sent);
    call.betweenNodes.push_back(between);
  }
  calls.push_back(std::move(call));
}

LogicalResult Interpreter::collective(coll::Collective op) {
  if (isa<coll::SendOp, coll::RecvOp, coll::ReduceScatterOp>(op))
    return op->emitOpError("has no prediction of what it moves");
  record(op);
  std::vector<State> all;
  for (int64_t rank = 0; rank < ranks; ++rank)
    all.push_back(received(op, rank));
  setEach(op->getResult(0), [&](int64_t rank) { return std::move(all[rank]); });
  return success();
}

// One number for each rank.
static State number(int64_t value) { return {{value}, 1}; }

LogicalResult Interpreter::step(Operation *op) {
  if (op->getNumRegions())
    return op->emitOpError("has regions, but straight-line code is expected");
  if (auto collectiveOp = dyn_cast<coll::Collective>(op))
    return collective(collectiveOp);
  // Rows of tokens that these make from `rows` are the tokens of `like`.
  auto sameRows = [&](Value result, Value like) {
    setEach(result, [&](int64_t rank) { return at(like, rank); });
    return success();
  };
  auto someRows = [&](Value result, Value rows) { // of no token
    setEach(result, [&](int64_t rank) {
      return State{std::vector<int64_t>(at(rows, rank).data.front(), -1), 1};
    });
    return success();
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](arith::ConstantOp constant) {
        if (auto integer = dyn_cast<IntegerAttr>(constant.getValue()))
          setEach(constant, [&](int64_t) { return number(integer.getInt()); });
        return success();
      })
      .Case([&](arith::MulIOp mul) {
        setEach(mul, [&](int64_t rank) {
          return number(at(mul.getLhs(), rank).data.front() *
                        at(mul.getRhs(), rank).data.front());
        });
        return success();
      })
      .Case<arith::IndexCastOp, tensor::FromElementsOp, tensor::CastOp,
            tensor::ExpandShapeOp, tensor::CollapseShapeOp>([&](auto same) {
        return sameRows(same->getResult(0), same->getOperand(0));
      })
      .Case([&](tensor::DimOp dim) {
        auto type = cast<ShapedType>(dim.getSource().getType());
        int64_t which = dim.getConstantIndex().value_or(0);
        setEach(dim, [&](int64_t rank) {
          return number(type.isDynamicDim(which)
                            ? at(dim.getSource(), rank).rows()
                            : type.getDimSize(which));
        });
        return success();
      })
      .Case([&](coll::IndexOp index) {
        setEach(index, [&](int64_t rank) {
          return number(indexOn(index.getAxes(), rank));
        });
        return success();
      })
      .Case([&](coll::RowsOp rows) {
        setEach(rows, [&](int64_t rank) {
          int64_t sum = 0;
          for (int64_t count : at(rows.getCounts(), rank).data)
            sum += count;
          return number(sum);
        });
        return success();
      })
      .Case([&](coll::ShareOp part) {
        setEach(part.getResult(), [&](int64_t rank) {
          return share(at(part.getSource(), rank),
                       coll::groupSize(grid, part.getAxes()),
                       indexOn(part.getAxes(), rank));
        });
        return success();
      })
      .Case([&](RouteOp route) -> LogicalResult {
        if (route.getRouter().getTopK() != routing.topK)
          return route.emitOpError()
                 << "selects " << route.getRouter().getTopK()
                 << " experts, but the routing has " << routing.topK;
        (void)sameRows(route.getResult(0), route.getX());
        setEach(route.getResult(1), [&](int64_t rank) {
          State ids{{}, routing.topK};
          for (int64_t token : at(route.getX(), rank).data)
            for (int64_t k = 0; k < routing.topK; ++k)
              ids.data.push_back(routing.ids[token * routing.topK + k]);
          return ids;
        });
        return success();
      })
      .Case([&](SortOp sortOp) { return sort(sortOp); })
      .Case([&](CountsOp counts) {
        setEach(counts.getResult(), [&](int64_t rank) {
          const State &offsets = at(counts.getOffsets(), rank);
          State differences;
          for (size_t i = 1; i < offsets.data.size(); ++i)
            differences.data.push_back(offsets.data[i] - offsets.data[i - 1]);
          return differences;
        });
        return success();
      })
      .Case([&](TakeOp take) {
        setEach(take.getResult(), [&](int64_t rank) {
          const State &from = at(take.getX(), rank);
          State rows{{}, from.perRow};
          int64_t count = at(take.getRows(), rank).data.front();
          for (int64_t i = 0; i < count; ++i)
            rows.append(
                from,
                at(take.getOrder(), rank).data[i] / int64_t(take.getTopK()), 1);
          return rows;
        });
        return success();
      })
      .Case([&](RegroupOp) { return success(); })
      .Case([&](GroupedMatmulOp matmul) {
        return someRows(matmul.getResult(), matmul.getRows());
      })
      .Case([&](CombineOp combine) {
        Value positions = combine.getPositions();
        setEach(combine.getResult(), [&](int64_t rank) {
          int64_t rows = at(combine.getRows(), rank).rows();
          if (auto sorted =
                  positions ? positions.getDefiningOp<SortOp>() : SortOp())
            rows = at(sorted.getIds(), rank).rows();
          return State{std::vector<int64_t>(rows, -1), 1};
        });
        return success();
      })
      .Case([&](TokenGateOp gate) {
        return sameRows(gate.getResult(), gate.getX());
      })
      .Default([&](Operation *other) {
        for (Value operand : other->getOperands())
          if (OpTrait::hasElementwiseMappableTraits(other))
            return sameRows(other->getResult(0), operand);
        return LogicalResult(
            other->emitOpError("has no rule for what it makes of tokens"));
      });
}

LogicalResult Interpreter::run() {
  if (failed(enter()))
    return failure();
  for (Operation &op : function.getBody().front().without_terminator())
    if (failed(step(&op)))
      return failure();
  return success();
}

FailureOr<std::vector<PredictedCall>>
moe::predictPayload(func::FuncOp function, const RecordedRouting &routing) {
  auto grids = llvm::to_vector(
      function->getParentOfType<ModuleOp>().getOps<shard::GridOp>());
  if (grids.size() != 1 || !function.getBody().hasOneBlock())
    return function.emitError() << "stands beside " << grids.size()
                                << " grids, but a sharded layer with its one "
                                   "grid is expected";
  Interpreter interpreter(function, grids.front(), routing);
  if (failed(interpreter.run()))
    return failure();
  return std::move(interpreter.calls);
}
