#include "trace.h"

#include <chrono>

using namespace moert;

int64_t moert::traceClock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

const char *moert::spanKindName(SpanKind kind) {
  switch (kind) {
  case SpanKind::Run:
    return "run";
  case SpanKind::Prepare:
    return "prepare";
  case SpanKind::Step:
    return "step";
  case SpanKind::Barrier:
    return "barrier";
  case SpanKind::Collective:
    return "collective";
  case SpanKind::Kernel:
    return "kernel";
  }
  return "";
}

Track *&Track::current() {
  static thread_local Track *track = nullptr;
  return track;
}

void Track::begin(SpanKind kind, std::string_view name, int64_t group) {
  open.push_back(
      {.kind = kind, .name = name, .begin = traceClock(), .group = group});
}

void Track::end(int64_t bytes) {
  // Steps have no end of their own: what is around them ends them as well.
  int64_t now = traceClock();
  while (!open.empty()) {
    Span span = open.back();
    open.pop_back();
    span.end = now;
    bool isInner = span.kind == SpanKind::Step;
    if (!isInner)
      span.bytes = bytes;
    done.push_back(span);
    if (!isInner)
      return;
  }
}

void Track::step(std::string_view name) {
  int64_t now = traceClock();
  if (!open.empty() && open.back().kind == SpanKind::Step) {
    Span span = open.back();
    open.pop_back();
    span.end = now;
    done.push_back(span);
  }
  if (!name.empty())
    open.push_back({.kind = SpanKind::Step, .name = name, .begin = now});
}
