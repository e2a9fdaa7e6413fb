// libcuda, opened at run time: our own declarations of what we call, so that
// nothing of CUDA is needed to build and nothing of it is linked.
// driver_check.cpp compares them with cuda.h where there is one.
#ifndef MOERT_CUDA_DRIVER_H
#define MOERT_CUDA_DRIVER_H

#include "status.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace moert::cuda {

using DeviceHandle = int;
using DevicePointer = unsigned long long;
using ContextHandle = struct OpaqueContext *;
using StreamHandle = struct OpaqueStream *;
using EventHandle = struct OpaqueEvent *;
using GraphHandle = struct OpaqueGraph *;
using GraphExecHandle = struct OpaqueGraphExec *;
using ModuleHandle = struct OpaqueModule *;
using FunctionHandle = struct OpaqueFunction *;

struct alignas(128) TensorMap {
  uint64_t opaque[16];
};

struct LaunchAttribute {
  int id;
  int padding;
  union {
    char bytes[64];
    unsigned cluster[3];
    int flag;
  } value;
};

struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  unsigned sharedBytes;
  StreamHandle stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};

// The values of cuda.h's enumerations that we use.
inline constexpr int Success = 0;
inline constexpr int OutOfMemory = 2;
inline constexpr int NoDevice = 100;
inline constexpr int InvalidImage = 200;
inline constexpr int NoBinaryForGpu = 209;
inline constexpr int UnsupportedPtxVersion = 222;
inline constexpr int NotReady = 600;
inline constexpr int PeerAccessAlreadyEnabled = 704;
inline constexpr int TooManyPeers = 711;
inline constexpr int MultiprocessorCount = 16;
inline constexpr int ComputeCapabilityMajor = 75;
inline constexpr int ComputeCapabilityMinor = 76;
inline constexpr int MaxSharedBytesOptIn = 97;
inline constexpr int FunctionMaxDynamicSharedBytes = 8;
inline constexpr int FunctionNonPortableCluster = 14;
inline constexpr int AttributeClusterDimension = 4;
inline constexpr int AttributeEarlyLaunch = 6;
inline constexpr unsigned StreamNonBlocking = 1;
inline constexpr unsigned EventNoTiming = 2;
inline constexpr int CaptureThreadLocal = 1;
inline constexpr int CaptureNone = 0;
inline constexpr int JitErrorLogBuffer = 5;
inline constexpr int JitErrorLogBytes = 6;

class Driver {
public:
  // Opens the library that MOERT_CUDA_LIB names, else libcuda.so.1, and
  // initialises it. Fails with a message where there is no driver or no GPU.
  static Result<std::shared_ptr<const Driver>> open();
  ~Driver();
  Driver(const Driver &) = delete;
  Driver &operator=(const Driver &) = delete;

#define MOERT_CUDA(name, symbol, types) int(*name) types = nullptr;
#include "cuda/driver.def"

  // An error unless `code` is Success: "what: CUDA_ERROR_NAME (text)".
  Status check(int code, std::string_view what) const;

private:
  Driver() = default;
  Status load(const std::string &library);

  void *handle = nullptr;
};

inline DevicePointer address(const void *pointer) {
  return reinterpret_cast<DevicePointer>(pointer);
}

} // namespace moert::cuda

#endif
