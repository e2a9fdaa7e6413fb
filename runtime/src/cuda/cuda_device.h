// The device `cuda`.
#ifndef MOERT_CUDA_CUDA_DEVICE_H
#define MOERT_CUDA_CUDA_DEVICE_H

#include "device.h"

namespace moert::cuda {

// Opens GPUs and loads the artifact's kernels on each: one for each number, the
// same for equal ones. Each may read the others' memory if they are
// `connected`, and `log` is told where they cannot.
Result<std::vector<std::shared_ptr<Device>>>
openDevices(const std::vector<int> &numbers, const Artifact &artifact,
            bool connected,
            const std::function<void(const std::string &)> &log);

} // namespace moert::cuda

#endif
