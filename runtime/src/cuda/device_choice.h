// Which GPU each rank of this process takes.
#ifndef MOERT_CUDA_DEVICE_CHOICE_H
#define MOERT_CUDA_DEVICE_CHOICE_H

#include "device.h"

namespace moert::cuda {

// A number for each rank that this process has.
Result<std::vector<int>> chooseDevices(const DeviceChoice &choice,
                                       const DeviceUse &use);

} // namespace moert::cuda

#endif
