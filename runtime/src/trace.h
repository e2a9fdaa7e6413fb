// What the threads and the stream of a rank did, and when. Only sessions that
// are traced have one.
#ifndef MOERT_TRACE_H
#define MOERT_TRACE_H

#include <cstdint>
#include <string_view>
#include <vector>

namespace moert {

// Nanoseconds of the clock that all spans are told in.
int64_t traceClock();

enum class SpanKind { Run, Prepare, Step, Barrier, Collective, Kernel };
const char *spanKindName(SpanKind kind);

struct Span {
  SpanKind kind = SpanKind::Run;
  std::string_view name; // lives as long as the artifact
  int64_t begin = 0;
  int64_t end = 0;
  // Of collectives alone.
  int64_t group = -1;
  int64_t bytes = -1; // sent to other ranks
};

// What one thread or one stream did; spans nest or are apart.
class Track {
public:
  // Spans that an earlier, failed run left open are dropped.
  void restart() { open.clear(); }
  void begin(SpanKind kind, std::string_view name, int64_t group = -1);
  // Of the span begun last.
  void end(int64_t bytes = -1);
  // Ends the current step, if there is one, and begins the next, if `name` is
  // not empty.
  void step(std::string_view name);
  void add(const Span &span) { done.push_back(span); }

  // In the order in which they ended.
  const std::vector<Span> &spans() const { return done; }

  // That of the thread that asks; null where it works for no traced rank.
  static Track *&current();

private:
  std::vector<Span> open, done;
};

// A span as long as it lives, if there is a track.
class SpanScope {
public:
  SpanScope(Track *track, SpanKind kind, std::string_view name,
            int64_t group = -1)
      : track(track) {
    if (track)
      track->begin(kind, name, group);
  }
  SpanScope(const SpanScope &) = delete;
  SpanScope &operator=(const SpanScope &) = delete;
  ~SpanScope() {
    if (track)
      track->end(bytes);
  }

  int64_t bytes = -1;

private:
  Track *const track;
};

class Trace {
public:
  explicit Trace(int threads) : threads(static_cast<size_t>(threads)) {}

  std::vector<Track> threads;
  Track stream; // of a device
};

// While it lives, the calling thread's spans go to a track (null: nowhere).
class TrackScope {
public:
  explicit TrackScope(Track *track) {
    Track::current() = track;
    if (track)
      track->restart();
  }
  TrackScope(const TrackScope &) = delete;
  TrackScope &operator=(const TrackScope &) = delete;
  ~TrackScope() { Track::current() = nullptr; }
};

} // namespace moert

#endif
