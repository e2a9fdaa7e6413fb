// A stream's work, recorded once and run many times, and how long that takes.
#ifndef MOERT_CUDA_GRAPH_H
#define MOERT_CUDA_GRAPH_H

#include "cuda/queue.h"

namespace moert::cuda {

class Graph {
public:
  // Records what `body` puts into the queue, which must use its own stream.
  static Result<Graph> capture(StreamQueue &queue,
                               const std::function<Status()> &body);
  Graph(Graph &&other) noexcept
      : context(std::move(other.context)),
        handle(std::exchange(other.handle, nullptr)) {}
  Graph &operator=(Graph &&) = delete;
  ~Graph();

  Status launch(StreamQueue &queue) const;

private:
  Graph(std::shared_ptr<Context> context, GraphExecHandle handle)
      : context(std::move(context)), handle(handle) {}

  std::shared_ptr<Context> context;
  GraphExecHandle handle;
};

// Seconds that each of `count` repetitions takes on the device, by events
// around each; waits for all of them.
Result<std::vector<double>> timeOnDevice(StreamQueue &queue, int64_t count,
                                         const std::function<Status()> &body);

} // namespace moert::cuda

#endif
