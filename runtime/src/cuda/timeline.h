// When the work in a stream began and ended, by events around it.
#ifndef MOERT_CUDA_TIMELINE_H
#define MOERT_CUDA_TIMELINE_H

#include "cuda/event.h"
#include "trace.h"

#include <vector>

namespace moert::cuda {

class Timeline {
public:
  // Waits for the stream, so that its clock can be told in ours.
  static Result<Timeline> start(std::shared_ptr<Context> context,
                                StreamHandle stream);

  Status begin(StreamHandle stream, SpanKind kind, std::string_view name,
               int64_t group);
  // Of what was begun last.
  Status end(StreamHandle stream, int64_t bytes);
  // When all is done.
  Status take(Track &track);

private:
  struct Pending {
    Span span;
    Event begin, end;
  };
  Timeline(std::shared_ptr<Context> context, Event zero)
      : context(std::move(context)), zero(std::move(zero)) {}
  // In our clock.
  Result<int64_t> timeOf(const Event &event) const;

  std::shared_ptr<Context> context;
  Event zero;
  int64_t zeroTime = 0;
  std::vector<Pending> all;
  std::vector<size_t> open;
};

} // namespace moert::cuda

#endif
