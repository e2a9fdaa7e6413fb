#include "cuda/timeline.h"

#include <cmath>

using namespace moert;
using namespace moert::cuda;

static Status record(Context &context, const Event &event,
                     StreamHandle stream) {
  return context.check(context.driver().eventRecord(event.get(), stream),
                       "cannot record an event");
}

Result<Timeline> Timeline::start(std::shared_ptr<Context> context,
                                 StreamHandle stream) {
  Result<Event> zero = Event::make(context, /*isTimed=*/true);
  if (!zero.ok())
    return zero.status();
  Timeline timeline(context, std::move(*zero));
  MOERT_TRY(context->check(context->driver().streamSynchronize(stream),
                           "the work on the device failed"));
  MOERT_TRY(record(*context, timeline.zero, stream));
  timeline.zeroTime = traceClock();
  return timeline;
}

Status Timeline::begin(StreamHandle stream, SpanKind kind,
                       std::string_view name, int64_t group) {
  Result<Event> begin = Event::make(context, /*isTimed=*/true);
  if (!begin.ok())
    return begin.status();
  Result<Event> end = Event::make(context, /*isTimed=*/true);
  if (!end.ok())
    return end.status();
  MOERT_TRY(record(*context, *begin, stream));
  open.push_back(all.size());
  all.push_back({{.kind = kind, .name = name, .group = group},
                 std::move(*begin),
                 std::move(*end)});
  return {};
}

Status Timeline::end(StreamHandle stream, int64_t bytes) {
  if (open.empty())
    return Status::error(MOERT_ERROR_INTERNAL, "a span ends that none began");
  Pending &pending = all[open.back()];
  open.pop_back();
  pending.span.bytes = bytes;
  return record(*context, pending.end, stream);
}

Result<int64_t> Timeline::timeOf(const Event &event) const {
  float milliseconds = 0;
  MOERT_TRY(context->check(context->driver().eventElapsedTime(
                               &milliseconds, zero.get(), event.get()),
                           "cannot read the time between events"));
  return zeroTime + std::llround(static_cast<double>(milliseconds) * 1e6);
}

Status Timeline::take(Track &track) {
  for (Pending &pending : all) {
    Result<int64_t> begin = timeOf(pending.begin), end = timeOf(pending.end);
    if (!begin.ok() || !end.ok())
      return begin.ok() ? end.status() : begin.status();
    pending.span.begin = *begin;
    pending.span.end = *end;
    track.add(pending.span);
  }
  return {};
}
