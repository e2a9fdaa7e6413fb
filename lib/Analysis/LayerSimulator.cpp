// One walk over a straight block for each draw of the routing. A value's rows
// are followed for every member of an expert group (those that differ on ep):
// counts and offsets as the set of tokens that they count and the slots that
// they count for, so that they never have to be computed. What a collective
// sends to each peer is asked of its op (`getSentBytes`).
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
  int64_t parts = 1; // more: blocks are what so many members have, all alike
  bool tokensThemselves = false;
};

constexpr llvm::StringLiteral kTerms[] = {
    "router", "permute",  "experts", "shared_expert",
    "counts", "dispatch", "combine"};
enum Term { Router, Permute, Experts, SharedExpert, Counts, Dispatch, Combine };
using Terms = std::array<double, std::size(kTerms)>;

// What draws of one program share.
struct Shared {
  llvm::DenseMap<Attribute, GroupLayout> groups; // by axes
  std::map<int64_t, double> met; // share of tokens, by experts of a bin
};

struct Moved {
  double near = 0, far = 0; // bytes inside a link domain and out of it
};

struct Total {
  PerMember clock;
  std::vector<Terms> terms;
};

class Walk : public RowCounts {
public:
  Walk(func::FuncOp function, const Machine &machine, const LayerRun &run,
       uint64_t seed, LayerCost &cost, Shared &shared, bool record)
      : function(function), machine(machine), run(run), cost(cost),
        shared(shared), record(record) {
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
    function.walk([&](RouteOp route) {
      limit = {route.getRouter().getNGroup(), route.getRouter().getTopkGroup()};
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
  const GroupLayout &layoutOf(coll::Collective op);
  ArrayRef<double> blocksOf(Value counts, int64_t member, int64_t blocks);
  ArrayRef<double> rowsSent(coll::Collective op, int64_t member,
                            int64_t blocks);
  Moved moved(coll::Collective op, const GroupLayout &layout, int64_t member,
              ArrayRef<double> rows);
  bool isEven(Value counts);
  Moved busiest(coll::Collective op, const GroupLayout &layout, Value held,
                bool even, llvm::function_ref<ArrayRef<double>(int64_t)> sizes);
  void advance(Operation *op, Term term, const PerMember &us, bool meet);
  PerMember same(double value) const { return PerMember(members, value); }
  // By value: a table that grows moves what it holds.
  void sameRows(Value result, Value like) {
    PerMember held = rows.lookup(like);
    rows[result] = std::move(held);
  }
  void sameCounts(Value result, Value like) {
    Counted counted = counts.lookup(like);
    counts[result] = counted;
  }
  // Rows that `counted` comes to, for each member.
  PerMember sumOf(const Counted &counted);
  // Share of a replica's tokens with an expert in each `bin` slots.
  ArrayRef<double> hitsOf(int64_t bin);
  // Tokens among which those of a value were chosen.
  double universeOf(Value value) {
    auto found = universe.find(value);
    return found == universe.end() ? rows[value][0] : found->second;
  }

  func::FuncOp function;
  const Machine &machine;
  const LayerRun &run;
  LayerCost &cost;
  Shared &shared;
  bool record;
  shard::GridOp grid;
  GroupLimit limit;
  int64_t members = 1, replicas = 1, ranks = 1, slots = 1, topK = 1,
          experts = 1, member = 0, hidden = 1;
  uint64_t seedValue = 0;
  bool expertsDone = false;
  std::vector<double> loads; // of each slot, for all tokens of a replica
  std::map<int64_t, std::vector<double>> hits; // by bin
  std::map<std::tuple<const void *, int64_t, int64_t>, std::vector<double>>
      blockRows; // by counts, first slot and number of blocks
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

// Uneven popularity makes a bin's tokens meet there more often: the closed form
// for even choices is scaled by what independent choices with these loads come
// to.
ArrayRef<double> Walk::hitsOf(int64_t bin) {
  auto [entry, isNew] = hits.try_emplace(bin);
  if (!isNew)
    return entry->second;
  double tokens = run.tokens / replicas;
  ArrayRef<int32_t> map = run.placement.getSlots();
  for (size_t first = 0; first < loads.size(); first += bin) {
    if (bin == 1) {
      entry->second.push_back(loads[first] / tokens);
      continue;
    }
    double missed = 1;
    int64_t held = 0;
    for (int64_t slot = first; slot < int64_t(first) + bin; ++slot)
      if (map[slot] >= 0) {
        missed *= std::max(0.0, 1 - loads[slot] / tokens);
        ++held;
      }
    if (held == 0) {
      entry->second.push_back(0);
      continue;
    }
    auto [met, unknown] = shared.met.try_emplace(held);
    if (unknown)
      met->second = shareMet(experts, topK, held, limit);
    double even = 1 - std::pow(1 - double(topK) / experts, held);
    entry->second.push_back(std::min(1.0, met->second * (1 - missed) / even));
  }
  return entry->second;
}

PerMember Walk::sumOf(const Counted &counted) {
  if (counted.tokensThemselves)
    return same(counted.tokens);
  int64_t all = loads.size();
  if (counted.window == all && counted.bin == 1)
    return same(counted.tokens * topK);
  ArrayRef<double> shares = hitsOf(counted.bin);
  PerMember sums(members, 0);
  int64_t known = -1;
  for (int64_t m = 0; m < members; ++m) {
    int64_t first = m * slots / counted.window * counted.window;
    if (first == known) {
      sums[m] = sums[m - 1];
      continue;
    }
    known = first;
    for (double share :
         shares.slice(first / counted.bin, counted.window / counted.bin))
      sums[m] += share * counted.tokens;
  }
  return sums;
}

// Rows of each of the blocks that `counts` stand in.
ArrayRef<double> Walk::blocksOf(Value value, int64_t m, int64_t blocks) {
  const Counted &counted = counts[value];
  int64_t first = counted.tokensThemselves
                      ? 0
                      : m * slots / counted.window * counted.window;
  auto [entry, isNew] =
      blockRows.try_emplace({value.getAsOpaquePointer(), first, blocks});
  std::vector<double> &rows = entry->second;
  if (!isNew)
    return rows;
  if (counted.tokensThemselves) {
    rows.assign(blocks, counted.tokens / blocks);
    return rows;
  }
  int64_t bins = counted.window / counted.bin;
  ArrayRef<double> shares =
      hitsOf(counted.bin).slice(first / counted.bin, bins);
  auto sum = [&](int64_t from, int64_t count) {
    double sum = 0;
    for (double share : shares.slice(from, count))
      sum += share * counted.tokens;
    return sum;
  };
  if (counted.parts > 1)
    rows.assign(blocks, sum(0, bins) / blocks);
  else
    for (int64_t block = 0; block < blocks; ++block)
      rows.push_back(sum(block * bins / blocks, bins / blocks));
  return rows;
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

const GroupLayout &Walk::layoutOf(coll::Collective op) {
  auto [known, isNew] = shared.groups.try_emplace(
      DenseI64ArrayAttr::get(function.getContext(), op.getAxes()));
  if (isNew)
    known->second =
        groupLayout(grid.getShape(), run.placement.getEp().asArrayRef(),
                    op.getAxes(), machine);
  return known->second;
}

ArrayRef<double> Walk::rowsSent(coll::Collective op, int64_t m,
                                int64_t blocks) {
  if (Value sizes = op.getBlockCounts())
    return blocksOf(sizes, m, blocks);
  auto held = rows.find(op.getSent());
  return held == rows.end() ? ArrayRef<double>()
                            : ArrayRef(held->second).slice(m, 1);
}

Moved Walk::moved(coll::Collective op, const GroupLayout &layout, int64_t m,
                  ArrayRef<double> rows) {
  const GroupLayout::Place &place = layout.places[m];
  ArrayRef<int64_t> domains = layout.domains[place.group];
  Moved moved;
  for (auto [domain, bytes] :
       llvm::zip(domains, op.getSentBytes(place.me, rows)))
    (domain == domains[place.me] ? moved.near : moved.far) += bytes;
  return moved;
}

// Whether each peer gets, or sends, as much as every other.
bool Walk::isEven(Value counts) {
  const Counted &counted = this->counts[counts];
  return counted.tokensThemselves || counted.parts > 1;
}

// What the busiest of the members moves to or from its peers, `sizes` being the
// rows for each of them. Members of one group in one domain differ only by the
// size of their own block, and with equal blocks by their rows: the one with
// the most is asked.
Moved Walk::busiest(coll::Collective op, const GroupLayout &layout, Value held,
                    bool even,
                    llvm::function_ref<ArrayRef<double>(int64_t)> sizes) {
  auto found = rows.find(held);
  Moved most;
  for (ArrayRef<int64_t> alike : even ? layout.evenly : layout.alike) {
    int64_t member = alike.front();
    if (found != rows.end())
      member = *llvm::max_element(alike, [&](int64_t a, int64_t b) {
        return found->second[a] < found->second[b];
      });
    Moved one = moved(op, layout, member, sizes(member));
    most = {std::max(most.near, one.near), std::max(most.far, one.far)};
  }
  return most;
}

// Where members meet, the busiest one's bytes count, those that leave it or
// those that come in. Ids and weights ride with the rows that they belong to,
// in one call.
LogicalResult Walk::communicate(coll::Collective op) {
  const GroupLayout &layout = layoutOf(op);
  StringRef payload = op.getPayload();
  bool fixed = payload == "counts", rides = !fixed && payload != "rows";
  auto swap = dyn_cast<coll::AllToAllVOp>(op.getOperation());
  bool once = run.placement.getDedup() ||
              run.placement.getDispatcher() == Dispatcher::TwoLevel;
  CollectiveKind kind = swap && once ? CollectiveKind::Dispatch : kindOf(op);
  double exposed = run.overlap && !fixed
                       ? (layout.shape.domains > 1 ? machine.networkExposed
                                                   : machine.domainExposed)
                       : 1;
  auto time = [&](const Moved &bytes) {
    double us = exchangeUs(machine, kind, layout.shape, bytes.near, bytes.far);
    if (rides)
      us -= exchangeUs(machine, kind, layout.shape, 0, 0);
    return us * exposed;
  };
  auto leaving = [&](int64_t m) { return rowsSent(op, m, layout.size); };
  PerMember us(members, 0);
  Moved out;
  if (layout.meets) {
    Value sizes = op.getBlockCounts();
    out = busiest(op, layout, op.getSent(), !sizes || isEven(sizes), leaving);
    Moved in;
    if (swap)
      in = busiest(op, layout, swap.getResult(), isEven(swap.getRecvCounts()),
                   [&](int64_t m) {
                     return blocksOf(swap.getRecvCounts(), m, layout.size);
                   });
    us = same(time({std::max(out.near, in.near), std::max(out.far, in.far)}));
  } else {
    for (int64_t m = 0; m < members; ++m) {
      Moved one = moved(op, layout, m, leaving(m));
      out = {std::max(out.near, one.near), std::max(out.far, one.far)};
      us[m] = time(one);
    }
  }
  if (!fixed) {
    maxDomain += out.near;
    maxNetwork += out.far;
  }
  Term term = fixed ? Counts : expertsDone ? Combine : Dispatch;
  advance(op, term, us, layout.meets);
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
            sameRows(dim.getResult(), dim.getSource());
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
            sameRows(cast.getResult(), cast.getIn());
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
              sameRows(result, route.getX());
            return success();
          })
          .Case([&](SortOp sort) {
            Counted counted;
            counted.tokens = universeOf(sort.getIds());
            counted.window = sort.getWindow();
            counted.bin = sort.getGroup();
            counts[sort.getResults()[2]] = counted;
            rows[sort.getResults()[0]] = sumOf(counted);
            sameRows(sort.getResults()[1], sort.getIds());
            return success();
          })
          .Case([&](CountsOp taken) {
            sameCounts(taken.getResult(), taken.getOffsets());
            return success();
          })
          .Case([&](coll::AllToAllOp swap) {
            Counted counted = counts[swap.getSource()];
            int64_t group = coll::groupSize(grid, swap.getAxes());
            counted.window /= group;
            counted.tokens *= group;
            counted.parts = group;
            counts[swap.getResult()] = counted;
            return success();
          })
          .Case([&](coll::AllGatherOp gather) {
            Counted counted = counts[gather.getSource()];
            counted.parts = coll::groupSize(grid, gather.getAxes());
            counted.tokens *= counted.parts;
            counts[gather.getResult()] = counted;
            return success();
          })
          .Case([&](coll::RowsOp sum) {
            rows[sum.getResult()] = sumOf(counts[sum.getCounts()]);
            return success();
          })
          .Case([&](RegroupOp regroup) {
            sameCounts(regroup.getResults()[1], regroup.getCounts());
            sameRows(regroup.getResults()[0], regroup.getRows());
            return success();
          })
          .Case([&](TakeOp take) {
            universe[take.getResult()] = universeOf(take.getX());
            sameRows(take.getResult(), take.getRows());
            return success();
          })
          .Case([&](coll::AllToAllVOp swap) {
            universe[swap.getResult()] = counts[swap.getRecvCounts()].tokens;
            sameRows(swap.getResult(), swap.getRows());
            return success();
          })
          .Case([&](coll::AllGatherVOp gather) {
            universe[gather.getResult()] = counts[gather.getCounts()].tokens;
            sameRows(gather.getResult(), gather.getRows());
            return success();
          })
          .Case<coll::ReduceScatterVOp, GroupedMatmulOp>([&](auto ragged) {
            sameRows(ragged.getResult(), ragged.getRows());
            return success();
          })
          .Case([&](TokenGateOp gate) {
            sameRows(gate.getResult(), gate.getX());
            return success();
          })
          .Case([&](CombineOp combine) {
            sameRows(combine.getResult(), combine.getPositions()
                                              ? combine.getPositions()
                                              : combine.getRows());
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
  Shared shared;
  std::vector<double> ends, mostRows;
  for (int draw = 0; draw < draws; ++draw) {
    Walk walk(function, machine, run, draw, cost, shared,
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
