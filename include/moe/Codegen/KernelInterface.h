// What a host must know to launch a generated kernel.
#ifndef MOE_CODEGEN_KERNELINTERFACE_H
#define MOE_CODEGEN_KERNELINTERFACE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <optional>
#include <string>

namespace moe {

/// How one parameter is passed.
enum class ParameterKind {
  Pointer,    ///< address of an array on the device
  MatrixMap,  ///< tensor map by value over a row-major matrix (box.rows x
              ///< box.columns)
  BlockedMap, ///< tensor map by value, four-dimensional, over a matrix stored
              ///< in blocks of 8 rows x 64 columns
  RaggedMap, ///< tensor map by value, three-dimensional, that cuts boxes to the
             ///< rows to write
  Integer,   ///< an i32
  Integer64  ///< an i64
};

struct KernelParameter {
  std::string name;
  ParameterKind kind = ParameterKind::Pointer;
  /// Maps only.  A matrix map has dims (columns, rows), pitch columns *
  /// elementBytes, and box (boxColumns, boxRows).  A ragged map has dims
  /// (columns, boxRows, rows + boxRows + 1), both outer strides one row, box
  /// (boxColumns, boxRows, 1), and a base boxRows rows before the matrix. A
  /// blocked map has dims (64, 8, columns / 64, rows / 8), strides 128, 1024
  /// and 16 * columns bytes (two-byte elements), box (64, 8, 1, boxRows / 8).
  /// All are swizzled by boxColumns * elementBytes bytes (128 or 64).
  int64_t columns = 0, boxRows = 0, boxColumns = 0, elementBytes = 0;
};

/// CTAs by the number of rows: each `rowsPerBlock` of them have `partsPerBlock`
/// parts, a CTA takes `partsPerCta`, and both quotients are rounded up.
struct RowsGrid {
  /// Parameter that says how many rows there are: the integer, or the array
  /// that has them.
  std::string rows;
  int64_t rowsPerBlock = 1, partsPerBlock = 1, partsPerCta = 1;
};

/// Every kernel waits itself for what comes before it in its stream, so that it
/// may be launched with the attribute "programmatic stream serialization".
struct KernelInterface {
  std::string name;        ///< symbol of the kernel
  int64_t threads = 0;     ///< per CTA; one CTA per SM where `persistent`
  int64_t sharedBytes = 0; ///< dynamic shared memory per CTA
  bool persistent = false; ///< launch min(SMs, work) CTAs, any number is right
  /// CTAs that must fit an SM; with 0 ptxas aims at as many as there may be,
  /// and asks for less at a time to save registers.
  int64_t leastCtas = 0;
  /// CTAs of a kernel of rows; others say beside their spec how many they take.
  std::optional<RowsGrid> grid;
  int64_t cluster = 1; ///< CTAs of a cluster; the grid is a multiple of it
  llvm::SmallVector<KernelParameter> parameters; ///< in order
};

llvm::json::Object toJSON(const KernelInterface &interface);

} // namespace moe

#endif
