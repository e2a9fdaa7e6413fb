#include "device.h"

#include "aligned_buffer.h"
#include "cuda/cuda_device.h"

#include <cstdlib>

using namespace moert;

namespace {

class HostDevice final : public Device {
public:
  bool isHost() const override { return true; }
  std::string name() const override { return "cpu"; }
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

Result<std::shared_ptr<Device>> moert::openDevice(const std::string &name,
                                                  int number,
                                                  const Artifact &artifact) {
  const std::string &kind = artifact.manifest().target.kind;
  if (!name.empty() && name != "cpu" && name != "cuda")
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "there is no device '",
                         printable(name), "'", suggest(name, {"cpu", "cuda"}));
  if (!name.empty() && name != kind)
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT, "the artifact is compiled for ", kind,
        ", not for the device ", name, "; compile it with --target=", name);
  if (kind == "cuda")
    return cuda::openDevice(number, artifact);
  return std::shared_ptr<Device>(std::make_shared<HostDevice>());
}
