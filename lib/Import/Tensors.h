// Names, types and shapes of the tensors of a checkpoint; never their data.
#ifndef MOE_LIB_IMPORT_TENSORS_H
#define MOE_LIB_IMPORT_TENSORS_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <string>

namespace moe::import {

struct TensorInfo {
  /// As safetensors spells it: "F32", "BF16", "F8_E4M3", "U8"...
  std::string dtype;
  llvm::SmallVector<int64_t> shape;
};

/// The tensors of a folder. Of a checkpoint in several files the headers are
/// read only where a tensor of theirs is asked for.
class Tensors {
public:
  /// Looks for model.safetensors, then for model.safetensors.index.json; other
  /// files are ignored. Neither: `empty`.
  static llvm::Expected<Tensors> open(llvm::StringRef folder);

  bool empty() const { return names.empty(); }
  /// The file that lists the tensors, for messages.
  llvm::StringRef listing() const { return listingFile; }
  bool contains(llvm::StringRef name) const { return names.contains(name); }
  /// Type and shape; null where the index names a file that is not there (an
  /// index alone is enough to import).
  llvm::Expected<const TensorInfo *> info(llvm::StringRef name);
  /// The file that holds a tensor, for messages.
  std::string fileOf(llvm::StringRef name) const;

private:
  using Header = llvm::StringMap<TensorInfo>;
  struct File {
    bool isRead = false;
    bool isThere = false;
    Header header;
  };

  llvm::Error readIndex();
  static llvm::Expected<Header> readHeader(const std::string &file);

  std::string folder;
  std::string listingFile;
  /// Tensor -> file in the folder.
  llvm::StringMap<std::string> names;
  llvm::StringMap<File> files;
};

} // namespace moe::import
#endif
