// A table of measured kernels (machines/kernels/*.json), as
// moe-opt --kernel-table reads it.
#ifndef MOE_RUN_TUNE_TABLE_H
#define MOE_RUN_TUNE_TABLE_H

#include "json_reader.h"
#include "manifest.h"

#include <map>
#include <tuple>

namespace moert {

class KernelTable {
public:
  // Reads a table whose entries stay unless they are set again.
  static Result<KernelTable> read(const std::string &path);

  // The tile of a product for `rows` mean rows per expert.
  void setTile(const Choice &product, double rows, const std::string &tile,
               double seconds);
  // Of the numbers of tokens that were `measured` these end with a kernel of
  // the whole layer.
  void setFew(const Choice &layer, const std::vector<int64_t> &measured,
              const std::vector<int64_t> &few);
  // One tile a line.
  std::string text(const std::string &device) const;

private:
  // k, n, paired, fp8
  using Matrix = std::tuple<int64_t, int64_t, bool, bool>;
  // experts, top_k, hidden, inner, fp8
  using Layer = std::tuple<int64_t, int64_t, int64_t, int64_t, bool>;

  void readMatrix(const Json &json, std::string path, std::string &problem);
  void readLayer(const Json &json, std::string path, std::string &problem);

  // Tiles by rows, without `rows`.
  std::map<Matrix, std::map<double, Json>> matrices;
  std::map<Layer, std::vector<int64_t>> layers;
};

} // namespace moert

#endif
