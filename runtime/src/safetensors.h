// Reading and writing safetensors files.
#ifndef MOERT_SAFETENSORS_H
#define MOERT_SAFETENSORS_H

#include "dtype.h"
#include "mapped_file.h"
#include "status.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

// A tensor inside a file; lives as long as the file is kept.
struct TensorView {
  FileDtype dtype = FileDtype::Other;
  std::string dtypeText; // as the file spells it
  std::vector<int64_t> shape;
  std::string_view bytes; // not necessarily aligned

  int64_t elements() const;
};

class SafetensorsFile {
public:
  // Maps the file and checks all that the format asks for: no byte is unclaimed
  // or claimed twice.
  static Result<std::shared_ptr<SafetensorsFile>> open(const std::string &path);
  // The same checks on bytes that somebody else keeps.
  static Result<std::map<std::string, TensorView>>
  parse(std::string_view bytes);

  // Null if there is no such tensor.
  const TensorView *find(const std::string &name) const;
  std::vector<std::string> names() const;
  const std::string &path() const { return file->path(); }

private:
  std::shared_ptr<MappedFile> file;
  std::map<std::string, TensorView> tensors;
};

struct NamedTensor {
  std::string name;
  moert_dtype dtype;
  std::vector<int64_t> shape;
  const void *data;
};

// Writes the file through a temporary one beside it. Equal tensors give equal
// bytes.
Status writeSafetensors(const std::string &path,
                        const std::vector<NamedTensor> &tensors);

} // namespace moert

#endif
