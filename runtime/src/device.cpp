#include "device.h"

#include "aligned_buffer.h"
#include "cuda/cuda_device.h"
#include "cuda/device_choice.h"

#include <cstdlib>
#include <map>
#include <set>

using namespace moert;

namespace {

class HostDevice final : public Device {
public:
  bool isHost() const override { return true; }
  std::string name() const override { return "cpu"; }
  Status enter() override { return {}; }
  Result<Memory> allocate(int64_t size, std::string_view what) override {
    Result<AlignedBuffer> buffer = AlignedBuffer::allocate(size, what);
    if (!buffer.ok())
      return buffer.status();
    return Memory(buffer->release(), size, std::free);
  }
  Result<std::unique_ptr<Queue>> makeQueue(const Function &) override {
    return std::unique_ptr<Queue>();
  }
  Result<std::unique_ptr<Mover>> makeMover(Queue *, int) override {
    return std::unique_ptr<Mover>();
  }
};

} // namespace

static Status checkName(const std::string &name, const std::string &kind) {
  if (!name.empty() && name != "cpu" && name != "cuda")
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "there is no device '",
                         printable(name), "'", suggest(name, {"cpu", "cuda"}));
  if (!name.empty() && name != kind)
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT, "the artifact is compiled for ", kind,
        ", not for the device ", name, "; compile it with --target=", name);
  return {};
}

Result<std::vector<std::shared_ptr<Device>>>
moert::openDevices(const DeviceChoice &choice, const DeviceUse &use,
                   const Artifact &artifact,
                   const std::function<void(const std::string &)> &log) {
  const std::string &kind = artifact.manifest().target.kind;
  MOERT_TRY(checkName(choice.name, kind));
  if (kind != "cuda") {
    if (!choice.numbers.empty() || choice.all)
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                           "CUDA devices are listed, but the artifact is "
                           "compiled for ",
                           kind, "; compile it with --target=cuda");
    return std::vector<std::shared_ptr<Device>>(static_cast<size_t>(use.ranks),
                                                std::make_shared<HostDevice>());
  }
  Result<std::vector<int>> numbers = cuda::chooseDevices(choice, use);
  if (!numbers.ok())
    return numbers.status();
  // NCCL sees to that itself.
  return cuda::openDevices(*numbers, artifact, !use.oneEach, log);
}

std::string
moert::describeDevices(const std::vector<std::shared_ptr<Device>> &devices) {
  std::set<const Device *> seen;
  std::map<std::string, int> count; // by name
  for (const std::shared_ptr<Device> &device : devices)
    if (seen.insert(device.get()).second)
      ++count[device->name()];
  std::vector<std::string> texts;
  for (const auto &[name, number] : count)
    texts.push_back(number == 1 ? name : concat(number, " x ", name));
  return join(texts);
}
