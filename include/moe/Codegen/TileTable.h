// Which tile of a grouped matmul is fastest for how many rows per expert, as
// measured on a machine; the measurements are data (machines/kernels/*.json).
#ifndef MOE_CODEGEN_TILETABLE_H
#define MOE_CODEGEN_TILETABLE_H

#include "moe/Codegen/GroupedMatmul.h"

#include "mlir/IR/BuiltinAttributes.h"

#include <optional>
#include <vector>

namespace moe {

/// The tile of a spec, and whether rows are gathered or permuted first.
struct TileChoice {
  double rows = 0; ///< mean rows per expert that it was measured at
  int64_t tileTokens = 0, tileWeights = 0;
  bool swap = false, skipDead = false;
  bool gather = false;
  int64_t tails = 0, cluster = 1, split = 0; ///< as in the spec

  void apply(GroupedMatmulSpec &spec) const;
  /// The words by which a table says it, as booleans and numbers; without
  /// `rows`.
  mlir::DictionaryAttr spell(mlir::MLIRContext *context) const;
};

/// A choice and up to how many mean rows per expert it holds; none where
/// nothing near was measured.
struct TileBucket {
  double mostRows = 0; ///< 0: no end
  std::optional<TileChoice> choice;
};

/// The measured choices for one matrix, in ascending order of rows.
struct TileEntry {
  int64_t k = 0, n = 0;
  bool paired = false; ///< gate and up with their epilogue
  bool fp8 = false;    ///< e4m3 with block scales
  std::vector<TileChoice> choices;

  /// The choice measured nearest to `rows`; none more than four times away.
  std::optional<TileChoice> find(double rows) const;
  /// The same for all rows, ascending; the last bucket has no end.
  std::vector<TileBucket> getBuckets() const;
};

/// A layer whose experts are all on one rank, and for how many tokens at most
/// kernels that compute it whole are the fastest way (ascending).
struct FewEntry {
  int64_t experts = 0, hidden = 0, inner = 0, topK = 0;
  bool fp8 = false; ///< e4m3 with block scales
  std::vector<int64_t> tokens;
};

/// Choices of one machine.
struct TileTable {
  std::string device; ///< where it was measured
  std::vector<TileEntry> entries;
  std::vector<FewEntry> layers;

  /// The entry for exactly this matrix, or null: other shapes were not
  /// measured.
  const TileEntry *find(int64_t k, int64_t n, bool paired,
                        bool fp8 = false) const;
  /// The entry for a layer of these sizes, or null.
  const FewEntry *findFew(const FewEntry &sizes) const;
};

/// Reads a table; `origin` stands in messages, what is wrong in `error`.
mlir::FailureOr<TileTable> parseTileTable(llvm::StringRef text,
                                          llvm::StringRef origin,
                                          std::string &error);

/// The table that is built in (machines/kernels/h200.json).
const TileTable &getBuiltinTileTable();

} // namespace moe

#endif
