#include "cuda/cuda_device.h"

#include "cuda/queue.h"

#include <map>
#include <mutex>

using namespace moert;
using namespace moert::cuda;

namespace {

// What the ranks of one process show each other: for each the event behind
// which its buffers are ready to be read, or have been read.
class RankEvents {
public:
  void add(int rank, Event event) {
    std::lock_guard<std::mutex> lock(mutex);
    events.insert_or_assign(rank, std::move(event));
  }
  const Event &of(int rank) const {
    std::lock_guard<std::mutex> lock(mutex);
    return events.at(rank);
  }

private:
  mutable std::mutex mutex;
  std::map<int, Event> events;
};

// Data moves on the stream of the rank that takes it.
class StreamMover final : public Mover {
public:
  StreamMover(StreamQueue &queue, std::shared_ptr<RankEvents> events, int rank)
      : stream(queue), events(std::move(events)), rank(rank) {}

  Status publish() override { return stream.record(events->of(rank)); }
  Status await(int other) override {
    return other == rank ? Status() : stream.await(events->of(other));
  }
  Status copy(void *target, const void *source, int64_t size) override {
    return stream.copy(target, source, size);
  }
  Status sum(moert_dtype dtype, std::span<const void *const> sources,
             void *target, int64_t count) override;
  Queue *queue() override { return &stream; }

private:
  StreamQueue &stream;
  std::shared_ptr<RankEvents> events;
  int rank;
  Memory gathered; // grows to the largest sum that was asked for
};

class CudaDevice final : public Device {
public:
  CudaDevice(std::shared_ptr<Context> context,
             std::shared_ptr<const Kernels> kernels)
      : context(std::move(context)), kernels(std::move(kernels)) {}

  bool isHost() const override { return false; }
  std::string name() const override { return context->name(); }
  Result<Memory> allocate(int64_t size, std::string_view what) override {
    return context->allocate(size, what);
  }
  Result<std::unique_ptr<Queue>> makeQueue(const Function &function) override;
  Result<std::unique_ptr<Mover>> makeMover(Queue *queue, int rank) override;

private:
  std::shared_ptr<Context> context;
  std::shared_ptr<const Kernels> kernels;
  std::shared_ptr<RankEvents> events = std::make_shared<RankEvents>();
};

} // namespace

// The kernel adds blocks that stand one after another, each aligned.
Status StreamMover::sum(moert_dtype dtype, std::span<const void *const> sources,
                        void *target, int64_t count) {
  int64_t size = static_cast<int64_t>(dtypeSize(dtype));
  int64_t members = static_cast<int64_t>(sources.size());
  int64_t stride = StreamQueue::sumStride(count);
  MOERT_TRY(stream.grow(gathered, stride * size * members,
                        "what a sum takes from other ranks"));
  for (int64_t i = 0; i < members; ++i)
    MOERT_TRY(
        stream.copy(static_cast<char *>(gathered.data()) + i * stride * size,
                    sources[static_cast<size_t>(i)], count * size));
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
  events->add(rank, std::move(*event));
  return std::unique_ptr<Mover>(std::make_unique<StreamMover>(
      static_cast<StreamQueue &>(*queue), events, rank));
}

Result<std::shared_ptr<Device>>
moert::cuda::openDevice(int number, const Artifact &artifact) {
  Result<std::shared_ptr<Context>> context = Context::open(number);
  if (!context.ok())
    return context.status();
  MOERT_TRY((*context)->checkArch(artifact.manifest().target.arch));
  Result<std::shared_ptr<const Kernels>> kernels =
      Kernels::load(*context, artifact);
  if (!kernels.ok())
    return kernels.status();
  return std::shared_ptr<Device>(
      std::make_shared<CudaDevice>(*context, *kernels));
}
