// One walk over a straight block for each draw of the routing: every member of
// an expert group has its clock, and rows (LayerRows) by which operations are
// asked for their work and collectives for what they send to each peer.
#include "moe/Analysis/LayerSimulator.h"
#include "LayerRows.h"
#include "moe/Analysis/CollectiveCost.h"
#include "moe/Analysis/MatmulCost.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

namespace {

constexpr llvm::StringLiteral kTerms[] = {
    "router", "permute",  "experts", "shared_expert",
    "counts", "dispatch", "combine"};
enum Term { Router, Permute, Experts, SharedExpert, Counts, Dispatch, Combine };
using Terms = std::array<double, std::size(kTerms)>;

// What draws of one program share.
struct Shared {
  llvm::DenseMap<Attribute, GroupLayout> groups; // by axes
  std::map<int64_t, double> met;                 // see LayerRows
};

struct Moved {
  double near = 0, far = 0; // bytes inside a link domain and out of it
};

struct Total {
  PerMember clock;
  std::vector<Terms> terms;
};

class Walk : public LayerRows {
public:
  Walk(func::FuncOp function, const Machine &machine, const LayerRun &run,
       uint64_t seed, LayerCost &cost, Shared &shared, bool record)
      : LayerRows(function, run, seed, shared.met), machine(machine),
        cost(cost), shared(shared), record(record) {
    total.clock.assign(members, 0);
    total.terms.assign(members, Terms());
  }

  LogicalResult walk();
  const PerMember &clock() const { return total.clock; }
  const Terms &terms(int64_t member) const { return total.terms[member]; }
  const PerMember &expertUs() const { return expertTime; }
  const PerMember &expertRows() const { return expertRow; }
  const PerMember &weightBytes() const { return weightRead; }
  double maxDomain = 0, maxNetwork = 0, flops = 0;

private:
  void work(WorkInterface op);
  void communicate(coll::Collective op);
  const GroupLayout &layoutOf(coll::Collective op);
  ArrayRef<double> rowsSent(coll::Collective op, int64_t member,
                            int64_t blocks);
  Moved moved(coll::Collective op, const GroupLayout &layout, int64_t member,
              ArrayRef<double> rows);
  Moved busiest(coll::Collective op, const GroupLayout &layout, Value held,
                bool even, llvm::function_ref<ArrayRef<double>(int64_t)> sizes);
  void advance(Operation *op, Term term, const PerMember &us, bool meet);

  const Machine &machine;
  LayerCost &cost;
  Shared &shared;
  bool record;
  bool expertsDone = false;
  Total total;
  PerMember expertTime, expertRow, weightRead;
};

} // namespace

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
void Walk::communicate(coll::Collective op) {
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
}

LogicalResult Walk::walk() {
  enter();
  expertTime = expertRow = weightRead = same(0);
  for (Operation &op : function.getBody().front()) {
    // Rows of results first: work and messages are asked with them.
    if (failed(follow(&op)))
      return failure();
    if (auto collective = dyn_cast<coll::Collective>(op))
      communicate(collective);
    else if (auto priced = dyn_cast<WorkInterface>(op))
      work(priced);
  }
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
