// Which thread of a warpgroup holds which element of a fragment in which
// register.
#ifndef MOE_DIALECTS_HOPPER_FRAGMENTLAYOUT_H
#define MOE_DIALECTS_HOPPER_FRAGMENTLAYOUT_H

#include "dialects/Hopper/HopperDialect.h"

namespace moe::hopper {

/// A coordinate of an element as a sum of a part known from the register and
/// parts that depend on the thread: constant + warp * warpScale + (lane / 4) *
/// quadScale + (lane % 4) * laneScale.
struct ThreadCoordinate {
  int64_t constant = 0, warpScale = 0, quadScale = 0, laneScale = 0;
};

/// The wgmma accumulator layout, for 64 rows or, after pairing rows, 32.
/// Each of the four warps owns a quarter of the rows, in `halves` blocks of
/// eight; within eight columns a thread has two neighbours of one row per
/// block.  Registers are numbered (columns / 8, block, neighbour), the last
/// fastest.
class FragmentLayout {
public:
  FragmentLayout(int64_t rows, int64_t columns)
      : halves(rows / 32), columns(columns) {}
  explicit FragmentLayout(FragmentType type)
      : FragmentLayout(type.getRows(), type.getColumns()) {}

  /// Registers of one thread.
  int64_t getRegisters() const { return columns / 8 * 2 * halves; }
  /// Row and column of a register's element.
  ThreadCoordinate getRow(int64_t reg) const;
  ThreadCoordinate getColumn(int64_t reg) const;

  /// Values of one thread in a slice, the value that a register's element
  /// meets, and the first register that meets a value.
  int64_t getSliceValues(Axis axis) const;
  int64_t getSliceValue(Axis axis, int64_t reg) const;
  int64_t getFirstRegister(Axis axis, int64_t value) const;

  /// The two registers that make register `reg` of the fragment that pairing
  /// along `axis` gives.
  std::pair<int64_t, int64_t> getPair(Axis axis, int64_t reg) const;

  /// 8x8 matrices (one packed register pair each) per eight columns: 2, or 1
  /// after pairing rows.
  int64_t getHalves() const { return halves; }

private:
  int64_t halves, columns;
};

} // namespace moe::hopper

#endif
