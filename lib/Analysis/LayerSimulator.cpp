// One walk over a straight block for each draw of the routing. A value's rows
// are followed for every member of an expert group (those that differ on ep):
// counts and offsets as the set of tokens that they count and the slots that
// they count for, so that they never have to be computed.
#include "moe/Analysis/LayerSimulator.h"
#include "dialects/Coll/CollDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Analysis/CollectiveCost.h"
#include "moe/Analysis/MatmulCost.h"
#include "moe/Analysis/Work.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

using PerMember = std::vector<double>;

namespace {

// What counts or offsets count: the pairs of `tokens` tokens with the experts
// in `window` slots, the aligned ones around a member's own; a token counts
// once for each `bin` slots. Or tokens themselves.
struct Counted {
  double tokens = 0;
  int64_t window = 0;
  int64_t bin = 1;
  bool tokensThemselves = false;
};

constexpr llvm::StringLiteral kTerms[] = {
    "router", "permute",  "experts", "shared_expert",
    "counts", "dispatch", "combine"};
enum Term { Router, Permute, Experts, SharedExpert, Counts, Dispatch, Combine };
using Terms = std::array<double, std::size(kTerms)>;
using GroupShapes = llvm::DenseMap<Attribute, GroupShape>;

struct Total {
  PerMember clock;
  std::vector<Terms> terms;
};

class Walk : public RowCounts {
public:
  Walk(func::FuncOp function, const Machine &machine, const LayerRun &run,
       uint64_t seed, LayerCost &cost, GroupShapes &groups, bool record)
      : function(function), machine(machine), run(run), cost(cost),
        groups(groups), record(record) {
    PlacementAttr placement = run.placement;
    grid = coll::lookupGrid(function, placement.getGrid());
    members = coll::groupSize(grid, placement.getEp());
    replicas = coll::groupSize(grid, placement.getEdp());
    ranks = ShapedType::getNumElements(grid.getShape());
    slots = placement.getSlots().size() / members;
    total.clock.assign(members, 0);
    total.terms.assign(members, Terms());
    function.walk([&](SortOp sort) {
      topK = sort.getTopK();
      experts = sort.getExperts();
    });
    seedValue = seed;
  }

  LogicalResult walk();
  double rowsOf(Value value) const override {
    return rows.lookup(value)[member];
  }
  ArrayRef<double> groupsOf(Value offsets) const override;
  const PerMember &clock() const { return total.clock; }
  const Terms &terms(int64_t member) const { return total.terms[member]; }
  const PerMember &expertUs() const { return expertTime; }
  const PerMember &expertRows() const { return expertRow; }
  const PerMember &weightBytes() const { return weightRead; }
  double maxDomain = 0, maxNetwork = 0, flops = 0;

private:
  void drawLoads();
  LogicalResult visit(Operation *op);
  LogicalResult refuse(Operation *op, const Twine &why);
  void work(WorkInterface op);
  LogicalResult communicate(coll::Collective op);
  void exchange(coll::AllToAllVOp op, const GroupShape &group, double row);
  void advance(Operation *op, Term term, const PerMember &us, bool meet);
  bool crossesMembers(ArrayRef<int64_t> axes) const {
    return llvm::any_of(axes, [&](int64_t axis) {
      return llvm::is_contained(run.placement.getEp().asArrayRef(), axis);
    });
  }
  PerMember same(double value) const { return PerMember(members, value); }
  // Rows that `counted` comes to, for each member.
  PerMember sumOf(const Counted &counted) const;
  // Tokens among which those of a value were chosen.
  double universeOf(Value value) {
    auto found = universe.find(value);
    return found == universe.end() ? rows[value][0] : found->second;
  }

  func::FuncOp function;
  const Machine &machine;
  const LayerRun &run;
  LayerCost &cost;
  GroupShapes &groups;
  bool record;
  shard::GridOp grid;
  int64_t members = 1, replicas = 1, ranks = 1, slots = 1, topK = 1,
          experts = 1, member = 0, hidden = 1;
  uint64_t seedValue = 0;
  bool expertsDone = false;
  std::vector<double> loads; // of each slot, for all tokens of a replica
  llvm::DenseMap<Value, PerMember> rows;
  llvm::DenseMap<Value, Counted> counts;
  llvm::DenseMap<Value, double> universe;
  mutable std::vector<double> scaledLoads;
  Total total;
  PerMember expertTime, expertRow, weightRead;
};

} // namespace

void Walk::drawLoads() {
  double tokens = run.tokens / replicas;
  DrawnLoads own;
  auto [drawn, isNew] =
      (run.drawn ? *run.drawn : own).try_emplace({tokens, seedValue});
  if (isNew)
    drawn->second = run.routing->draw(tokens, topK, experts, seedValue);
  const std::vector<double> &byExpert = drawn->second;
  ArrayRef<int32_t> map = run.placement.getSlots();
  loads.assign(map.size(), 0);
  for (auto [slot, expert] : llvm::enumerate(map))
    if (expert >= 0)
      loads[slot] = byExpert[expert];
}

ArrayRef<double> Walk::groupsOf(Value offsets) const {
  const Counted &counted = counts.find(offsets)->second;
  double scale = counted.tokens / (run.tokens / replicas);
  int64_t first = member * slots / counted.window * counted.window;
  scaledLoads.assign(loads.begin() + first,
                     loads.begin() + first + counted.window);
  for (double &load : scaledLoads)
    load *= scale;
  return scaledLoads;
}

PerMember Walk::sumOf(const Counted &counted) const {
  if (counted.tokensThemselves)
    return same(counted.tokens);
  double scale = counted.tokens / (run.tokens / replicas);
  // Tokens with several experts in one bin count once there.
  if (counted.bin > 1)
    scale *= expectedGroups(experts, topK,
                            std::max<int64_t>(1, loads.size() / counted.bin)) /
             topK;
  if (counted.window == static_cast<int64_t>(loads.size()))
    return same(run.tokens / replicas * topK * scale);
  PerMember sums(members, 0);
  for (int64_t m = 0; m < members; ++m) {
    int64_t first = m * slots / counted.window * counted.window;
    for (int64_t slot = first; slot < first + counted.window; ++slot)
      sums[m] += loads[slot] * scale;
  }
  return sums;
}

LogicalResult Walk::refuse(Operation *op, const Twine &why) {
  return op->emitError() << "'" << op->getName()
                         << "' op cannot be priced: " << why;
}

// `meet`: all members wait for the last one, whose path is then everyone's.
void Walk::advance(Operation *op, Term term, const PerMember &us, bool meet) {
  if (meet) {
    auto last = llvm::max_element(total.clock) - total.clock.begin();
    double start = total.clock[last];
    total.clock.assign(members, start);
    Terms path = total.terms[last];
    for (Terms &terms : total.terms)
      terms = path;
  }
  for (int64_t m = 0; m < members; ++m) {
    if (record && m < 8)
      cost.timeline.push_back({op->getName().stripDialect().str(),
                               kTerms[term].str(), m, total.clock[m],
                               total.clock[m] + us[m]});
    total.clock[m] += us[m];
    total.terms[m][term] += us[m];
  }
}

void Walk::work(WorkInterface op) {
  PerMember us(members, 0);
  Term term = Router;
  for (member = 0; member < members; ++member) {
    Work work = op.getWork(*this);
    us[member] = workUs(machine, work, run.gemm, hidden);
    bool routed = work.kind == WorkKind::Product && isa<GroupedMatmulOp>(op) &&
                  cast<GroupedMatmulOp>(op).getOffsets();
    term = work.kind == WorkKind::Route     ? Router
           : work.kind == WorkKind::Permute ? Permute
           : routed                         ? Experts
                                            : SharedExpert;
    flops += work.flops / members;
    if (routed) {
      expertsDone = true;
      double all = 0, active = 0;
      for (double group : work.groups) {
        all += group;
        active += std::min(group, 1.0);
      }
      expertTime[member] += us[member];
      expertRow[member] = all;
      weightRead[member] +=
          run.gemm ? active * work.columns * work.depth * gemmBytes(*run.gemm)
                   : work.weightBytes;
    }
  }
  member = 0;
  advance(op, term, us, /*meet=*/false);
}

static CollectiveKind kindOf(Operation *op) {
  return TypeSwitch<Operation *, CollectiveKind>(op)
      .Case<coll::AllGatherOp, coll::AllGatherVOp>(
          [](auto) { return CollectiveKind::AllGather; })
      .Case<coll::ReduceScatterOp, coll::ReduceScatterVOp>(
          [](auto) { return CollectiveKind::ReduceScatter; })
      .Case<coll::AllToAllOp, coll::AllToAllVOp>(
          [](auto) { return CollectiveKind::AllToAll; })
      .Default([](auto) { return CollectiveKind::AllReduce; });
}

// Everyone sends its rows to the members of their slots, equal shares of each
// member's load: what leaves and what comes in differ, the larger counts. Ids
// and weights ride with the rows that they belong to, in one call.
void Walk::exchange(coll::AllToAllVOp op, const GroupShape &group, double row) {
  double sent = 0, most = 0;
  for (int64_t m = 0; m < members; ++m) {
    sent = std::max(sent, rows[op.getSource()][m]);
    most = std::max({most, rows[op.getSource()][m], rows[op.getResult()][m]});
  }
  double n = group.members, near = (group.perDomain - 1) / n,
         far = (n - group.perDomain) / n;
  maxDomain += sent * row * near;
  maxNetwork += sent * row * far;
  bool once = run.placement.getDedup() ||
              run.placement.getDispatcher() == Dispatcher::TwoLevel;
  CollectiveKind kind =
      once ? CollectiveKind::Dispatch : CollectiveKind::AllToAll;
  double us =
      exchangeUs(machine, kind, group, most * row * near, most * row * far);
  auto payload = op->getAttrOfType<StringAttr>("payload");
  if (payload && payload.getValue() != "rows")
    us -= exchangeUs(machine, kind, group, 0, 0);
  if (run.overlap)
    us *= group.domains > 1 ? machine.networkExposed : machine.domainExposed;
  advance(op, expertsDone ? Combine : Dispatch, same(us), /*meet=*/true);
}

LogicalResult Walk::communicate(coll::Collective op) {
  auto [known, isNew] = groups.try_emplace(
      DenseI64ArrayAttr::get(function.getContext(), op.getAxes()));
  if (isNew)
    known->second = groupShape(grid.getShape(), op.getAxes(), machine);
  const GroupShape &group = known->second;
  auto type = cast<ShapedType>(op.getSent().getType());
  double row = type.getElementTypeBitWidth() / 8.0;
  for (int64_t size : type.getShape().drop_front(type.isDynamicDim(0) ? 1 : 0))
    row *= size;
  if (auto ragged = dyn_cast<coll::AllToAllVOp>(op.getOperation())) {
    exchange(ragged, group, row);
    return success();
  }
  PerMember moved(members, row);
  bool fixed = op.isFixedSize() && !type.isDynamicDim(0);
  if (fixed && isa<coll::AllGatherOp>(op))
    moved = same(row * group.members);
  if (isa<coll::AllGatherVOp>(op))
    moved = rows.lookup(op->getResult(0));
  // A sum on every member goes there and back.
  bool sumsForAll = !fixed && isa<coll::AllReduceOp>(op);
  if (sumsForAll || isa<coll::ReduceScatterVOp>(op))
    moved = rows.lookup(op.getSent());
  if (!fixed)
    for (double &bytes : moved)
      bytes *= row;
  double exposed =
      run.overlap && !fixed
          ? (group.domains > 1 ? machine.networkExposed : machine.domainExposed)
          : 1;
  PerMember us(members);
  for (int64_t m = 0; m < members; ++m) {
    us[m] = exposed * collectiveUs(machine, kindOf(op), group, moved[m]);
    if (auto payload = op->getAttrOfType<StringAttr>("payload");
        payload && payload.getValue() != "rows")
      us[m] -= exposed * collectiveUs(machine, kindOf(op), group, 0);
    if (!fixed && m == 0) {
      double out =
          moved[m] * (group.members - 1) / group.members * (sumsForAll ? 2 : 1);
      (group.domains > 1 ? maxNetwork : maxDomain) += out;
    }
  }
  Term term = fixed ? Counts : expertsDone ? Combine : Dispatch;
  advance(op, term, us, crossesMembers(op.getAxes()));
  return success();
}

LogicalResult Walk::visit(Operation *op) {
  // Rows of results first: work and messages are asked with them.
  LogicalResult known =
      TypeSwitch<Operation *, LogicalResult>(op)
          .Case([&](coll::ShareOp share) {
            int64_t n = coll::groupSize(grid, share.getAxes());
            PerMember mine = rows[share.getSource()];
            for (double &count : mine)
              count /= n;
            rows[share.getResult()] = mine;
            return success();
          })
          .Case([&](tensor::DimOp dim) {
            rows[dim.getResult()] = rows[dim.getSource()];
            return success();
          })
          .Case([&](arith::ConstantOp constant) {
            if (auto value = dyn_cast<IntegerAttr>(constant.getValue()))
              rows[constant.getResult()] = same(value.getInt());
            return success();
          })
          .Case([&](arith::MulIOp product) {
            PerMember value = rows[product.getLhs()];
            for (auto [a, b] : llvm::zip(value, rows[product.getRhs()]))
              a *= b;
            rows[product.getResult()] = value;
            return success();
          })
          .Case([&](arith::IndexCastOp cast) {
            rows[cast.getResult()] = rows[cast.getIn()];
            return success();
          })
          .Case([&](coll::IndexOp index) {
            rows[index.getResult()] = same(0);
            return success();
          })
          .Case([&](tensor::FromElementsOp from) {
            Counted counted;
            counted.tokensThemselves = true;
            counted.tokens = rows[from.getElements().front()][0];
            counts[from.getResult()] = counted;
            return success();
          })
          .Case([&](RouteOp route) {
            for (Value result : route.getResults())
              rows[result] = rows[route.getX()];
            return success();
          })
          .Case([&](SortOp sort) {
            Counted counted;
            counted.tokens = universeOf(sort.getIds());
            counted.window = sort.getWindow();
            counted.bin = sort.getGroup();
            counts[sort.getResults()[2]] = counted;
            rows[sort.getResults()[0]] = sumOf(counted);
            rows[sort.getResults()[1]] = rows[sort.getIds()];
            return success();
          })
          .Case([&](CountsOp taken) {
            counts[taken.getResult()] = counts[taken.getOffsets()];
            return success();
          })
          .Case([&](coll::AllToAllOp swap) {
            Counted counted = counts[swap.getSource()];
            int64_t group = coll::groupSize(grid, swap.getAxes());
            counted.window /= group;
            counted.tokens *= group;
            counts[swap.getResult()] = counted;
            return success();
          })
          .Case([&](coll::AllGatherOp gather) {
            Counted counted = counts[gather.getSource()];
            counted.tokens *= coll::groupSize(grid, gather.getAxes());
            counts[gather.getResult()] = counted;
            return success();
          })
          .Case([&](coll::RowsOp sum) {
            rows[sum.getResult()] = sumOf(counts[sum.getCounts()]);
            return success();
          })
          .Case([&](RegroupOp regroup) {
            counts[regroup.getResults()[1]] = counts[regroup.getCounts()];
            rows[regroup.getResults()[0]] = rows[regroup.getRows()];
            return success();
          })
          .Case([&](TakeOp take) {
            universe[take.getResult()] = universeOf(take.getX());
            rows[take.getResult()] = rows[take.getRows()];
            return success();
          })
          .Case([&](coll::AllToAllVOp swap) {
            universe[swap.getResult()] = counts[swap.getRecvCounts()].tokens;
            rows[swap.getResult()] = rows[swap.getRows()];
            return success();
          })
          .Case([&](coll::AllGatherVOp gather) {
            universe[gather.getResult()] = counts[gather.getCounts()].tokens;
            rows[gather.getResult()] = rows[gather.getRows()];
            return success();
          })
          .Case<coll::ReduceScatterVOp, GroupedMatmulOp>([&](auto ragged) {
            rows[ragged.getResult()] = rows[ragged.getRows()];
            return success();
          })
          .Case([&](TokenGateOp gate) {
            rows[gate.getResult()] = rows[gate.getX()];
            return success();
          })
          .Case([&](CombineOp combine) {
            rows[combine.getResult()] =
                rows[combine.getPositions() ? combine.getPositions()
                                            : combine.getRows()];
            return success();
          })
          .Case([&](func::ReturnOp) { return success(); })
          .Default([&](Operation *other) {
            if (other->getNumResults() && other->getNumOperands())
              if (auto found = rows.find(other->getOperand(0));
                  found != rows.end()) {
                PerMember value = found->second;
                for (Value result : other->getResults())
                  rows[result] = value;
                return success();
              }
            return refuse(other, "nothing is known about its rows");
          });
  if (failed(known))
    return failure();
  if (auto collective = dyn_cast<coll::Collective>(op))
    return communicate(collective);
  if (auto priced = dyn_cast<WorkInterface>(op))
    work(priced);
  return success();
}

LogicalResult Walk::walk() {
  drawLoads();
  expertTime = expertRow = weightRead = same(0);
  for (BlockArgument argument : function.getArguments()) {
    auto split = function.getArgAttrOfType<DenseI64ArrayAttr>(
        argument.getArgNumber(), "moe.split");
    if (!split)
      continue;
    rows[argument] = same(run.tokens / coll::groupSize(grid, split));
    auto type = cast<ShapedType>(argument.getType());
    if (isa<FloatType>(type.getElementType()) && type.getRank() == 2)
      hidden = std::max(hidden, type.getDimSize(1));
  }
  for (Operation &op : function.getBody().front())
    if (failed(visit(&op)))
      return failure();
  if (record)
    cost.loads = loads;
  return success();
}

FailureOr<LayerCost> moe::simulateLayer(func::FuncOp function,
                                        const Machine &machine,
                                        const LayerRun &run) {
  LayerCost cost;
  int draws = run.routing->numDraws();
  GroupShapes groups;
  std::vector<double> ends, mostRows;
  for (int draw = 0; draw < draws; ++draw) {
    Walk walk(function, machine, run, draw, cost, groups,
              run.record && draw == 0);
    if (failed(walk.walk()))
      return failure();
    auto last = llvm::max_element(walk.clock()) - walk.clock().begin();
    ends.push_back(walk.clock()[last]);
    cost.us += walk.clock()[last] / draws;
    for (auto [term, us] : llvm::zip(kTerms, walk.terms(last)))
      if (us > 0)
        cost.terms[term.str()] += us / draws;
    double mean = 0, most = 0, rows = 0, mostRow = 0, read = 0;
    int64_t members = walk.clock().size();
    for (int64_t m = 0; m < members; ++m) {
      mean += walk.expertUs()[m] / members;
      most = std::max(most, walk.expertUs()[m]);
      rows += walk.expertRows()[m] / members;
      mostRow = std::max(mostRow, walk.expertRows()[m]);
      read = std::max(read, walk.weightBytes()[m]);
    }
    cost.skewUs += (most - mean) / draws;
    cost.meanRows += rows / draws;
    cost.maxRows += mostRow / draws;
    cost.weightBytes += read / draws;
    cost.flops += walk.flops / draws;
    cost.domainBytes = walk.maxDomain;
    cost.networkBytes = walk.maxNetwork;
    mostRows.push_back(mostRow);
  }
  llvm::sort(ends);
  llvm::sort(mostRows);
  size_t p95 = (draws - 1) * 95 / 100;
  cost.p95Us = ends[p95];
  cost.p95Rows = mostRows[p95];
  return cost;
}
