#include "cuda/graph.h"

using namespace moert;
using namespace moert::cuda;

Result<Graph> Graph::capture(StreamQueue &queue,
                             const std::function<Status()> &body) {
  const std::shared_ptr<Context> &context = queue.on();
  const Driver &driver = context->driver();
  MOERT_TRY(context->check(
      driver.streamBeginCapture(queue.stream(), CaptureThreadLocal),
      "cannot begin to capture the stream"));
  Status status = body();
  GraphHandle recorded = nullptr;
  Status ended =
      context->check(driver.streamEndCapture(queue.stream(), &recorded),
                     "cannot capture the stream");
  GraphExecHandle handle = nullptr;
  if (status.ok() && ended.ok())
    status = context->check(driver.graphInstantiate(&handle, recorded, 0),
                            "cannot make a graph of what was captured");
  if (recorded)
    (void)driver.graphDestroy(recorded);
  MOERT_TRY(status);
  MOERT_TRY(ended);
  return Graph(context, handle);
}

Graph::~Graph() {
  if (handle && context->enter().ok())
    (void)context->driver().graphExecDestroy(handle);
}

Status Graph::launch(StreamQueue &queue) const {
  return context->check(context->driver().graphLaunch(handle, queue.stream()),
                        "cannot run a graph");
}

Result<std::vector<double>>
moert::cuda::timeOnDevice(StreamQueue &queue, int64_t count,
                          const std::function<Status()> &body) {
  std::vector<Event> begins, ends;
  for (int64_t i = 0; i < count; ++i)
    for (std::vector<Event> *events : {&begins, &ends}) {
      Result<Event> event = Event::make(queue.on(), /*isTimed=*/true);
      if (!event.ok())
        return event.status();
      events->push_back(std::move(*event));
    }
  for (int64_t i = 0; i < count; ++i) {
    MOERT_TRY(queue.record(begins[i]));
    MOERT_TRY(body());
    MOERT_TRY(queue.record(ends[i]));
  }
  MOERT_TRY(queue.finish());
  std::vector<double> seconds;
  for (int64_t i = 0; i < count; ++i) {
    float milliseconds = 0;
    MOERT_TRY(
        queue.on()->check(queue.on()->driver().eventElapsedTime(
                              &milliseconds, begins[i].get(), ends[i].get()),
                          "cannot read the time between events"));
    seconds.push_back(milliseconds * 1e-3);
  }
  return seconds;
}
