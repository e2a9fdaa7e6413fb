#include "cuda/context.h"

#include <algorithm>
#include <cctype>

using namespace moert;
using namespace moert::cuda;

static Result<int> countDevices(const Driver &driver) {
  int count = 0;
  MOERT_TRY(driver.check(driver.deviceGetCount(&count),
                         "cannot count the CUDA devices"));
  return count;
}

Result<int> moert::cuda::deviceCount() {
  Result<std::shared_ptr<const Driver>> driver = Driver::open();
  return driver.ok() ? countDevices(**driver) : Result<int>(driver.status());
}

Result<std::shared_ptr<Context>> Context::open(int device) {
  Result<std::shared_ptr<const Driver>> driver = Driver::open();
  if (!driver.ok())
    return driver.status();
  Result<int> count = countDevices(**driver);
  if (!count.ok())
    return count.status();
  if (device < 0 || device >= *count)
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT, "there is no CUDA device ", device,
        ", this process sees ", *count,
        *count > 0 ? concat("; the last is ", *count - 1) : std::string());
  std::shared_ptr<Context> context(new Context);
  context->api = *driver;
  context->number = device;
  const Driver &api = **driver;
  MOERT_TRY(api.check(api.deviceGet(&context->handle, device),
                      concat("cannot open CUDA device ", device)));
  char name[256] = {};
  MOERT_TRY(api.check(api.deviceGetName(name, sizeof(name), context->handle),
                      "cannot read the device's name"));
  context->deviceName = name;
  int values[4] = {};
  int attributes[] = {MultiprocessorCount, MaxSharedBytesOptIn,
                      ComputeCapabilityMajor, ComputeCapabilityMinor};
  for (int i = 0; i < 4; ++i)
    MOERT_TRY(api.check(
        api.deviceGetAttribute(&values[i], attributes[i], context->handle),
        "cannot read what the device can do"));
  context->multiprocessors = values[0];
  context->sharedBytes = values[1];
  context->capability = 10 * values[2] + values[3];
  MOERT_TRY(
      api.check(api.primaryContextRetain(&context->primary, context->handle),
                concat("cannot make a context on CUDA device ", device)));
  MOERT_TRY(context->enter());
  return context;
}

Context::~Context() {
  if (primary)
    (void)api->primaryContextRelease(handle);
}

Status Context::enter() const {
  return check(api->contextSetCurrent(primary), "cannot use the CUDA context");
}

// Stays so as long as the process has the primary contexts, as others in it
// (PyTorch) do: who was first does not matter.
Result<bool> Context::reach(const Context &other) const {
  std::string what = concat("cannot let CUDA device ", number,
                            " read the memory of device ", other.number);
  int can = 0;
  MOERT_TRY(check(api->deviceCanAccessPeer(&can, handle, other.handle), what));
  if (!can)
    return false;
  MOERT_TRY(enter());
  int code = api->contextEnablePeerAccess(other.primary, 0);
  if (code == TooManyPeers)
    return false;
  if (code != PeerAccessAlreadyEnabled)
    MOERT_TRY(check(code, what));
  return true;
}

// "sm_90a": what ends with a letter runs on just this capability, anything else
// on later ones of the same major number as well.
Status Context::checkArch(const std::string &arch) const {
  auto refuse = [&](std::string_view why) {
    return Status::error(MOERT_ERROR_UNSUPPORTED, "the artifact is for ",
                         printable(arch), ", CUDA device ", number, " (",
                         printable(deviceName), ") is sm_", capability, why);
  };
  std::string digits = arch.starts_with("sm_") ? arch.substr(3) : std::string();
  bool isExact = !digits.empty() && std::isalpha(digits.back());
  if (isExact)
    digits.pop_back();
  if (digits.empty() || digits.size() > 4 ||
      !std::all_of(digits.begin(), digits.end(),
                   [](unsigned char c) { return std::isdigit(c); }))
    return refuse(", expected an architecture such as sm_90a");
  int needed = std::stoi(digits);
  bool fits = isExact ? capability == needed
                      : capability >= needed && capability / 10 == needed / 10;
  return fits ? Status() : refuse("; compile for it with --target=cuda");
}

Result<Memory> Context::allocate(int64_t size, std::string_view what) {
  MOERT_TRY(enter());
  DevicePointer pointer = 0;
  size_t asked = static_cast<size_t>(std::max<int64_t>(size, 256));
  Status status = check(
      api->memoryAllocate(&pointer, asked),
      concat("cannot allocate ", size, " bytes of device memory for ", what));
  if (!status.ok()) {
    size_t free = 0, total = 0;
    if (api->memoryGetInfo(&free, &total) != Success)
      return status;
    return Status::error(status.code(), status.message(), "; ", free, " of ",
                         total, " bytes are free");
  }
  return Memory(reinterpret_cast<void *>(pointer), size,
                [self = shared_from_this()](void *memory) {
                  if (memory && self->enter().ok())
                    (void)self->api->memoryFree(address(memory));
                });
}

Result<Memory> Context::allocateHost(int64_t size, std::string_view what) {
  MOERT_TRY(enter());
  void *pointer = nullptr;
  size_t asked = static_cast<size_t>(std::max<int64_t>(size, 256));
  MOERT_TRY(check(api->hostAllocate(&pointer, asked, 0),
                  concat("cannot allocate ", size,
                         " bytes of pinned host memory for ", what)));
  return Memory(pointer, size, [self = shared_from_this()](void *memory) {
    if (memory && self->enter().ok())
      (void)self->api->hostFree(memory);
  });
}
