#include "comm/local.h"

#include "comm/plan.h"
#include "comm/sum.h"
#include "dtype.h"

#include <chrono>
#include <cstring>

using namespace moert;

namespace {
class HostMover final : public Mover {
public:
  Status publish() override { return {}; }
  Status await(int) override { return {}; }
  Status copy(void *target, const void *source, int64_t size, int) override {
    std::memcpy(target, source, static_cast<size_t>(size));
    return {};
  }
  Status sum(moert_dtype dtype, std::span<const void *const> sources,
             std::span<const int>, void *target, int64_t count) override {
    sumInOrder(dtype, sources, target, count);
    return {};
  }
};
} // namespace

namespace moert {
class LocalEndpoint final : public Communicator {
public:
  LocalEndpoint(LocalWorld &world, int rank, std::unique_ptr<Mover> mover)
      : world(world), rank(rank), mover(std::move(mover)) {}

  Status collective(const Collective &call) override;
  void abort(const Status &why) override { world.fail(rank, why); }
  void leave() override { world.leave(rank); }

private:
  Status perform(const Collective &call);
  Status meet(const Collective &call, bool isFirst);
  Status moveBlocks(const Collective &call);
  Status sumBlocks(const Collective &call);
  Status finishAllReduce(const Collective &call);

  LocalWorld &world;
  int rank;
  std::unique_ptr<Mover> mover;
};
} // namespace moert

static const std::byte *at(const void *data, int64_t offset) {
  return static_cast<const std::byte *>(data) + offset;
}

static std::byte *at(void *data, int64_t offset) {
  return static_cast<std::byte *>(data) + offset;
}

LocalWorld::LocalWorld(Topology topology, double timeoutSeconds)
    : topology(std::move(topology)), timeoutSeconds(timeoutSeconds) {
  for (int i = 0; i < this->topology.cellCount(); ++i) {
    auto cell = std::make_unique<Cell>();
    size_t members = this->topology.cellMembers(i).size();
    cell->calls.resize(members);
    cell->counts.resize(members);
    cell->present.resize(members);
    cells.push_back(std::move(cell));
  }
  for (int rank = 0; rank < this->topology.ranks(); ++rank)
    all.push_back(rank);
  waiting.resize(all.size());
  left.resize(waiting.size());
}

LocalWorld::~LocalWorld() = default;

std::unique_ptr<Communicator>
LocalWorld::endpoint(int rank, std::unique_ptr<Mover> mover) {
  if (!mover)
    mover = std::make_unique<HostMover>();
  return std::make_unique<LocalEndpoint>(*this, rank, std::move(mover));
}

Status LocalWorld::reset() {
  std::lock_guard<std::mutex> lock(mutex);
  for (std::unique_ptr<Cell> &cell : cells) {
    cell->arrived = 0;
    cell->present.assign(cell->present.size(), false);
  }
  channels.clear();
  left.assign(left.size(), false);
  failedRank = -1;
  failedWhy = Status();
  return {};
}

Status LocalWorld::failure() const {
  std::lock_guard<std::mutex> lock(mutex);
  // A disagreement names its ranks itself.
  if (failedRank < 0 || failedWhy.code() == MOERT_ERROR_COLLECTIVE)
    return failedWhy;
  return failedWhy.in(concat("rank ", failedRank));
}

Status LocalWorld::aborted() const {
  return Status::error(MOERT_ERROR_ABORTED, "ended because rank ", failedRank,
                       " failed: ", failedWhy.message());
}

void LocalWorld::fail(int rank, const Status &why) {
  std::lock_guard<std::mutex> lock(mutex);
  if (failedRank >= 0)
    return;
  failedRank = rank;
  failedWhy = why;
  wakeAll();
}

void LocalWorld::leave(int rank) {
  std::lock_guard<std::mutex> lock(mutex);
  left[rank] = true;
  wakeAll();
}

void LocalWorld::wakeAll() {
  for (std::unique_ptr<Cell> &cell : cells)
    cell->changed.notify_all();
  for (auto &entry : channels)
    entry.second->changed.notify_all();
}

// The first rank that a meeting waits for although its program has ended; -1 if
// there is none.
int LocalWorld::firstLeft(const Cell &cell,
                          const std::vector<int> &members) const {
  for (size_t i = 0; i < members.size(); ++i)
    if (!cell.present[i] && left[members[i]])
      return members[i];
  return -1;
}

std::string LocalWorld::whereIs(int rank) const {
  const Collective *call = waiting[static_cast<size_t>(rank)];
  if (!call)
    return concat("rank ", rank, " is in no collective");
  return concat("rank ", rank, " waits in ", collectiveName(call->kind),
                " on group ", call->group);
}

// False if the time is over.
template <typename Ready>
bool LocalWorld::wait(std::unique_lock<std::mutex> &lock,
                      std::condition_variable &changed, Ready ready) {
  auto limit = std::chrono::duration<double>(timeoutSeconds);
  return changed.wait_for(lock, limit,
                          [&] { return failedRank >= 0 || ready(); });
}

static Status ended(const Collective &call, int peer) {
  return Status::error(MOERT_ERROR_COLLECTIVE, collectiveName(call.kind),
                       " on group ", call.group, " waits for rank ", peer,
                       ", which has ended its program");
}

static void keep(const Collective &call, size_t members, Collective &kept,
                 std::vector<int32_t> &counts) {
  size_t size = members * static_cast<size_t>(call.inner);
  kept = call;
  counts.clear();
  if (call.sendCounts)
    counts.insert(counts.end(), call.sendCounts, call.sendCounts + size);
  if (call.recvCounts)
    counts.insert(counts.end(), call.recvCounts, call.recvCounts + size);
  if (call.sendCounts)
    kept.sendCounts = counts.data();
  if (call.recvCounts)
    kept.recvCounts = counts.data() + (call.sendCounts ? size : 0);
}

// Waits until all members of the group are here. Their calls can be read
// between the first meeting of a collective and its last.
Status LocalWorld::meet(const Collective &call, int rank, bool isFirst) {
  const std::vector<int> &members = topology.members(call.group, rank);
  Cell &cell = *cells[topology.cell(call.group, rank)];
  int me = topology.indexIn(call.group, rank);
  std::unique_lock<std::mutex> lock(mutex);
  if (failedRank >= 0)
    return aborted();
  if (isFirst) // later, others may be reading it
    keep(call, members.size(), cell.calls[me], cell.counts[me]);
  cell.present[me] = true;
  if (++cell.arrived == static_cast<int>(members.size())) {
    cell.arrived = 0;
    cell.present.assign(members.size(), false);
    ++cell.round;
    cell.changed.notify_all();
    return {};
  }
  uint64_t round = cell.round;
  waiting[rank] = &call;
  bool inTime = wait(lock, cell.changed, [&] {
    return cell.round != round || firstLeft(cell, members) >= 0;
  });
  waiting[rank] = nullptr;
  if (cell.round != round)
    return {};
  if (failedRank >= 0)
    return aborted();
  if (inTime)
    return ended(call, firstLeft(cell, members));
  std::string late;
  for (size_t i = 0; i < members.size(); ++i)
    if (!cell.present[i])
      late += (late.empty() ? "" : "; ") + whereIs(members[i]);
  return Status::error(MOERT_ERROR_TIMEOUT, collectiveName(call.kind),
                       " on group ", call.group, " waited ", timeoutSeconds,
                       " s: ", late);
}

LocalWorld::Channel &LocalWorld::channel(int cell, int from, int to) {
  std::unique_ptr<Channel> &slot = channels[{cell, from, to}];
  if (!slot)
    slot = std::make_unique<Channel>();
  return *slot;
}

Status LocalWorld::send(const Collective &call, int rank, Mover &mover) {
  MOERT_TRY(mover.publish());
  int peer = topology.members(call.group, rank)[call.peer];
  std::unique_lock<std::mutex> lock(mutex);
  if (failedRank >= 0)
    return aborted();
  Channel &line = channel(topology.cell(call.group, rank), rank, peer);
  line.offered = &call;
  line.taken = false;
  line.changed.notify_all();
  waiting[rank] = &call;
  bool inTime = wait(lock, line.changed, [&] {
    return line.taken || (left[peer] && line.offered);
  });
  waiting[rank] = nullptr;
  if (line.taken)
    return mover.await(peer);
  if (failedRank >= 0)
    return aborted();
  if (inTime)
    return ended(call, peer);
  return Status::error(MOERT_ERROR_TIMEOUT, "send on group ", call.group,
                       " waited ", timeoutSeconds, " s: ", whereIs(peer));
}

Status LocalWorld::receive(const Collective &call, int rank, Mover &mover) {
  const std::vector<int> &members = topology.members(call.group, rank);
  int peer = members[call.peer];
  std::unique_lock<std::mutex> lock(mutex);
  if (failedRank >= 0)
    return aborted();
  Channel &line = channel(topology.cell(call.group, rank), peer, rank);
  waiting[rank] = &call;
  bool inTime =
      wait(lock, line.changed, [&] { return line.offered || left[peer]; });
  waiting[rank] = nullptr;
  if (!line.offered && failedRank >= 0)
    return aborted();
  if (!line.offered)
    return inTime ? ended(call, peer)
                  : Status::error(MOERT_ERROR_TIMEOUT, "recv on group ",
                                  call.group, " waited ", timeoutSeconds,
                                  " s: ", whereIs(peer));
  Collective offered = *line.offered;
  line.offered = nullptr;
  if (offered.dtype != call.dtype || offered.count != call.count)
    return Status::error(MOERT_ERROR_COLLECTIVE, "send on group ", call.group,
                         ": rank ", peer, " sends ", offered.count, " ",
                         dtypeName(offered.dtype), ", rank ", rank, " expects ",
                         call.count, " ", dtypeName(call.dtype));
  // The sender sleeps until `taken`, or leaves with an error that ends the run
  // (its buffer lives until all ranks have left).
  lock.unlock();
  MOERT_TRY(mover.await(peer));
  if (int64_t size = call.count * static_cast<int64_t>(dtypeSize(call.dtype)))
    MOERT_TRY(mover.copy(call.recv, offered.send, size, peer));
  MOERT_TRY(mover.publish());
  lock.lock();
  line.taken = true;
  line.changed.notify_all();
  return {};
}

// Meets the others; what they have put into their queues so far comes before
// what this rank does next.
Status LocalEndpoint::meet(const Collective &call, bool isFirst) {
  MOERT_TRY(mover->publish());
  MOERT_TRY(world.meet(call, rank, isFirst));
  for (int member : world.topology.members(call.group, rank))
    MOERT_TRY(mover->await(member));
  return {};
}

Status LocalEndpoint::moveBlocks(const Collective &call) {
  const std::vector<Collective> &calls =
      world.cells[world.topology.cell(call.group, rank)]->calls;
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(calls.size());
  int me = world.topology.indexIn(call.group, rank);
  for (int from = 0; from < members; ++from) {
    Block target = recvBlock(call, members, me, from);
    Block source = sendBlock(calls[from], members, from, me);
    if (source.size > 0)
      MOERT_TRY(mover->copy(at(call.recv, target.offset),
                            at(calls[from].send, source.offset), source.size,
                            ranks[from]));
  }
  return {};
}

Status LocalEndpoint::sumBlocks(const Collective &call) {
  const std::vector<Collective> &calls =
      world.cells[world.topology.cell(call.group, rank)]->calls;
  int members = static_cast<int>(calls.size());
  int me = world.topology.indexIn(call.group, rank);
  Block target = recvBlock(call, members, me, me);
  if (target.size == 0)
    return {};
  std::vector<const void *> sources;
  for (int from = 0; from < members; ++from)
    sources.push_back(
        at(calls[from].send, sendBlock(calls[from], members, from, me).offset));
  return mover->sum(call.dtype, sources,
                    world.topology.members(call.group, rank),
                    at(call.recv, target.offset),
                    target.size / static_cast<int64_t>(dtypeSize(call.dtype)));
}

// Each member has its share of the sum; now everybody takes the others'.
Status LocalEndpoint::finishAllReduce(const Collective &call) {
  MOERT_TRY(meet(call, /*isFirst=*/false));
  const std::vector<Collective> &calls =
      world.cells[world.topology.cell(call.group, rank)]->calls;
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(calls.size());
  int me = world.topology.indexIn(call.group, rank);
  for (int from = 0; from < members; ++from) {
    Block share = reduceShare(call, members, from);
    if (from != me && share.size > 0)
      MOERT_TRY(mover->copy(at(call.recv, share.offset),
                            at(calls[from].recv, share.offset), share.size,
                            ranks[from]));
  }
  return {};
}

Status LocalEndpoint::perform(const Collective &call) {
  MOERT_TRY(checkCollective(world.topology, rank, call));
  if (call.kind == CollectiveKind::Send) {
    MOERT_TRY(world.send(call, rank, *mover));
  } else if (call.kind == CollectiveKind::Recv) {
    MOERT_TRY(world.receive(call, rank, *mover));
  } else {
    MOERT_TRY(meet(call, /*isFirst=*/true));
    // All members see the same calls.
    MOERT_TRY(checkAgreement(
        world.cells[world.topology.cell(call.group, rank)]->calls,
        world.topology.members(call.group, rank),
        world.topology.indexIn(call.group, rank)));
    MOERT_TRY(isSum(call.kind) ? sumBlocks(call) : moveBlocks(call));
    if (call.kind == CollectiveKind::AllReduce)
      MOERT_TRY(finishAllReduce(call));
    // Nobody may change its buffers while others read them.
    MOERT_TRY(meet(call, /*isFirst=*/false));
  }
  countMoved(call,
             static_cast<int>(world.topology.members(call.group, rank).size()),
             world.topology.indexIn(call.group, rank),
             moved[static_cast<size_t>(call.kind)]);
  return {};
}

Status LocalEndpoint::collective(const Collective &call) {
  Status status = perform(call);
  if (!status.ok())
    world.fail(rank, status);
  return status;
}
