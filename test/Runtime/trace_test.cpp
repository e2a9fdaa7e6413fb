// What is kept of a run: spans nest, and there is one for each step and each
// collective.
#include "trace.h"

#include "session.h"
#include "test_artifact.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace moert;

namespace {

std::vector<Span> sorted(const Track &track) {
  std::vector<Span> spans(track.spans().rbegin(), track.spans().rend());
  std::sort(spans.begin(), spans.end(), [](const Span &a, const Span &b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  return spans;
}

void expectNested(const Track &track) {
  std::vector<Span> open;
  for (const Span &span : sorted(track)) {
    EXPECT_LE(span.begin, span.end);
    while (!open.empty() && open.back().end <= span.begin)
      open.pop_back();
    if (!open.empty())
      EXPECT_LE(span.end, open.back().end) << span.name << " sticks out";
    open.push_back(span);
  }
}

std::ptrdiff_t count(const Track &track, SpanKind kind) {
  return std::count_if(track.spans().begin(), track.spans().end(),
                       [&](const Span &span) { return span.kind == kind; });
}

} // namespace

TEST(Track, StepsEndWhereTheNextBeginsAndWithWhatIsAroundThem) {
  Track track;
  track.begin(SpanKind::Run, "f");
  track.step("one");
  track.step("two");
  track.begin(SpanKind::Barrier, "team_barrier");
  track.end();
  track.step("");
  track.begin(SpanKind::Collective, "all_reduce", 2);
  track.end(24);
  track.step("three");
  track.end();
  std::vector<std::string_view> names;
  for (const Span &span : track.spans())
    names.push_back(span.name);
  EXPECT_EQ(names, (std::vector<std::string_view>{"one", "team_barrier", "two",
                                                  "all_reduce", "three", "f"}));
  EXPECT_EQ(track.spans()[3].group, 2);
  EXPECT_EQ(track.spans()[3].bytes, 24);
  EXPECT_EQ(track.spans()[0].end, track.spans()[2].begin);
  expectNested(track);
}

TEST(Track, WhatAFailedRunLeftOpenIsDropped) {
  Track track;
  track.begin(SpanKind::Run, "f");
  track.step("one");
  track.restart();
  track.begin(SpanKind::Run, "g");
  track.end();
  ASSERT_EQ(track.spans().size(), 1u);
  EXPECT_EQ(track.spans()[0].name, "g");
}

TEST(Track, AThreadHasOneOnlyWhileItWorks) {
  Track track;
  EXPECT_EQ(Track::current(), nullptr);
  {
    TrackScope use(&track);
    EXPECT_EQ(Track::current(), &track);
    SpanScope span(nullptr, SpanKind::Run, "nobody asks");
  }
  EXPECT_EQ(Track::current(), nullptr);
  EXPECT_TRUE(track.spans().empty());
}

TEST(Trace, EachRankAndThreadOfASession) {
  Result<std::shared_ptr<Artifact>> artifact =
      Artifact::openMemory(test::testArtifact(4));
  ASSERT_TRUE(artifact.ok()) << artifact.status().message();
  SessionOptions options;
  options.function = "scale";
  options.maxTokens = 16;
  options.threads = 2;
  options.trace = true;
  Result<std::unique_ptr<Session>> session = Session::open(*artifact, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE((*session)
                  ->makeWeights([](size_t, int, void *) { return Status(); })
                  .ok());
  std::vector<float> x(16 * 4, 1), y(x.size());
  for (int run = 0; run < 3; ++run) {
    Status status = (*session)->run({{"x", MOERT_F32, {16, 4}, x.data()}},
                                    {{"y", MOERT_F32, {16, 4}, y.data()}});
    ASSERT_TRUE(status.ok()) << status.message();
  }
  for (int rank = 0; rank < 4; ++rank) {
    const Trace &trace = (*session)->trace(rank);
    ASSERT_EQ(trace.threads.size(), 2u);
    for (const Track &track : trace.threads) {
      expectNested(track);
      EXPECT_EQ(count(track, SpanKind::Run), 3);
      EXPECT_EQ(count(track, SpanKind::Step), 3);
      EXPECT_EQ(count(track, SpanKind::Prepare), 2);
      EXPECT_EQ(count(track, SpanKind::Barrier), 3 + 1);
    }
    EXPECT_EQ(count(trace.threads[0], SpanKind::Collective), 3);
    EXPECT_EQ(count(trace.threads[1], SpanKind::Collective), 0);
    EXPECT_TRUE(trace.stream.spans().empty());
  }
}
