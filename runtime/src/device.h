// Where a session's programs compute. A program runs on the host; on the device
// `cpu` it computes there itself, on `cuda` it puts work into its rank's queue.
#ifndef MOERT_DEVICE_H
#define MOERT_DEVICE_H

#include "artifact.h"
#include "comm/mover.h"
#include "device_memory.h"
#include "launch/discovery.h"
#include "moert/abi.h"
#include "trace.h"

#include <functional>
#include <memory>

namespace moert {

// One rank's work on a device, done in the order in which it is put in. One
// thread at a time, which has called `enter`.
class Queue {
public:
  virtual ~Queue() = default;

  // Before a thread uses the queue.
  virtual Status enter() = 0;

  // What the entry points of the same names do.
  virtual Status launch(int32_t kernel, int64_t grid,
                        const void *const *args) = 0;
  virtual Status tensorMap(int32_t slot, const moert_tensor_map &map) = 0;
  virtual Status copy(void *target, const void *source, int64_t bytes) = 0;
  virtual Status fill(void *target, int32_t value, int64_t bytes) = 0;
  virtual Status read(void *host, const void *source, int64_t bytes) = 0;

  // From and to host memory, which must stay as it is until `finish`.
  virtual Status upload(void *target, const void *host, int64_t bytes) = 0;
  virtual Status download(void *host, const void *source, int64_t bytes) = 0;
  // Waits until all is done, and says what a kernel complained of.
  virtual Status finish() = 0;
  // From now on work goes to this stream of the caller's, or to our own.
  virtual void useStream(void *stream) = 0;
  virtual void useOwnStream() = 0;
  // Whether what is put in is recorded, not done (a CUDA graph is made).
  virtual Result<bool> isCapturing() = 0;
  // Before a run is put in: refuses to record a run like the last one that was
  // done if that one read counts, before any rank has begun.
  virtual Status beginRun() = 0;

  // While spans are wanted, what is put in between `beginSpan` and `endSpan` is
  // one on the stream, and so is each launch; else these do nothing. What
  // kernels of a graph do is not seen.
  virtual Status wantSpans() = 0;
  virtual Status beginSpan(SpanKind kind, std::string_view name,
                           int64_t group) = 0;
  virtual Status endSpan(int64_t bytes) = 0;
  // After `finish`: all spans since they were wanted; no more are.
  virtual Status takeSpans(Track &track) = 0;

  // The word where kernels write a moert_failure.
  virtual int32_t *statusWord() = 0;
  // Asked while a thread waits, with the seconds so far; an error ends the
  // wait.
  std::function<Status(double seconds)> whileWaiting;
};

class Device {
public:
  virtual ~Device() = default;

  // Buffers are host memory, and a rank has as many threads as are asked for;
  // else one thread drives a rank's queue.
  virtual bool isHost() const = 0;
  virtual std::string name() const = 0;
  // Makes it that of the calling thread, for libraries that go by that.
  virtual Status enter() = 0;
  // For the thread that works for a rank, or any other.
  virtual Result<Memory> allocate(int64_t size, std::string_view what) = 0;
  // Null on the host. `maps` is the number of the function's tensor maps.
  virtual Result<std::unique_ptr<Queue>>
  makeQueue(const Function &function) = 0;
  // How a rank's data moves between ranks of this process; null on the host.
  virtual Result<std::unique_ptr<Mover>> makeMover(Queue *queue, int rank) = 0;
};

// What a user asks for: "cpu" or "cuda", empty where the artifact says it, and
// which of several GPUs.
struct DeviceChoice {
  std::string name;
  std::vector<int> numbers; // ranks take them in turn; empty: what fits
  bool all = false;         // each that the process sees
};

// What they are for.
struct DeviceUse {
  int ranks = 1;                // of this process
  bool oneEach = false;         // no two ranks of this process may share one
  std::optional<Launch> launch; // this process is one of several
};

// A device for each rank of this process, ready for the artifact's kernels.
// Ranks share objects where they share devices. `log` is told how data moves
// between devices that cannot reach each other.
Result<std::vector<std::shared_ptr<Device>>>
openDevices(const DeviceChoice &choice, const DeviceUse &use,
            const Artifact &artifact,
            const std::function<void(const std::string &)> &log);
// "NVIDIA H200", "2 x NVIDIA H200".
std::string
describeDevices(const std::vector<std::shared_ptr<Device>> &devices);

} // namespace moert

#endif
