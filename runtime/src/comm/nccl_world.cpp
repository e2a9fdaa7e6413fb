// How ranks that move data through NCCL meet, fail and part. The calls between
// that are in nccl.cpp.
#include "comm/nccl.h"

#include "launch/processes.h"

#include <algorithm>
#include <cstring>
#include <thread>

using namespace moert;
using namespace moert::cuda;

// ---- one rank

Status NcclMember::begin(const NcclId &id, int ranks) {
  std::lock_guard<std::mutex> lock(calls);
  NcclConfig config;
  config.blocking = 0;
  return library->check(
      library->commInitRankConfig(&handle, ranks, id, rank, &config), handle,
      "cannot join the other ranks");
}

Status NcclMember::call(
    const std::function<Status(const NcclLibrary &, NcclHandle)> &body) {
  std::lock_guard<std::mutex> lock(calls);
  if (!handle)
    return Status::error(MOERT_ERROR_ABORTED, "NCCL has been ended on rank ",
                         rank);
  return body(*library, handle);
}

Result<bool> NcclMember::isSettled(std::string_view what) {
  int state = NcclSuccess;
  MOERT_TRY(call([&](const NcclLibrary &nccl, NcclHandle own) -> Status {
    MOERT_TRY(nccl.check(nccl.commGetAsyncError(own, &state), own, what));
    return nccl.check(state, own, what);
  }));
  return state != NcclInProgress;
}

Status NcclMember::finalize() {
  return call([](const NcclLibrary &nccl, NcclHandle own) {
    return nccl.check(nccl.commFinalize(own), own, "the end");
  });
}

void NcclMember::destroy() {
  std::lock_guard<std::mutex> lock(calls);
  if (handle)
    (void)library->commDestroy(std::exchange(handle, nullptr));
}

void NcclMember::abort() {
  std::lock_guard<std::mutex> lock(calls);
  if (handle)
    (void)library->commAbort(std::exchange(handle, nullptr));
}

void NcclMember::setPosition(std::string text) {
  std::lock_guard<std::mutex> lock(mutex);
  where = std::move(text);
  since = std::chrono::steady_clock::now();
}

// Who waits says so again and again.
std::string NcclMember::position() const {
  constexpr std::chrono::milliseconds believed(500);
  std::lock_guard<std::mutex> lock(mutex);
  bool waits = where.starts_with("waits") &&
               std::chrono::steady_clock::now() < since + believed;
  bool isKnown = waits || where.starts_with("has");
  return concat("rank ", rank, " ", isKnown ? where : "is in no collective");
}

// ---- all of them

NcclWorld::NcclWorld(const Topology &topology, NcclOptions chosen,
                     std::shared_ptr<const NcclLibrary> library)
    : topology(topology), options(std::move(chosen)),
      library(std::move(library)) {
  members.resize(static_cast<size_t>(topology.ranks()));
  sharers = topology.ranks();
  for (int rank = 0; rank < topology.ranks(); ++rank)
    if (!options.launch || options.launch->rank == rank)
      here.push_back(rank);
  for (int rank : here)
    members[rank] = std::make_unique<NcclMember>(this->library, rank);
}

static Status checkLaunch(const Launch &launch, int ranks) {
  auto refuse = [](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
  };
  if (launch.world != ranks)
    return refuse("the artifact is for ", ranks, " ranks, ",
                  launchSourceName(launch.source), " started ", launch.world,
                  " processes; over nccl a process has one rank, or all of "
                  "them: start ",
                  ranks, ", or one");
  if (launch.host.empty() || launch.ports.empty())
    return refuse(launchSourceName(launch.source),
                  " does not say where rank 0 can be met; set MASTER_ADDR and "
                  "MASTER_PORT, or give --rendezvous=host:port");
  return {};
}

Result<std::unique_ptr<NcclWorld>> NcclWorld::join(const Topology &topology,
                                                   NcclOptions options) {
  if (options.launch)
    MOERT_TRY(checkLaunch(*options.launch, topology.ranks()));
  Result<std::shared_ptr<const NcclLibrary>> library = NcclLibrary::open();
  if (!library.ok())
    return library.status();
  std::unique_ptr<NcclWorld> world(
      new NcclWorld(topology, std::move(options), *library));
  if (world->options.launch)
    MOERT_TRY(world->meetProcesses());
  MOERT_TRY(world->start());
  return world;
}

Status NcclWorld::meetProcesses() {
  const Launch &launch = *options.launch;
  RendezvousOptions place;
  place.point = {
      launch.rank, launch.world, {launch.host}, launch.ports, launch.job};
  place.exchangeSeconds =
      std::max(options.timeoutSeconds, options.startSeconds);
  place.onFailure = options.onFailure;
  Result<std::unique_ptr<Rendezvous>> joined =
      Rendezvous::join(std::move(place));
  if (!joined.ok())
    return joined.status();
  meeting = std::move(*joined);
  meeting->onAsked([this] { return member(here.front()).position(); });
  Result<int> counted = countSharers(*meeting);
  if (!counted.ok()) {
    meeting->fail(counted.status());
    return counted.status();
  }
  sharers = *counted;
  return {};
}

// Of rank 0, whose version of NCCL all must have.
Result<NcclId> NcclWorld::agreeOnId() {
  NcclId id = {};
  if (here.front() == 0)
    MOERT_TRY(library->check(library->getUniqueId(&id), nullptr,
                             "cannot make an id for NCCL"));
  if (!meeting)
    return id;
  Result<std::string> bytes = meeting->broadcast(
      "NCCL's id and version",
      std::string(id.bytes, sizeof(id.bytes)) + library->version());
  if (!bytes.ok())
    return bytes.status();
  if (std::string theirs = bytes->substr(sizeof(id.bytes));
      theirs != library->version())
    return Status::error(MOERT_ERROR_UNSUPPORTED, "rank 0 has NCCL ", theirs,
                         ", rank ", meeting->rank(), " has ",
                         library->version());
  std::memcpy(id.bytes, bytes->data(), sizeof(id.bytes));
  return id;
}

// NCCL meets in the background; who fails meanwhile is seen.
Status NcclWorld::start() {
  Result<NcclId> id = agreeOnId();
  if (!id.ok()) {
    fail(here.front(), id.status());
    return failure();
  }
  onRanks([&](int rank) {
    if (Status status = startRank(*id, rank); !status.ok())
      fail(rank, status);
  });
  return failure();
}

Status NcclWorld::startRank(const NcclId &id, int rank) {
  if (options.enter)
    MOERT_TRY(options.enter(rank));
  MOERT_TRY(member(rank).begin(id, topology.ranks()));
  return settle(rank, "joining the other ranks");
}

// A process with one rank stays on the thread that it is on, and the device
// with it.
void NcclWorld::onRanks(const std::function<void(int rank)> &body) {
  if (here.size() == 1)
    return body(here.front());
  std::vector<std::thread> threads;
  for (int rank : here)
    threads.emplace_back([&body, rank] { body(rank); });
  for (std::thread &thread : threads)
    thread.join();
}

Status NcclWorld::settle(int rank, std::string_view what) {
  Deadline deadline = after(options.startSeconds);
  while (true) {
    Result<bool> settled = member(rank).isSettled(what);
    if (!settled.ok())
      return settled.status();
    if (*settled)
      return {};
    if (failed())
      return released(rank);
    if (std::chrono::steady_clock::now() > deadline)
      return Status::error(MOERT_ERROR_TIMEOUT, what, " took more than ",
                           options.startSeconds, " s in NCCL");
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

// ---- failures

bool NcclWorld::failed() const {
  return meeting ? meeting->failed() : hasFailed.load();
}

Status NcclWorld::failure() const {
  if (meeting)
    return meeting->failure();
  std::lock_guard<std::mutex> lock(mutex);
  return failedWhy.in(concat("rank ", failedRank));
}

Status NcclWorld::released(int rank) const {
  if (meeting)
    return meeting->failure();
  std::lock_guard<std::mutex> lock(mutex);
  return rank == failedRank
             ? failedWhy
             : Status::error(MOERT_ERROR_ABORTED, "ended because rank ",
                             failedRank, " failed: ", failedWhy.message());
}

void NcclWorld::fail(int rank, const Status &why) {
  if (meeting) {
    meeting->fail(why);
  } else {
    std::lock_guard<std::mutex> lock(mutex);
    if (failedRank < 0) {
      failedRank = rank;
      failedWhy = why;
      hasFailed = true;
    }
  }
  member(rank).abort();
}

std::string NcclWorld::ask(int rank) const {
  const std::unique_ptr<NcclMember> &mine = members[static_cast<size_t>(rank)];
  return mine ? mine->position() : meeting->ask(rank, 1);
}

// ---- the end

Status NcclWorld::reset() {
  for (int rank : here)
    member(rank).setPosition({});
  if (meeting || !failed())
    return failure();
  // Some may have ended their programs before the failure.
  onRanks([&](int rank) {
    if (!options.enter || options.enter(rank).ok())
      member(rank).abort();
  });
  {
    std::lock_guard<std::mutex> lock(mutex);
    failedRank = -1;
    failedWhy = Status();
    hasFailed = false;
  }
  return start();
}

// Whether NCCL ended in order.
bool NcclWorld::end(int rank) {
  if (options.enter && !options.enter(rank).ok())
    return false;
  return !failed() && member(rank).finalize().ok() &&
         settle(rank, "the end").ok();
}

NcclWorld::~NcclWorld() {
  onRanks([&](int rank) {
    if (end(rank))
      member(rank).destroy();
    else
      member(rank).abort();
  });
}
