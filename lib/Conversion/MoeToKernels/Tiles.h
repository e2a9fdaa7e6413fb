// Which variant of a kernel is for how many rows: from measurements, and from
// rules where there are none.
#ifndef MOE_LIB_CONVERSION_MOETOKERNELS_TILES_H
#define MOE_LIB_CONVERSION_MOETOKERNELS_TILES_H

#include "mlir/IR/Location.h"
#include "moe/Codegen/TileTable.h"

#include <set>

namespace moe {

/// A variant of a grouped matmul, and up to how many rows it is for.
struct Bucket {
  int64_t mostRows = 0; ///< of all groups together; 0: no end
  GroupedMatmulSpec spec;
  bool moves = false; ///< rows that an index names are moved first
  bool early = false; ///< begins before the kernel before it has ended

  /// The spec of the product alone, whose rows may have been moved before it.
  GroupedMatmulSpec product() const;
};

/// Rows of all groups up to which kernels gain from an early launch.
inline constexpr int64_t mostEarlyRows = 4096;

/// `spec` as a table's choice makes it, for any number of rows.
Bucket makeBucket(const GroupedMatmulSpec &spec, const TileChoice &choice,
                  bool canMove);

/// A variant that is to be timed: for few rows it begins early, for many it
/// does not, as what a table chooses.
struct TileCandidate {
  TileChoice choice;
  std::vector<Bucket> buckets;
};

class Tiles {
public:
  explicit Tiles(const TileTable &table) : table(table) {}

  /// The variants of `spec` in ascending order of rows; the last has no end.
  /// `canMove` says whether rows that are gathered may be moved first, and
  /// `leastRows` how many there are where there is any. A remark at `loc` says,
  /// once for each matrix, that it was not measured.
  llvm::SmallVector<Bucket> choose(mlir::Location loc,
                                   const GroupedMatmulSpec &spec, bool canMove,
                                   int64_t leastRows);

  /// Tiles worth timing for `spec`, each with what a table says of it. All are
  /// right; which is fastest depends on the device, the rows and the sizes.
  static std::vector<TileCandidate>
  listCandidates(mlir::Location loc, const GroupedMatmulSpec &spec,
                 bool canMove);

  /// For how many tokens at most kernels of a whole layer are made, ascending.
  std::vector<int64_t> fewTokens(const FewEntry &layer) const;

private:
  /// Choices by mean rows per group: measured ones, and rules where there are
  /// none.
  std::vector<TileBucket> plan(mlir::Location loc,
                               const GroupedMatmulSpec &spec);

  const TileTable &table;
  std::set<std::tuple<int64_t, int64_t, bool>> unmeasured;
};

} // namespace moe

#endif
