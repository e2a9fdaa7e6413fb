// Counts and offsets are followed as the set of tokens that they count and the
// slots that they count for, so that they never have to be computed.
#include "LayerRows.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace moe;

LayerRows::LayerRows(func::FuncOp function, const LayerRun &run, uint64_t seed,
                     std::map<int64_t, double> &met)
    : function(function), run(run), met(met) {
  PlacementAttr placement = run.placement;
  grid = coll::lookupGrid(function, placement.getGrid());
  members = coll::groupSize(grid, placement.getEp());
  replicas = coll::groupSize(grid, placement.getEdp());
  slots = placement.getSlots().size() / members;
  function.walk([&](SortOp sort) {
    topK = sort.getTopK();
    experts = sort.getExperts();
  });
  function.walk([&](RouteOp route) {
    limit = {route.getRouter().getNGroup(), route.getRouter().getTopkGroup()};
  });
  drawLoads(seed);
}

void LayerRows::drawLoads(uint64_t seed) {
  double tokens = run.tokens / replicas;
  DrawnLoads own;
  auto [drawn, isNew] =
      (run.drawn ? *run.drawn : own).try_emplace({tokens, seed});
  if (isNew)
    drawn->second = run.routing->draw(tokens, topK, experts, seed);
  const std::vector<double> &byExpert = drawn->second;
  ArrayRef<int32_t> map = run.placement.getSlots();
  loads.assign(map.size(), 0);
  for (auto [slot, expert] : llvm::enumerate(map))
    if (expert >= 0)
      loads[slot] = byExpert[expert];
}

void LayerRows::enter() {
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
}

ArrayRef<double> LayerRows::groupsOf(Value offsets) const {
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
ArrayRef<double> LayerRows::hitsOf(int64_t bin) {
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
    auto [share, unknown] = met.try_emplace(held);
    if (unknown)
      share->second = shareMet(experts, topK, held, limit);
    double even = 1 - std::pow(1 - double(topK) / experts, held);
    entry->second.push_back(std::min(1.0, share->second * (1 - missed) / even));
  }
  return entry->second;
}

PerMember LayerRows::sumOf(const Counted &counted) {
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

ArrayRef<double> LayerRows::blocksOf(Value value, int64_t m, int64_t blocks) {
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

bool LayerRows::isEven(Value counts) {
  const Counted &counted = this->counts[counts];
  return counted.tokensThemselves || counted.parts > 1;
}

LogicalResult LayerRows::follow(Operation *op) {
  return TypeSwitch<Operation *, LogicalResult>(op)
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
        return LogicalResult(
            other->emitError()
            << "'" << other->getName()
            << "' op cannot be priced: nothing is known about its rows");
      });
}
