// NCCL, opened at run time: our own declarations of what we call, compared with
// nccl.h where there is one.
#ifndef MOERT_CUDA_NCCL_LIBRARY_H
#define MOERT_CUDA_NCCL_LIBRARY_H

#include "cuda/driver.h"

#include <climits>
#include <string>

namespace moert::cuda {

using NcclHandle = struct OpaqueNccl *;

struct NcclId {
  char bytes[128];
};

// Of NCCL 2.18, which every later version takes as well.
struct NcclConfig {
  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21800;
  int blocking = INT_MIN; // INT_MIN: the library's own choice
  int cgaClusterSize = INT_MIN;
  int minCtas = INT_MIN;
  int maxCtas = INT_MIN;
  const char *netName = nullptr;
  int splitShare = INT_MIN;
};

inline constexpr int NcclSuccess = 0;
inline constexpr int NcclInProgress = 7;
inline constexpr int NcclBytes = 0; // ncclInt8

class NcclLibrary {
public:
  // The library that MOERT_NCCL_LIB names, else libnccl.so.2.
  static Result<std::shared_ptr<const NcclLibrary>> open();

#define MOERT_NCCL(name, symbol, result, types) result(*name) types = nullptr;
#include "cuda/nccl_library.def"

  // "2.28.9"
  std::string version() const;
  // An error unless `code` is success or still in progress.
  Status check(int code, NcclHandle handle, std::string_view what) const;

private:
  NcclLibrary() = default;
};

} // namespace moert::cuda

#endif
