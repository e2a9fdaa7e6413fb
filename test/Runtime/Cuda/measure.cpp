#include "measure.h"

#include "atomic_file.h"
#include "cuda/graph.h"
#include "dtype.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

using namespace moert;
using namespace moert::test;

namespace {

constexpr int CallsAGraph = 20;
constexpr int Repeats = 7;
constexpr CollectiveKind Kinds[] = {
    CollectiveKind::AllToAll, CollectiveKind::AllGather,
    CollectiveKind::ReduceScatter, CollectiveKind::AllReduce};

// Of the rank that needs longest: medians of a call, by CUDA events. In a graph
// it is the device alone, in a stream the calls of the host as well.
struct Times {
  double inGraph = 0, inStream = 0;
};

} // namespace

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2] / CallsAGraph;
}

static Result<Times> timeCalls(cuda::StreamQueue &queue,
                               Communicator &communicator, Rendezvous &others,
                               const Collective &call) {
  auto calls = [&]() -> Status {
    for (int i = 0; i < CallsAGraph; ++i)
      MOERT_TRY(communicator.collective(call));
    return {};
  };
  MOERT_TRY(calls()); // connects, and makes the memory of sums
  MOERT_TRY(queue.finish());
  Result<std::vector<double>> inStream =
      cuda::timeOnDevice(queue, Repeats, calls);
  if (!inStream.ok())
    return inStream.status();
  Result<cuda::Graph> graph = cuda::Graph::capture(queue, calls);
  if (!graph.ok())
    return graph.status();
  Result<std::vector<double>> inGraph =
      cuda::timeOnDevice(queue, Repeats, [&] { return graph->launch(queue); });
  if (!inGraph.ok())
    return inGraph.status();
  Times mine = {median(*inGraph), median(*inStream)};
  Result<std::vector<std::string>> all = others.allGather(
      "times", {reinterpret_cast<const char *>(&mine), sizeof(mine)});
  if (!all.ok())
    return all.status();
  for (const std::string &bytes : *all) {
    Times theirs;
    std::memcpy(&theirs, bytes.data(), sizeof(theirs));
    mine.inGraph = std::max(mine.inGraph, theirs.inGraph);
    mine.inStream = std::max(mine.inStream, theirs.inStream);
  }
  return mine;
}

// `bytes` of the buffer that holds a block for or from each rank.
static Collective callOf(CollectiveKind kind, int64_t bytes, int ranks,
                         void *send, void *recv) {
  Collective call;
  call.kind = kind;
  call.dtype = MOERT_BF16;
  int64_t elements = bytes / static_cast<int64_t>(dtypeSize(call.dtype));
  call.count = kind == CollectiveKind::AllReduce ? elements : elements / ranks;
  call.send = send;
  call.recv = recv;
  return call;
}

Status moert::test::measureCollectives(std::shared_ptr<Device> device,
                                       StagedRank &rank, NcclWorld &world,
                                       int number, int ranks,
                                       const std::string &where,
                                       const std::string &file) {
  constexpr int64_t most = int64_t(256) << 20;
  MOERT_TRY(rank.enter());
  auto &queue = static_cast<cuda::StreamQueue &>(rank.queue());
  Result<Memory> send = device->allocate(most, "what is sent");
  Result<Memory> recv = device->allocate(most, "what is received");
  MOERT_TRY(send.status());
  MOERT_TRY(recv.status());
  MOERT_TRY(queue.fill(send->data(), 0, most));
  MOERT_TRY(queue.finish());
  std::unique_ptr<Communicator> communicator = rank.bareEndpoint(world);
  nlohmann::ordered_json cases = nlohmann::ordered_json::array();
  for (CollectiveKind kind : Kinds)
    for (int64_t bytes = 4096; bytes <= most; bytes *= 4) {
      Collective call = callOf(kind, bytes, ranks, send->data(), recv->data());
      Result<Times> times =
          timeCalls(queue, *communicator, *world.rendezvous(), call);
      if (!times.ok())
        return times.status().in(
            concat(collectiveName(kind), " of ", bytes, " bytes"));
      // What a rank takes from others: all_reduce in two steps.
      double moved = static_cast<double>(bytes) * (ranks - 1) / ranks *
                     (kind == CollectiveKind::AllReduce ? 2 : 1);
      cases.push_back({{"collective", collectiveName(kind)},
                       {"bytes", bytes},
                       {"graph_seconds", times->inGraph},
                       {"stream_seconds", times->inStream},
                       {"GBps", moved / times->inGraph / 1e9}});
      if (number == 0)
        std::printf("%-15s %10lld bytes %10.1f us (graph) %10.1f us (stream) "
                    "%8.1f GB/s\n",
                    collectiveName(kind), static_cast<long long>(bytes),
                    times->inGraph * 1e6, times->inStream * 1e6,
                    moved / times->inGraph / 1e9);
    }
  if (number == 0) {
    nlohmann::ordered_json json = {{"where", where},
                                   {"ranks", ranks},
                                   {"dtype", "bf16"},
                                   {"cases", cases}};
    std::string text = json.dump(1) + "\n";
    std::string_view pieces[] = {text};
    std::string error = writeFileAtomically(file, pieces);
    if (!error.empty())
      return Status::error(MOERT_ERROR_IO, error);
  }
  return world.rendezvous()->broadcast("the end", "").status();
}
