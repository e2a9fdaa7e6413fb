// Tensors on the command line: `name=@file.safetensors:tensor`,
// `name=@file.npy`.
#ifndef MOE_RUN_TENSORS_H
#define MOE_RUN_TENSORS_H

#include "aligned_buffer.h"
#include "dtype.h"
#include "safetensors.h"
#include "session.h"
#include "status.h"

#include <memory>
#include <string>
#include <vector>

namespace moert {

struct TensorSource {
  std::string name; // of the input or output
  std::string file;
  std::string tensor; // empty for .npy
};

// `flag` is for messages.
Result<TensorSource> parseTensorSource(std::string_view flag,
                                       const std::string &text);

// A tensor in a file that is kept open.
struct FileTensor {
  TensorView view;
  std::shared_ptr<const void> keeper;
};
Result<FileTensor> openTensor(const TensorSource &source);

// A global tensor in memory of our own.
struct OwnedTensor {
  std::string name;
  moert_dtype dtype = MOERT_F32;
  std::vector<int64_t> shape;
  AlignedBuffer buffer;

  HostTensor host() const { return {name, dtype, shape, buffer.data()}; }
};
Result<OwnedTensor> makeTensor(const std::string &name, moert_dtype dtype,
                               std::vector<int64_t> shape);
// Copies, converting between float types; anything else must match.
Result<OwnedTensor> convertTensor(const std::string &name,
                                  const FileTensor &from, moert_dtype dtype);

// One line to stderr, "note: ...".
void note(const std::string &line);

} // namespace moert

#endif
