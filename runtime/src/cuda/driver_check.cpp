// Our declarations of libcuda against the real ones, where there are any.
#include "cuda/driver.h"

#if __has_include(<cudaTypedefs.h>) && __has_include(<cuda.h>)
#include <cuda.h>

using namespace moert::cuda;

static_assert(sizeof(DeviceHandle) == sizeof(CUdevice));
static_assert(sizeof(DevicePointer) == sizeof(CUdeviceptr));
static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
static_assert(sizeof(LaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(LaunchAttribute, value) ==
              offsetof(CUlaunchAttribute, value));
static_assert(sizeof(LaunchConfig) == sizeof(CUlaunchConfig));
static_assert(offsetof(LaunchConfig, sharedBytes) ==
              offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(LaunchConfig, stream) ==
              offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(LaunchConfig, attributes) ==
              offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(LaunchConfig, attributeCount) ==
              offsetof(CUlaunchConfig, numAttrs));

static_assert(Success == CUDA_SUCCESS);
static_assert(OutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(NoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(InvalidImage == CUDA_ERROR_INVALID_IMAGE);
static_assert(NoBinaryForGpu == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(UnsupportedPtxVersion == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
static_assert(NotReady == CUDA_ERROR_NOT_READY);
static_assert(PeerAccessAlreadyEnabled ==
              CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
static_assert(TooManyPeers == CUDA_ERROR_TOO_MANY_PEERS);
static_assert(MultiprocessorCount == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(ComputeCapabilityMajor ==
              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(ComputeCapabilityMinor ==
              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(MaxSharedBytesOptIn ==
              CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(FunctionMaxDynamicSharedBytes ==
              CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(FunctionNonPortableCluster ==
              CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
static_assert(AttributeClusterDimension ==
              CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
static_assert(AttributeEarlyLaunch ==
              CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
static_assert(StreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(EventNoTiming == CU_EVENT_DISABLE_TIMING);
static_assert(CaptureThreadLocal == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
static_assert(CaptureNone == CU_STREAM_CAPTURE_STATUS_NONE);
static_assert(JitErrorLogBuffer == CU_JIT_ERROR_LOG_BUFFER);
static_assert(JitErrorLogBytes == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
#endif
