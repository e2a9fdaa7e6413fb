// One rank's stream, its tensor maps, and what kernels report.
#ifndef MOERT_CUDA_QUEUE_H
#define MOERT_CUDA_QUEUE_H

#include "cuda/kernels.h"
#include "cuda/timeline.h"
#include "device.h"

namespace moert::cuda {

class StreamQueue final : public Queue {
public:
  static Result<std::unique_ptr<StreamQueue>>
  make(std::shared_ptr<Context> context, std::shared_ptr<const Kernels> kernels,
       int64_t maps);
  ~StreamQueue() override;

  Status enter() override { return context->enter(); }
  Status launch(int32_t kernel, int64_t grid, const void *const *args) override;
  Status tensorMap(int32_t slot, const moert_tensor_map &map) override;
  Status copy(void *target, const void *source, int64_t bytes) override;
  Status fill(void *target, int32_t value, int64_t bytes) override;
  Status read(void *host, const void *source, int64_t bytes) override;
  Status upload(void *target, const void *host, int64_t bytes) override;
  Status download(void *host, const void *source, int64_t bytes) override;
  Status finish() override;
  void useStream(void *stream) override {
    current = static_cast<StreamHandle>(stream);
  }
  void useOwnStream() override { current = own; }
  Result<bool> isCapturing() override;
  Status beginRun() override;
  Status wantSpans() override;
  Status beginSpan(SpanKind kind, std::string_view name,
                   int64_t group) override;
  Status endSpan(int64_t bytes) override;
  Status takeSpans(Track &track) override;
  int32_t *statusWord() override {
    return static_cast<int32_t *>(status.data());
  }

  // From memory of a device that may be another.
  Status copyFrom(const Context &there, void *target, const void *source,
                  int64_t bytes);

  const std::shared_ptr<Context> &on() const { return context; }
  StreamHandle stream() const { return current; }
  // Makes memory at least so large, which no capture can.
  Status grow(Memory &memory, int64_t bytes, std::string_view what);
  // The artifact's kernel adds `members` blocks of `count` elements, which
  // stand sumStride(count) elements apart.
  static int64_t sumStride(int64_t count) { return (count + 63) / 64 * 64; }
  Status sum(moert_dtype dtype, void *target, const void *source, int64_t count,
             int64_t members);
  Status record(const Event &event);
  Status await(const Event &event);

private:
  StreamQueue(std::shared_ptr<Context> context,
              std::shared_ptr<const Kernels> kernels, int64_t maps)
      : context(std::move(context)), kernels(std::move(kernels)),
        maps(static_cast<size_t>(maps)), bound(maps, false) {}
  Status wait();
  Status check(int code, std::string_view what) const {
    return context->check(code, what);
  }

  std::shared_ptr<Context> context;
  std::shared_ptr<const Kernels> kernels;
  StreamHandle own = nullptr, current = nullptr;
  std::vector<TensorMap> maps;
  std::vector<bool> bound;
  bool readInRun = false;           // in the last run that was not recorded
  std::optional<Timeline> timeline; // while spans are wanted
  Memory status;                    // one word on the device
  Memory statusCopy;                // and on the host
};

} // namespace moert::cuda

#endif
