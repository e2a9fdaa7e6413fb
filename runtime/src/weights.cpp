#include "weights.h"

#include "checked.h"
#include "digest.h"

#include <cstdlib>
#include <cstring>
#include <set>

using namespace moert;

static std::string nameFor(const std::string &pattern, int64_t expert) {
  size_t at = pattern.find("{e}");
  if (at == std::string::npos)
    return pattern;
  return pattern.substr(0, at) + std::to_string(expert) +
         pattern.substr(at + 3);
}

static int64_t expertsOf(const Weight &weight, const WeightSource &source) {
  return source.expertDim < 0 ? 1 : weight.shape[source.expertDim];
}

// The first name of the source that the checkpoint lacks; empty if none.
static std::string firstMissing(const Weight &weight,
                                const WeightSource &source,
                                const Checkpoint &checkpoint) {
  for (int64_t expert = 0; expert < expertsOf(weight, source); ++expert)
    for (const std::string &pattern : source.names)
      if (std::string name = nameFor(pattern, expert);
          !checkpoint.contains(name))
        return name;
  return {};
}

static Status checkTensor(const Weight &weight, const WeightSource &source,
                          const std::string &name, const TensorView &tensor) {
  if (tensor.shape != source.fileShape)
    return Status::error(MOERT_ERROR_INVALID_FILE, "tensor '", printable(name),
                         "' has shape ", bracketed(tensor.shape), ", weight `",
                         weight.name, "` needs ", bracketed(source.fileShape));
  if (!canConvert(tensor.dtype, weight.dtype))
    return Status::error(MOERT_ERROR_INVALID_FILE, "tensor '", printable(name),
                         "' has dtype ", printable(tensor.dtypeText),
                         ", weight `", weight.name, "` needs ",
                         dtypeName(weight.dtype));
  return {};
}

Status WeightLoader::resolve(const Weight &weight) {
  ResolvedWeight result;
  std::string missing;
  for (const WeightSource &source : weight.sources) {
    std::string name = firstMissing(weight, source, *checkpoint);
    if (name.empty()) {
      result.source = &source;
      break;
    }
    if (missing.empty())
      missing = name;
  }
  if (!result.source)
    return Status::error(MOERT_ERROR_INVALID_FILE, "'",
                         printable(checkpoint->path()), "' has no tensor '",
                         printable(missing), "' for weight `", weight.name, "`",
                         suggest(missing, checkpoint->names()));
  for (const std::string &pattern : result.source->names) {
    std::vector<const TensorView *> &ofPart = result.tensors.emplace_back();
    for (int64_t e = 0; e < expertsOf(weight, *result.source); ++e) {
      std::string name = nameFor(pattern, e);
      Result<const TensorView *> tensor = checkpoint->find(name);
      if (!tensor.ok())
        return tensor.status();
      MOERT_TRY(checkTensor(weight, *result.source, name, **tensor));
      ofPart.push_back(*tensor);
    }
  }
  resolved.push_back(std::move(result));
  return {};
}

Result<WeightLoader>
WeightLoader::open(const Function &function, const Topology &topology,
                   std::shared_ptr<Checkpoint> checkpoint,
                   const std::function<void(const std::string &)> &log) {
  WeightLoader loader(function, topology, std::move(checkpoint));
  std::set<std::string> conversions;
  for (const Weight &weight : function.weights) {
    MOERT_TRY(loader.resolve(weight));
    for (const auto &ofPart : loader.resolved.back().tensors)
      for (const TensorView *tensor : ofPart)
        if (tensor->dtype != fileDtype(weight.dtype))
          conversions.insert(concat("weights are converted from ",
                                    fileDtypeName(tensor->dtype), " to ",
                                    dtypeName(weight.dtype)));
  }
  for (const std::string &line : conversions)
    log(line);
  return loader;
}

namespace {

// One rank's slice of one weight: for each dimension the global index of each
// local one (-1: an empty slot).
class Slice {
public:
  Slice(const Function &function, const Weight &weight,
        const ResolvedWeight &resolved, const Topology &topology, int rank);

  bool isZero() const { return zero; }
  void read(char *target) const;

private:
  // Whether the dimension is one range of indices inside of one tensor.
  bool isDense(size_t dim) const {
    return !bySlots[dim] && static_cast<int>(dim) != resolved.source->partDim &&
           static_cast<int>(dim) != resolved.source->expertDim;
  }
  void readTiles(std::vector<int64_t> &index, int64_t offset,
                 char *target) const;
  void readFrom(size_t dim, std::vector<int64_t> &index, int64_t offset,
                char *&target) const;
  void readRow(const std::vector<int64_t> &index, int64_t offset, int64_t count,
               char *target) const;
  const TensorView *tensorAt(const std::vector<int64_t> &index) const;

  const Weight &weight;
  const ResolvedWeight &resolved;
  std::vector<std::vector<int64_t>> globalOf;
  std::vector<bool> bySlots;
  bool zero = false;
  std::vector<int64_t> bytesBelow; // of one step in each dimension
  size_t rank;
};

} // namespace

Slice::Slice(const Function &function, const Weight &weight,
             const ResolvedWeight &resolved, const Topology &topology,
             int worldRank)
    : weight(weight), resolved(resolved), rank(weight.localShape.size()) {
  std::vector<int64_t> start(rank, 0);
  bySlots.resize(rank, false);
  for (const WeightSplit &split : weight.split) {
    start[split.dim] =
        topology.indexOn(split.axes, worldRank) * weight.localShape[split.dim];
    bySlots[split.dim] = split.bySlots;
  }
  for (size_t d = 0; d < rank; ++d) {
    std::vector<int64_t> &indices = globalOf.emplace_back();
    for (int64_t i = 0; i < weight.localShape[d]; ++i)
      indices.push_back(bySlots[d] ? function.slots[start[d] + i]
                                   : start[d] + i);
  }
  for (int axis : weight.firstOnly)
    zero = zero || topology.coordinates(worldRank)[axis] != 0;
  bytesBelow.assign(rank + 1, static_cast<int64_t>(dtypeSize(weight.dtype)));
  for (size_t d = rank; d-- > 0;)
    bytesBelow[d] = bytesBelow[d + 1] * weight.localShape[d];
}

const TensorView *Slice::tensorAt(const std::vector<int64_t> &index) const {
  const WeightSource &source = *resolved.source;
  int64_t part = source.partDim < 0 ? 0 : index[source.partDim];
  int64_t expert = source.expertDim < 0 ? 0 : index[source.expertDim];
  return resolved.tensors[part][expert];
}

// `count` elements of the innermost dimension, from `index` on.
void Slice::readRow(const std::vector<int64_t> &index, int64_t offset,
                    int64_t count, char *target) const {
  const TensorView &tensor = *tensorAt(index);
  int64_t stride = rank == 0 ? 1 : resolved.source->strides[rank - 1];
  convertElements(tensor.dtype,
                  tensor.bytes.data() + offset * fileDtypeSize(tensor.dtype),
                  stride, weight.dtype, target, count);
}

// The two innermost dimensions where the inner one is not dense in the file, in
// tiles: each line of the cache that is read is used whole.
void Slice::readTiles(std::vector<int64_t> &index, int64_t offset,
                      char *target) const {
  constexpr int64_t tile = 64;
  const std::vector<int64_t> &strides = resolved.source->strides;
  int64_t rows = weight.localShape[rank - 2];
  int64_t columns = weight.localShape[rank - 1];
  int64_t firstRow = globalOf[rank - 2].front();
  int64_t firstColumn = globalOf[rank - 1].front();
  for (int64_t r0 = 0; r0 < rows; r0 += tile)
    for (int64_t c = 0; c < columns; c += tile)
      for (int64_t r = r0; r < std::min(rows, r0 + tile); ++r)
        readRow(index,
                offset + (firstRow + r) * strides[rank - 2] +
                    (firstColumn + c) * strides[rank - 1],
                std::min(tile, columns - c),
                target + r * bytesBelow[rank - 1] + c * bytesBelow[rank]);
}

// The dimensions from `dim` on; earlier ones are in `index` and `offset`.
void Slice::readFrom(size_t dim, std::vector<int64_t> &index, int64_t offset,
                     char *&target) const {
  const WeightSource &source = *resolved.source;
  if (dim + 2 == rank && isDense(dim) && isDense(dim + 1) &&
      std::abs(source.strides[dim + 1]) > 1) {
    readTiles(index, offset, target);
    target += bytesBelow[dim];
    return;
  }
  if (dim + 1 == rank && isDense(dim)) {
    index[dim] = globalOf[dim].front();
    readRow(index, offset + source.strides[dim] * index[dim],
            weight.localShape[dim], target);
    target += bytesBelow[dim];
    return;
  }
  for (int64_t global : globalOf[dim]) {
    int64_t at = offset + source.strides[dim] * std::max<int64_t>(0, global);
    index[dim] = global;
    if (global < 0) {
      std::memset(target, 0, static_cast<size_t>(bytesBelow[dim + 1]));
      target += bytesBelow[dim + 1];
    } else if (dim + 1 < rank) {
      readFrom(dim + 1, index, at, target);
    } else {
      readRow(index, at, 1, target);
      target += bytesBelow[rank];
    }
  }
}

void Slice::read(char *target) const {
  std::vector<int64_t> index(rank, 0);
  int64_t offset = resolved.source->offset;
  if (rank == 0)
    readRow(index, offset, 1, target);
  else
    readFrom(0, index, offset, target);
}

void WeightLoader::read(size_t index, int rank, void *target) const {
  const Weight &weight = function->weights[index];
  if (weight.sliceBytes() == 0)
    return;
  Slice slice(*function, weight, resolved[index], *topology, rank);
  if (slice.isZero())
    std::memset(target, 0, static_cast<size_t>(weight.sliceBytes()));
  else
    slice.read(static_cast<char *>(target));
  // What was read once is not held twice, as slice and as file.
  for (const auto &ofPart : resolved[index].tensors)
    for (const TensorView *tensor : ofPart)
      forgetPages(tensor->bytes);
}

// Pages at both ends: all of a large checkpoint would be read otherwise.
static void addContent(Digest &digest, std::string_view bytes) {
  constexpr size_t page = 4096, whole = 64 << 10;
  if (bytes.size() <= whole)
    return digest.add(bytes);
  digest.add(bytes.substr(0, page));
  digest.add(bytes.substr(bytes.size() / 2, page));
  digest.add(bytes.substr(bytes.size() - page));
}

std::string WeightLoader::digest() const {
  Digest digest;
  for (size_t i = 0; i < resolved.size(); ++i) {
    digest.add(function->weights[i].name);
    for (const auto &ofPart : resolved[i].tensors)
      for (const TensorView *tensor : ofPart) {
        digest.add(concat(tensor->dtypeText, bracketed(tensor->shape)));
        addContent(digest,
                   {reinterpret_cast<const char *>(tensor->bytes.data()),
                    tensor->bytes.size()});
      }
  }
  return digest.text();
}
