#include "trace_file.h"

#include "launch/rendezvous.h"
#include "net/socket.h"
#include "whole_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>
#include <unistd.h>

using namespace moert;
using OrderedJson = nlohmann::ordered_json;

// Processes with the same one have the same clock.
static std::string nameOfBoot() {
  std::string text;
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::getline(file, text);
  return text;
}

Result<TraceFile> TraceFile::makeClock(const Session &session) {
  TraceFile trace;
  trace.zero = traceClock();
  Rendezvous *meeting = session.rendezvous();
  if (!meeting)
    return trace;
  // All are here when rank 0 tells the time, so that it is told without delay.
  MOERT_TRY(meeting->allGather("those who trace", "").status());
  std::string mine(sizeof(int64_t), '\0');
  trace.zero = traceClock();
  std::memcpy(mine.data(), &trace.zero, sizeof(trace.zero));
  mine += nameOfBoot();
  Result<std::string> first = meeting->broadcast("the time", mine);
  if (!first.ok())
    return first.status();
  int64_t now = traceClock();
  if (meeting->rank() == 0 || first->size() < sizeof(int64_t))
    return trace;
  if (!nameOfBoot().empty() &&
      first->substr(sizeof(int64_t)) == mine.substr(sizeof(int64_t)))
    std::memcpy(&trace.zero, first->data(), sizeof(trace.zero));
  else
    trace.zero = now;
  return trace;
}

// Chrome's times are microseconds; three digits are left for nanoseconds.
static std::string microseconds(int64_t nanoseconds) {
  std::string digits = std::to_string(nanoseconds % 1000);
  return concat(nanoseconds / 1000, ".", std::string(3 - digits.size(), '0'),
                digits);
}

static void addEvent(std::string &events, const OrderedJson &event) {
  events += (events.empty() ? "" : ",\n") + event.dump();
}

static void addTrack(std::string &events, int rank, size_t number,
                     const std::string &name, const Track &track,
                     int64_t zero) {
  addEvent(events, {{"ph", "M"},
                    {"pid", rank},
                    {"tid", number},
                    {"name", "thread_name"},
                    {"args", {{"name", name}}}});
  // What is around others comes before them; it ended after them.
  const std::vector<Span> &spans = track.spans();
  std::vector<size_t> order(spans.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tuple(spans[a].begin, -spans[a].end, b) <
           std::tuple(spans[b].begin, -spans[b].end, a);
  });
  for (size_t index : order) {
    const Span &span = spans[index];
    OrderedJson args = OrderedJson::object();
    if (span.group >= 0)
      args["group"] = span.group;
    if (span.bytes >= 0)
      args["bytes_sent"] = span.bytes;
    int64_t begin = std::max<int64_t>(0, span.begin - zero);
    int64_t end = std::max(begin, span.end - zero);
    OrderedJson event = {{"ph", "X"},         {"pid", rank},
                         {"tid", number},     {"cat", spanKindName(span.kind)},
                         {"name", span.name}, {"args", args}};
    // As text: doubles cannot tell nanoseconds from a day on.
    std::string text = event.dump();
    text.pop_back();
    events += concat(",\n", text, ",\"ts\":", microseconds(begin),
                     ",\"dur\":", microseconds(end - begin), "}");
  }
}

std::string TraceFile::describe(const Session &session, int rank) const {
  std::string text;
  std::string name =
      concat("rank ", rank, ", process ", ::getpid(), " on ", nameOfThisHost());
  addEvent(text, {{"ph", "M"},
                  {"pid", rank},
                  {"name", "process_name"},
                  {"args", {{"name", name}}}});
  addEvent(text, {{"ph", "M"},
                  {"pid", rank},
                  {"name", "process_sort_index"},
                  {"args", {{"sort_index", rank}}}});
  const Trace &trace = session.trace(rank);
  for (size_t thread = 0; thread < trace.threads.size(); ++thread)
    addTrack(text, rank, thread, concat("thread ", thread),
             trace.threads[thread], zero);
  if (!session.isOnHost())
    addTrack(text, rank, trace.threads.size(),
             "stream on " + session.onDevice(rank).name(), trace.stream, zero);
  return text;
}

Status TraceFile::gather(const Session &session) {
  events.clear();
  for (int rank : session.ranksHere())
    events.push_back(describe(session, rank));
  if (!session.rendezvous())
    return {};
  Result<std::vector<std::string>> all =
      session.rendezvous()->gather("traces", events.front());
  if (!all.ok())
    return all.status();
  events = std::move(*all);
  return {};
}

Status TraceFile::write(const std::string &path) const {
  std::vector<std::string_view> pieces = {
      "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n"};
  for (size_t i = 0; i < events.size(); ++i) {
    if (i > 0)
      pieces.push_back(",\n");
    pieces.push_back(events[i]);
  }
  pieces.push_back("\n]}\n");
  return writeWhole(path, pieces);
}
