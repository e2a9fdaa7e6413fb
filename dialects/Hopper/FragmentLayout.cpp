#include "dialects/Hopper/FragmentLayout.h"

using namespace moe::hopper;

// reg = 2 * halves * chunk + 2 * half + neighbour

ThreadCoordinate FragmentLayout::getRow(int64_t reg) const {
  int64_t half = reg / 2 % halves;
  return {/*constant=*/8 * half, /*warpScale=*/8 * halves, /*quadScale=*/1,
          /*laneScale=*/0};
}

ThreadCoordinate FragmentLayout::getColumn(int64_t reg) const {
  int64_t chunk = reg / (2 * halves), neighbour = reg % 2;
  return {/*constant=*/8 * chunk + neighbour, /*warpScale=*/0, /*quadScale=*/0,
          /*laneScale=*/2};
}

int64_t FragmentLayout::getSliceValues(Axis axis) const {
  return axis == Axis::Rows ? halves : columns / 8 * 2;
}

int64_t FragmentLayout::getSliceValue(Axis axis, int64_t reg) const {
  if (axis == Axis::Rows)
    return reg / 2 % halves;
  return reg / (2 * halves) * 2 + reg % 2;
}

int64_t FragmentLayout::getFirstRegister(Axis axis, int64_t value) const {
  if (axis == Axis::Rows)
    return 2 * value;
  return value / 2 * 2 * halves + value % 2;
}

std::pair<int64_t, int64_t> FragmentLayout::getPair(Axis axis,
                                                    int64_t reg) const {
  if (axis == Axis::Rows) { // the result has one block of rows per warp
    int64_t chunk = reg / 2, neighbour = reg % 2;
    return {4 * chunk + neighbour, 4 * chunk + 2 + neighbour};
  }
  int64_t perChunk = 2 * halves;
  int64_t chunk = reg / perChunk, rest = reg % perChunk;
  return {2 * chunk * perChunk + rest, (2 * chunk + 1) * perChunk + rest};
}
