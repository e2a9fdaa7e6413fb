#include "topology.h"

#include <algorithm>
#include <map>

using namespace moert;

Topology::Topology(std::vector<int64_t> meshShape,
                   std::vector<std::vector<int>> axisSets)
    : shape(std::move(meshShape)), groups(std::move(axisSets)) {
  for (int64_t size : shape)
    count *= static_cast<int>(size);
  for (int rank = 0; rank < count; ++rank) {
    std::vector<int64_t> digits(shape.size());
    int64_t rest = rank;
    for (size_t axis = shape.size(); axis-- > 0;) {
      digits[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    coords.push_back(std::move(digits));
  }
  for (const std::vector<int> &axes : groups) {
    std::map<std::vector<int64_t>, int> cellAt; // by the other coordinates
    std::vector<int> &of = cellOf.emplace_back();
    for (int rank = 0; rank < count; ++rank) {
      std::vector<int64_t> others = coords[rank];
      for (int axis : axes)
        others[axis] = -1;
      auto [it, isNew] = cellAt.emplace(others, cellCount());
      if (isNew)
        cells.emplace_back(static_cast<size_t>(sizeOf(axes)));
      of.push_back(it->second);
      cells[it->second][indexOn(axes, rank)] = rank;
    }
  }
}

int64_t Topology::indexOn(const std::vector<int> &axes, int rank) const {
  int64_t index = 0;
  for (int axis : axes)
    index = index * shape[axis] + coords[rank][axis];
  return index;
}

int64_t Topology::sizeOf(const std::vector<int> &axes) const {
  int64_t size = 1;
  for (int axis : axes)
    size *= shape[axis];
  return size;
}

int Topology::cell(int group, int rank) const { return cellOf[group][rank]; }

const std::vector<int> &Topology::members(int group, int rank) const {
  return cells[cell(group, rank)];
}

int Topology::indexIn(int group, int rank) const {
  return static_cast<int>(indexOn(groups[group], rank));
}
