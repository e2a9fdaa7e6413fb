// The device `cuda`.
#ifndef MOERT_CUDA_CUDA_DEVICE_H
#define MOERT_CUDA_CUDA_DEVICE_H

#include "device.h"

namespace moert::cuda {

// Opens a GPU and loads the artifact's kernels.
Result<std::shared_ptr<Device>> openDevice(int number,
                                           const Artifact &artifact);

} // namespace moert::cuda

#endif
