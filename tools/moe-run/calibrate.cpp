// Each figure is the median of repeated runs in which all ranks take part at
// the same time. A collective's latency is the time of one small call; its
// bandwidth follows from what a large one takes longer.
#include "calibrate.h"

#include "atomic_file.h"
#include "comm/local.h"
#include "run.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

using namespace moert;

namespace {

using Clock = std::chrono::steady_clock;
constexpr int Repeats = 15;
constexpr int64_t SmallCount = 16; // elements
constexpr int64_t LargeCount = int64_t(1) << 18;
constexpr int64_t CopyBytes = int64_t(1) << 25; // above a rank's caches

struct Measured {
  const char *name; // in the machine file
  CollectiveKind kind;
  double latencyUs = 0;
  double bytesPerSecond = 0; // that a rank takes from others
};

double seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Runs `body` on a thread for each rank; the first error of a rank, or ok.
Status onRanks(int ranks, const std::function<Status(int)> &body) {
  std::vector<Status> results(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back(
        [&, rank] { results[static_cast<size_t>(rank)] = body(rank); });
  for (std::thread &thread : threads)
    thread.join();
  for (Status &result : results)
    if (!result.ok())
      return result;
  return Status();
}

class Calibration {
public:
  explicit Calibration(int ranks)
      : ranks(ranks), world(Topology({ranks}, {{0}}), /*timeoutSeconds=*/60) {
    for (int rank = 0; rank < ranks; ++rank)
      endpoints.push_back(world.endpoint(rank));
  }

  Status run();
  nlohmann::ordered_json file(const std::string &name,
                              const std::string &base) const;
  void print() const;

private:
  Status measureMemory();
  Status measure(Measured &entry);
  // Median of one call's time, as rank 0 sees it.
  Status time(CollectiveKind kind, int64_t count, double &result);
  double best() const;

  int ranks;
  LocalWorld world;
  std::vector<std::unique_ptr<Communicator>> endpoints;
  double memoryBytesPerSecond = 0; // of a rank, all of them busy
  std::array<Measured, 4> entries = {
      {{"all_reduce", CollectiveKind::AllReduce},
       {"all_gather", CollectiveKind::AllGather},
       {"reduce_scatter", CollectiveKind::ReduceScatter},
       {"all_to_all", CollectiveKind::AllToAll}}};
};

} // namespace

Status Calibration::measureMemory() {
  std::vector<double> times(static_cast<size_t>(ranks));
  Status done = onRanks(ranks, [&](int rank) {
    std::vector<char> from(CopyBytes, 1), to(CopyBytes, 2);
    std::vector<double> mine;
    for (int repeat = 0; repeat < Repeats; ++repeat) {
      from[static_cast<size_t>(repeat)] = static_cast<char>(repeat);
      Clock::time_point start = Clock::now();
      std::memcpy(to.data(), from.data(), CopyBytes);
      mine.push_back(seconds(start));
      from[0] = to[static_cast<size_t>(repeat)]; // the copy is needed
    }
    times[static_cast<size_t>(rank)] = median(mine);
    return Status();
  });
  memoryBytesPerSecond = 2.0 * CopyBytes / median(times);
  return done;
}

Status Calibration::time(CollectiveKind kind, int64_t count, double &result) {
  std::vector<double> times;
  Status done = onRanks(ranks, [&](int rank) {
    std::vector<float> send(static_cast<size_t>(count * ranks), 1.0f),
        recv(static_cast<size_t>(count * ranks), 0.0f);
    Collective call;
    call.kind = kind;
    call.dtype = MOERT_F32;
    call.count = count;
    call.send = send.data();
    call.recv = recv.data();
    for (int repeat = -2; repeat < Repeats; ++repeat) { // two to warm up
      Clock::time_point start = Clock::now();
      Status status = endpoints[static_cast<size_t>(rank)]->collective(call);
      if (!status.ok())
        return status;
      if (rank == 0 && repeat >= 0)
        times.push_back(seconds(start));
    }
    return Status();
  });
  if (done.ok())
    result = median(times);
  return done;
}

Status Calibration::measure(Measured &entry) {
  double small = 0, large = 0;
  if (Status status = time(entry.kind, SmallCount, small); !status.ok())
    return status;
  if (Status status = time(entry.kind, LargeCount, large); !status.ok())
    return status;
  // all_reduce moves its buffer's shares twice; the others a block a member.
  double blocks = entry.kind == CollectiveKind::AllReduce
                      ? 2.0 * (ranks - 1) / ranks
                      : ranks - 1.0;
  double bytes = blocks * LargeCount * sizeof(float);
  entry.latencyUs = small * 1e6;
  entry.bytesPerSecond = bytes / std::max(large - small, 1e-9);
  return Status();
}

Status Calibration::run() {
  if (Status status = measureMemory(); !status.ok())
    return status;
  if (ranks > 1)
    for (Measured &entry : entries)
      if (Status status = measure(entry); !status.ok())
        return status;
  return Status();
}

double Calibration::best() const {
  double most = 0;
  for (const Measured &entry : entries)
    most = std::max(most, entry.bytesPerSecond);
  return most > 0 ? most : memoryBytesPerSecond;
}

static double rounded(double value) {
  return std::max(std::round(value * 1e4) / 1e4, 1e-4);
}

nlohmann::ordered_json Calibration::file(const std::string &name,
                                         const std::string &base) const {
  char date[16];
  std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  nlohmann::ordered_json source = {
      {"source", concat("measured by moe-run calibrate on ", ranks,
                        " ranks that are threads of one process")},
      {"date", date}};
  nlohmann::ordered_json json = {
      {"schema", 1},
      {"name", name},
      {"base", base},
      {"device",
       {{"name", "host processor"},
        {"memory_TBps", rounded(memoryBytesPerSecond / 1e12)}}},
      {"domain", {{"devices", ranks}, {"GBps", rounded(best() / 1e9)}}},
      {"nodes", {{"devices", ranks}, {"count", 1}}}};
  for (const Measured &entry : entries) {
    if (entry.bytesPerSecond <= 0)
      continue;
    nlohmann::ordered_json cost = {
        {"latency_us", rounded(entry.latencyUs)},
        {"efficiency",
         std::max(0.001, rounded(entry.bytesPerSecond / best()))}};
    json["collectives"]["domain"][entry.name] = cost;
    if (entry.kind == CollectiveKind::AllToAll) // one copy to each rank, too
      json["collectives"]["domain"]["dispatch"] = cost;
  }
  json["sources"] = {{"device", source}, {"domain", source}, {"nodes", source}};
  if (ranks > 1)
    json["sources"]["collectives"] = source;
  return json;
}

void Calibration::print() const {
  std::printf("memory: %.2f GB/s a rank, %d ranks at a time\n",
              memoryBytesPerSecond / 1e9, ranks);
  if (ranks > 1)
    for (const Measured &entry : entries)
      std::printf("%s: %.1f us, %.2f GB/s\n", entry.name, entry.latencyUs,
                  entry.bytesPerSecond / 1e9);
}

int moert::calibrateMachine(const CalibrateFlags &flags) {
  auto refuse = [](const std::string &message) {
    return reportError(Status::error(MOERT_ERROR_INVALID_ARGUMENT, message));
  };
  int ranks = 8;
  if (!flags.ranks.empty()) {
    const char *end = flags.ranks.data() + flags.ranks.size();
    auto [last, error] = std::from_chars(flags.ranks.data(), end, ranks);
    if (error != std::errc() || last != end || ranks < 1 || ranks > 256)
      return refuse(concat("--ranks is '", flags.ranks,
                           "', but a number from 1 to 256 is expected"));
  }
  Calibration calibration(ranks);
  if (Status status = calibration.run(); !status.ok())
    return reportError(status);
  std::string base = flags.base.empty() ? "cpu-8" : flags.base;
  std::string text =
      calibration.file(flags.name.empty() ? "calibrated" : flags.name, base)
          .dump(2) +
      "\n";
  std::string_view piece = text;
  if (std::string error = writeFileAtomically(flags.output, {&piece, 1});
      !error.empty())
    return refuse(error);
  calibration.print();
  std::printf("left out: efficiency of products, which stays that of %s\n",
              base.c_str());
  return ExitOk;
}
