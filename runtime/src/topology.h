// Who is in which group: rank numbers, mesh coordinates, members.
#ifndef MOERT_TOPOLOGY_H
#define MOERT_TOPOLOGY_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moert {

class Topology {
public:
  Topology() = default;
  // `groups` are sets of axes of a mesh of this shape (the manifest's order).
  Topology(std::vector<int64_t> shape, std::vector<std::vector<int>> groups);

  int ranks() const { return count; }
  int groupCount() const { return static_cast<int>(groups.size()); }
  const std::vector<int64_t> &coordinates(int rank) const {
    return coords[static_cast<size_t>(rank)];
  }
  // A rank's number among the members of a set of axes, first axis slowest.
  int64_t indexOn(const std::vector<int> &axes, int rank) const;
  int64_t sizeOf(const std::vector<int> &axes) const;

  // The ranks of `rank`'s part of a group, in member order.
  const std::vector<int> &members(int group, int rank) const;
  int indexIn(int group, int rank) const;
  // Numbers the parts of all groups: equal for ranks that meet each other.
  int cell(int group, int rank) const;
  int cellCount() const { return static_cast<int>(cells.size()); }
  const std::vector<int> &cellMembers(int cell) const {
    return cells[static_cast<size_t>(cell)];
  }

private:
  std::vector<int64_t> shape;
  std::vector<std::vector<int>> groups;
  int count = 1;
  std::vector<std::vector<int64_t>> coords;
  std::vector<std::vector<int>> cells;
  std::vector<std::vector<int>> cellOf; // [group][rank]
};

} // namespace moert

#endif
