#include "cuda/cuda_device.h"

#include "cuda/queue.h"

#include <map>
#include <mutex>

using namespace moert;
using namespace moert::cuda;

namespace {

// What the ranks of one process show each other: where each one's buffers are,
// and the event behind which they are ready to be read, or have been read.
struct Shown {
  std::shared_ptr<Context> context;
  Event event;
};
class ShownByRanks {
public:
  void add(int rank, Shown shown) {
    std::lock_guard<std::mutex> lock(mutex);
    all.insert_or_assign(rank, std::move(shown));
  }
  const Shown &of(int rank) const {
    std::lock_guard<std::mutex> lock(mutex);
    return all.at(rank);
  }

private:
  mutable std::mutex mutex;
  std::map<int, Shown> all;
};

// Data moves on the stream of the rank that takes it.
class StreamMover final : public Mover {
public:
  StreamMover(StreamQueue &queue, std::shared_ptr<ShownByRanks> shown, int rank)
      : stream(queue), shown(std::move(shown)), rank(rank) {}

  Status publish() override { return stream.record(shown->of(rank).event); }
  Status await(int other) override {
    return other == rank ? Status() : stream.await(shown->of(other).event);
  }
  Status copy(void *target, const void *source, int64_t size,
              int from) override {
    return stream.copyFrom(*shown->of(from).context, target, source, size);
  }
  Status sum(moert_dtype dtype, std::span<const void *const> sources,
             std::span<const int> ranks, void *target, int64_t count) override;
  Queue *queue() override { return &stream; }

private:
  StreamQueue &stream;
  std::shared_ptr<ShownByRanks> shown;
  int rank;
  Memory gathered; // grows to the largest sum that was asked for
};

class CudaDevice final : public Device {
public:
  CudaDevice(std::shared_ptr<Context> context,
             std::shared_ptr<const Kernels> kernels,
             std::shared_ptr<ShownByRanks> shown)
      : context(std::move(context)), kernels(std::move(kernels)),
        shown(std::move(shown)) {}

  bool isHost() const override { return false; }
  std::string name() const override { return context->name(); }
  Status enter() override { return context->enter(); }
  Result<Memory> allocate(int64_t size, std::string_view what) override {
    return context->allocate(size, what);
  }
  Result<std::unique_ptr<Queue>> makeQueue(const Function &function) override;
  Result<std::unique_ptr<Mover>> makeMover(Queue *queue, int rank) override;
  Result<bool> reach(const CudaDevice &other) const {
    return context->reach(*other.context);
  }

private:
  std::shared_ptr<Context> context;
  std::shared_ptr<const Kernels> kernels;
  std::shared_ptr<ShownByRanks> shown; // of all devices together
};

} // namespace

// The kernel adds blocks that stand one after another, each aligned.
Status StreamMover::sum(moert_dtype dtype, std::span<const void *const> sources,
                        std::span<const int> ranks, void *target,
                        int64_t count) {
  int64_t size = static_cast<int64_t>(dtypeSize(dtype));
  int64_t members = static_cast<int64_t>(sources.size());
  int64_t stride = StreamQueue::sumStride(count);
  MOERT_TRY(stream.grow(gathered, stride * size * members,
                        "what a sum takes from other ranks"));
  for (size_t i = 0; i < sources.size(); ++i)
    MOERT_TRY(copy(static_cast<char *>(gathered.data()) +
                       static_cast<int64_t>(i) * stride * size,
                   sources[i], count * size, ranks[i]));
  return stream.sum(dtype, target, gathered.data(), count, members);
}

Result<std::unique_ptr<Queue>> CudaDevice::makeQueue(const Function &function) {
  Result<std::unique_ptr<StreamQueue>> queue =
      StreamQueue::make(context, kernels, function.tensorMaps);
  if (!queue.ok())
    return queue.status();
  return std::unique_ptr<Queue>(std::move(*queue));
}

Result<std::unique_ptr<Mover>> CudaDevice::makeMover(Queue *queue, int rank) {
  MOERT_TRY(context->enter());
  Result<Event> event = Event::make(context, /*isTimed=*/false);
  if (!event.ok())
    return event.status();
  shown->add(rank, {context, std::move(*event)});
  return std::unique_ptr<Mover>(std::make_unique<StreamMover>(
      static_cast<StreamQueue &>(*queue), shown, rank));
}

// Copies between devices that cannot reach each other are slow, and right.
static Status connect(const std::map<int, std::shared_ptr<CudaDevice>> &devices,
                      const std::function<void(const std::string &)> &log) {
  for (const auto &[number, device] : devices)
    for (const auto &[otherNumber, other] : devices) {
      if (number == otherNumber)
        continue;
      Result<bool> reaches = device->reach(*other);
      if (!reaches.ok())
        return reaches.status();
      if (!*reaches)
        log(concat("CUDA device ", number,
                   " cannot reach the memory of device ", otherNumber,
                   ": what moves between them takes the way by "
                   "the host"));
    }
  return {};
}

Result<std::vector<std::shared_ptr<Device>>>
moert::cuda::openDevices(const std::vector<int> &numbers,
                         const Artifact &artifact, bool connected,
                         const std::function<void(const std::string &)> &log) {
  auto shown = std::make_shared<ShownByRanks>();
  std::map<int, std::shared_ptr<CudaDevice>> opened;
  std::vector<std::shared_ptr<Device>> devices;
  for (int number : numbers) {
    std::shared_ptr<CudaDevice> &device = opened[number];
    if (!device) {
      Result<std::shared_ptr<Context>> context = Context::open(number);
      if (!context.ok())
        return context.status();
      MOERT_TRY((*context)->checkArch(artifact.manifest().target.arch));
      Result<std::shared_ptr<const Kernels>> kernels =
          Kernels::load(*context, artifact);
      if (!kernels.ok())
        return kernels.status();
      device = std::make_shared<CudaDevice>(*context, *kernels, shown);
    }
    devices.push_back(device);
  }
  if (connected)
    MOERT_TRY(connect(opened, log));
  return devices;
}
