// Each figure is the least of repeated runs in which all ranks take part at the
// same time: what other work on the machine adds is not the machine's. A
// collective's latency is the time of one small call; its bandwidth follows
// from what a large one takes longer.
#include "calibrate.h"

#include "aligned_buffer.h"
#include "comm/plan.h"
#include "device.h"
#include "launch.h"
#include "launch/rendezvous.h"
#include "net/socket.h"
#include "whole_file.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
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
// Above a rank's caches, and on a device long beside a launch.
constexpr int64_t CopyBytes = int64_t(1) << 25;
constexpr int64_t DeviceCopyBytes = int64_t(1) << 29;

struct Measured {
  const char *name; // in the machine file
  CollectiveKind kind;
  double latencyUs = 0;
  double bytesPerSecond = 0; // that a rank takes from others
};

} // namespace

static double seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

static double least(const std::vector<double> &values) {
  return *std::min_element(values.begin(), values.end());
}

namespace {

// A rank of this process: its queue on a device, and its way to the others.
struct Member {
  int rank = 0;
  std::unique_ptr<Queue> queue; // null on the host
  std::unique_ptr<Communicator> endpoint;
};

class Calibration {
public:
  explicit Calibration(const CalibratePlan &plan) : plan(plan), job(plan) {}

  Status run();
  bool isFirst() const { return job.isFirst(); }
  int fail(const Status &status) const {
    return job.fail(world ? world->rendezvous() : nullptr, status);
  }
  Status write() const;
  void print() const;

private:
  Status join();
  Status openDevices();
  Status meet(); // where the ranks are
  Status measureMemory();
  Status measure(Measured &entry);
  Status measureProduct(const std::string &path);
  // Least of one call's times, as rank 0 sees it.
  Status time(CollectiveKind kind, int64_t count, double &result);
  double best() const;
  bool onDevice() const { return !devices.empty(); }
  std::string deviceName() const {
    return onDevice() ? describeDevices(devices) : "cpu";
  }
  // A device adds up only what an artifact has a kernel for.
  bool canAdd() const {
    return !onDevice() || !kernels->manifest().sums.empty();
  }
  moert_dtype dtype() const {
    return onDevice() && canAdd() ? kernels->manifest().sums.front().dtype
                                  : MOERT_F32;
  }
  nlohmann::ordered_json file() const;
  std::string where() const;
  // Runs `body` on a thread for each rank of this process; the first error of a
  // rank, or ok.
  Status onRanks(const std::function<Status(Member &)> &body);
  Result<Memory> buffer(Member &member, int64_t bytes) const;
  // Until what was put into the queue is done.
  static Status finish(Member &member) {
    return member.queue ? member.queue->finish() : Status();
  }

  const CalibratePlan &plan;
  Job job;
  int ranks = 8, hosts = 1;
  std::string communicator;
  std::shared_ptr<Artifact> kernels; // of a device
  const Function *function = nullptr;
  std::vector<std::shared_ptr<Device>> devices; // by rank; none on the host
  std::unique_ptr<World> world;
  std::vector<Member> members;
  std::vector<ProductRate> products;
  double memoryBytesPerSecond = 0; // of a rank, all of them busy
  std::array<Measured, 4> entries = {
      {{"all_reduce", CollectiveKind::AllReduce},
       {"all_gather", CollectiveKind::AllGather},
       {"reduce_scatter", CollectiveKind::ReduceScatter},
       {"all_to_all", CollectiveKind::AllToAll}}};
};

} // namespace

Status Calibration::onRanks(const std::function<Status(Member &)> &body) {
  std::vector<Status> results(members.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < members.size(); ++i)
    threads.emplace_back([&, i] {
      Status status = members[i].queue ? members[i].queue->enter() : Status();
      results[i] = status.ok() ? body(members[i]) : status;
      if (!results[i].ok()) // nobody waits for a rank that has failed
        members[i].endpoint->abort(results[i]);
    });
  for (std::thread &thread : threads)
    thread.join();
  // The first failure is the cause, the others ended because of it.
  auto failed = [](const Status &result) { return !result.ok(); };
  auto isCause = [](const Status &result) {
    return !result.ok() && result.code() != MOERT_ERROR_ABORTED;
  };
  auto it = std::find_if(results.begin(), results.end(), isCause);
  if (it == results.end())
    it = std::find_if(results.begin(), results.end(), failed);
  return it == results.end() ? Status() : *it;
}

Result<Memory> Calibration::buffer(Member &member, int64_t bytes) const {
  if (onDevice()) {
    Result<Memory> memory =
        devices[static_cast<size_t>(member.rank)]->allocate(bytes, "a buffer");
    if (memory.ok())
      MOERT_TRY(member.queue->fill(memory->data(), 0, bytes));
    return memory;
  }
  Result<AlignedBuffer> memory = AlignedBuffer::allocate(bytes, "a buffer");
  if (!memory.ok())
    return memory.status();
  // Written, and not with zeros, so that no two pages are one page of zeros.
  std::memset(memory->data(), 1, static_cast<size_t>(bytes));
  return Memory(memory->release(), bytes, std::free);
}

// Sums on a device are a kernel of an artifact.
Status Calibration::openDevices() {
  for (const std::string &path : plan.artifacts) {
    std::shared_ptr<Artifact> artifact;
    const Function *first = nullptr;
    MOERT_TRY(openFunction(path, "", artifact, first));
    if (artifact->manifest().worldSize == ranks) {
      kernels = artifact;
      function = first;
    }
  }
  if (!kernels)
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT,
        "on cuda sums are kernels of an artifact: one that is compiled with "
        "--target=cuda for ",
        ranks, " ranks is expected among the arguments");
  Result<std::vector<std::shared_ptr<Device>>> opened = moert::openDevices(
      plan.device, deviceUse(ranks, communicator, plan.launch), *kernels, note);
  if (!opened.ok())
    return opened.status();
  devices = std::move(*opened);
  return {};
}

Status Calibration::join() {
  MOERT_TRY(job.join(plan.device.name));
  SessionOptions options;
  job.fill(options);
  communicator = options.communicator;
  if (job.isProcess()) {
    ranks = plan.launch->world;
    if (plan.ranks && plan.ranks != ranks)
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "--ranks is ",
                           plan.ranks, ", but ", ranks,
                           " processes were started");
  } else if (plan.ranks) {
    ranks = plan.ranks;
  }
  bool onHost = plan.device.name == "cpu";
  if ((onHost && communicator == "nccl") || (!onHost && communicator == "mpi"))
    return Status::error(
        MOERT_ERROR_UNSUPPORTED, "the communicator ", communicator,
        " does not move the memory of --device=", plan.device.name, "; use ",
        onHost ? "mpi or local" : "nccl or local");
  if (!onHost)
    MOERT_TRY(openDevices());
  Result<std::unique_ptr<World>> opened =
      openWorld(Topology({ranks}, {{0}}),
                {.communicator = communicator,
                 .launch = options.launch,
                 .mpi = options.mpi,
                 .timeoutSeconds = options.timeoutSeconds,
                 .onFailure = options.onFailure,
                 .enter = [this](int rank) {
                   return onDevice()
                              ? devices[static_cast<size_t>(rank)]->enter()
                              : Status();
                 }});
  if (!opened.ok())
    return opened.status();
  world = std::move(*opened);
  for (int rank : world->ranksHere()) {
    Member member;
    member.rank = rank;
    std::unique_ptr<Mover> mover;
    if (onDevice()) {
      Device &device = *devices[static_cast<size_t>(rank)];
      Result<std::unique_ptr<Queue>> queue = device.makeQueue(*function);
      if (!queue.ok())
        return queue.status();
      member.queue = std::move(*queue);
      Result<std::unique_ptr<Mover>> made =
          device.makeMover(member.queue.get(), rank);
      if (!made.ok())
        return made.status();
      mover = std::move(*made);
    }
    member.endpoint = world->endpoint(rank, std::move(mover));
    members.push_back(std::move(member));
  }
  return meet();
}

Status Calibration::meet() {
  if (!world->rendezvous())
    return {};
  Result<std::vector<std::string>> all =
      world->rendezvous()->gather("hosts", nameOfThisHost());
  if (!all.ok())
    return all.status();
  std::sort(all->begin(), all->end());
  hosts =
      static_cast<int>(std::unique(all->begin(), all->end()) - all->begin());
  return {};
}

Status Calibration::measureMemory() {
  std::vector<double> times(members.size());
  int64_t size = onDevice() ? DeviceCopyBytes : CopyBytes;
  Status done = onRanks([&](Member &member) -> Status {
    Result<Memory> from = buffer(member, size), to = buffer(member, size);
    if (!from.ok() || !to.ok())
      return from.ok() ? to.status() : from.status();
    std::vector<double> mine;
    for (int repeat = -2; repeat < Repeats; ++repeat) {
      MOERT_TRY(finish(member));
      Clock::time_point start = Clock::now();
      if (member.queue) {
        MOERT_TRY(member.queue->copy(to->data(), from->data(), size));
        MOERT_TRY(finish(member));
      } else {
        auto *bytes = static_cast<char *>(from->data());
        bytes[repeat + 2] = static_cast<char>(repeat); // the copy is needed
        std::memcpy(to->data(), from->data(), static_cast<size_t>(size));
        bytes[0] = static_cast<char *>(to->data())[repeat + 2];
      }
      if (repeat >= 0)
        mine.push_back(seconds(start));
    }
    times[static_cast<size_t>(&member - members.data())] = least(mine);
    return Status();
  });
  memoryBytesPerSecond = 2.0 * static_cast<double>(size) /
                         *std::max_element(times.begin(), times.end());
  return done;
}

Status Calibration::time(CollectiveKind kind, int64_t count, double &result) {
  std::vector<double> times;
  Status done = onRanks([&](Member &member) -> Status {
    int64_t bytes = count * ranks * static_cast<int64_t>(dtypeSize(dtype()));
    Result<Memory> send = buffer(member, bytes), recv = buffer(member, bytes);
    if (!send.ok() || !recv.ok())
      return send.ok() ? recv.status() : send.status();
    Collective call;
    call.kind = kind;
    call.dtype = dtype();
    call.count = count;
    call.send = send->data();
    call.recv = recv->data();
    MOERT_TRY(finish(member));
    for (int repeat = -2; repeat < Repeats; ++repeat) { // two to warm up
      Clock::time_point start = Clock::now();
      MOERT_TRY(member.endpoint->collective(call));
      MOERT_TRY(finish(member));
      if (member.rank == 0 && repeat >= 0)
        times.push_back(seconds(start));
    }
    return Status();
  });
  if (done.ok() && !times.empty())
    result = least(times);
  return done;
}

Status Calibration::measure(Measured &entry) {
  double small = 0, large = 0;
  MOERT_TRY(time(entry.kind, SmallCount, small));
  MOERT_TRY(time(entry.kind, LargeCount, large));
  // all_reduce moves its buffer's shares twice; the others a block a member.
  double blocks = entry.kind == CollectiveKind::AllReduce
                      ? 2.0 * (ranks - 1) / ranks
                      : ranks - 1.0;
  double bytes = blocks * LargeCount * static_cast<double>(dtypeSize(dtype()));
  entry.latencyUs = small * 1e6;
  // Where the two cannot be told apart, the large call's whole time bounds it.
  entry.bytesPerSecond = bytes / std::max(large - small, 0.1 * large);
  return Status();
}

Status Calibration::measureProduct(const std::string &path) {
  std::shared_ptr<Artifact> artifact;
  const Function *unused = nullptr;
  MOERT_TRY(openFunction(path, "", artifact, unused));
  if (kernels && ranks > 1 && artifact->manifest().worldSize == ranks)
    return {}; // its sums were used
  Result<ProductRate> rate = measureProducts(plan, path);
  if (!rate.ok())
    return rate.status();
  products.push_back(std::move(*rate));
  return {};
}

Status Calibration::run() {
  MOERT_TRY(join());
  MOERT_TRY(measureMemory());
  if (ranks > 1)
    for (Measured &entry : entries) {
      if (!isSum(entry.kind) || canAdd())
        MOERT_TRY(measure(entry));
    }
  // Rank 0 times products; the others hear of each, so that nobody waits for
  // longer than for one.
  for (const std::string &path : plan.artifacts) {
    if (isFirst())
      MOERT_TRY(measureProduct(path));
    if (world->rendezvous())
      MOERT_TRY(world->rendezvous()->broadcast("a product", "").status());
  }
  if (isFirst())
    MOERT_TRY(write());
  // Nobody goes before rank 0 has written all.
  return world->rendezvous()
             ? world->rendezvous()->broadcast("the end", "").status()
             : Status();
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

std::string Calibration::where() const {
  std::string text =
      concat(ranks, " ranks that are ",
             job.isProcess() ? "processes" : "threads of one process");
  if (hosts > 1)
    text +=
        concat(" on ", hosts, " hosts, whose network is part of each figure");
  return concat(text, ", communicator ", communicator, ", device ",
                deviceName());
}

nlohmann::ordered_json Calibration::file() const {
  char date[16];
  std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  nlohmann::ordered_json source = {
      {"source", concat("measured by moe-run calibrate on ", where())},
      {"date", date}};
  nlohmann::ordered_json json = {
      {"schema", 1},
      {"name", plan.name},
      {"base", plan.base},
      {"device",
       {{"name", onDevice() ? devices.front()->name() : "host processor"},
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
  // What a product reaches is the peak, all of its efficiency inside.
  for (const ProductRate &rate : products) {
    json["device"]["peak_TFLOPs"][rate.type] =
        rounded(rate.flopsPerSecond / 1e12);
    json["kernels"]["matmul"][rate.type] = {{"efficiency", 1},
                                            {"depth_half", 0}};
    json["sources"]["kernels"] = source;
  }
  return json;
}

Status Calibration::write() const {
  return writeWhole(plan.output, file().dump(2) + "\n");
}

void Calibration::print() const {
  std::printf("%s\n", where().c_str());
  std::printf("memory: %.2f GB/s a rank, %zu ranks at a time\n",
              memoryBytesPerSecond / 1e9, members.size());
  if (ranks > 1)
    for (const Measured &entry : entries)
      if (entry.bytesPerSecond > 0)
        std::printf("%s: %.1f us, %.2f GB/s\n", entry.name, entry.latencyUs,
                    entry.bytesPerSecond / 1e9);
  for (const ProductRate &rate : products)
    std::printf("products in %s: %.4f TFLOP/s, all of the layer in '%s' "
                "counted\n",
                rate.type.c_str(), rate.flopsPerSecond / 1e12,
                printable(rate.artifact).c_str());
  if (!canAdd() && ranks > 1)
    std::printf("left out: all_reduce and reduce_scatter, which stay those of "
                "%s (the artifact adds nothing up)\n",
                plan.base.c_str());
  if (products.empty())
    std::printf("left out: efficiency of products, which stays that of %s (no "
                "artifact of one rank is given)\n",
                plan.base.c_str());
}

int moert::calibrateMachine(const CalibratePlan &plan) {
  Calibration calibration(plan);
  if (Status status = calibration.run(); !status.ok())
    return calibration.fail(status);
  if (calibration.isFirst())
    calibration.print();
  return ExitOk;
}
