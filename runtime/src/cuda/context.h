// One GPU as this process uses it: the primary context, which PyTorch and
// others use as well, and its memory.
#ifndef MOERT_CUDA_CONTEXT_H
#define MOERT_CUDA_CONTEXT_H

#include "cuda/driver.h"
#include "device_memory.h"

namespace moert::cuda {

class Context : public std::enable_shared_from_this<Context> {
public:
  // The device of this number among those that the process sees.
  static Result<std::shared_ptr<Context>> open(int device);
  ~Context();

  const Driver &driver() const { return *api; }
  int device() const { return number; }
  const std::string &name() const { return deviceName; }
  int processors() const { return multiprocessors; }
  int64_t maxSharedBytes() const { return sharedBytes; }

  // Makes the context that of the calling thread.
  Status enter() const;
  ContextHandle get() const { return primary; }
  // Lets this device read the other's memory. False where the two cannot, and
  // copies go by way of the host.
  Result<bool> reach(const Context &other) const;
  // Refuses an artifact's `sm_90a` that this device cannot run.
  Status checkArch(const std::string &arch) const;
  // Device memory; not initialised, aligned to 256 bytes.
  Result<Memory> allocate(int64_t size, std::string_view what);
  // Host memory that the device copies from and to without the host's help.
  Result<Memory> allocateHost(int64_t size, std::string_view what);
  Status check(int code, std::string_view what) const {
    return api->check(code, what);
  }

private:
  Context() = default;

  std::shared_ptr<const Driver> api;
  int number = 0;
  DeviceHandle handle = 0;
  ContextHandle primary = nullptr;
  std::string deviceName;
  int multiprocessors = 0;
  int64_t sharedBytes = 0;
  int capability = 0; // 90 is 9.0
};

// The number of GPUs; an error where there is no driver.
Result<int> deviceCount();

} // namespace moert::cuda

#endif
