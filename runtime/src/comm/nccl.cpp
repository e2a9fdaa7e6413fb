#include "comm/nccl.h"

#include "comm/plan.h"
#include "cuda/queue.h"
#include "dtype.h"

#include <thread>

using namespace moert;
using namespace moert::cuda;

static std::byte *at(void *data, int64_t offset) {
  return static_cast<std::byte *>(data) + offset;
}
static const std::byte *at(const void *data, int64_t offset) {
  return static_cast<const std::byte *>(data) + offset;
}

static std::string nameOf(const Collective &call, size_t number) {
  return concat(collectiveName(call.kind), " on group ", call.group,
                ", collective ", number, " of this rank,");
}

namespace {
// What is asked for between the beginning of a group of NCCL's and its end.
struct Group {
  const NcclLibrary &nccl;
  NcclHandle handle;
  StreamHandle stream;

  Status send(const void *data, int64_t bytes, int peer) const;
  Status receive(void *data, int64_t bytes, int peer) const;
};
} // namespace

Status Group::send(const void *data, int64_t bytes, int peer) const {
  if (bytes == 0)
    return {};
  return nccl.check(nccl.send(data, static_cast<size_t>(bytes), NcclBytes, peer,
                              handle, stream),
                    handle, concat("sending to rank ", peer));
}

Status Group::receive(void *data, int64_t bytes, int peer) const {
  if (bytes == 0)
    return {};
  return nccl.check(nccl.recv(data, static_cast<size_t>(bytes), NcclBytes, peer,
                              handle, stream),
                    handle, concat("receiving from rank ", peer));
}

namespace moert {
class NcclEndpoint final : public Communicator {
public:
  NcclEndpoint(NcclWorld &world, int rank, std::unique_ptr<Mover> mover)
      : world(world), own(world.member(rank)), rank(rank),
        mover(std::move(mover)),
        queue(static_cast<StreamQueue &>(*this->mover->queue())) {
    queue.whileWaiting = [this](double seconds) { return lookAround(seconds); };
  }
  ~NcclEndpoint() override { queue.whileWaiting = nullptr; }

  Status collective(const Collective &call) override;
  void abort(const Status &why) override { world.fail(rank, why); }
  void leave() override { own.setPosition("has ended its program"); }

private:
  // A collective that was enqueued, and the event behind it.
  struct Mark {
    std::string text;
    std::optional<Event> event;
  };
  Status perform(const Collective &call);
  Status exchange(const Collective &call);
  Status sumBlocks(const Collective &call);
  Status finishAllReduce(const Collective &call);
  template <typename Enqueue>
  Status grouped(const Collective &call, Enqueue enqueue);
  Status settle(const Collective &call);
  Status mark(const Collective &call);
  Status lookAround(double seconds);
  Status late(const std::string &mine);
  std::string firstUnfinished();

  NcclWorld &world;
  NcclMember &own;
  const int rank;
  std::unique_ptr<Mover> mover;
  StreamQueue &queue;
  Memory blocks;           // of sums: one from each member
  std::vector<Mark> marks; // of the last collectives, a ring
  size_t enqueued = 0;
  Deadline nextLook = {}; // at what this rank waits for
};
} // namespace moert

std::unique_ptr<Communicator>
NcclWorld::endpoint(int rank, std::unique_ptr<Mover> mover) {
  return std::make_unique<NcclEndpoint>(*this, rank, std::move(mover));
}

// ---- one rank

// What is asked for inside starts at once, in whatever order helps.
template <typename Enqueue>
Status NcclEndpoint::grouped(const Collective &call, Enqueue enqueue) {
  MOERT_TRY(own.call([&](const NcclLibrary &nccl, NcclHandle handle) -> Status {
    MOERT_TRY(nccl.check(nccl.groupStart(), handle, "a group"));
    Status inside = enqueue(Group{nccl, handle, queue.stream()});
    Status ended = nccl.check(nccl.groupEnd(), handle, "a group");
    MOERT_TRY(inside);
    return ended;
  }));
  return settle(call);
}

// NCCL enqueues in the background, mostly soon; for the first transfer between
// two ranks it waits until both ask for it.
Status NcclEndpoint::settle(const Collective &call) {
  auto begin = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    Result<bool> settled = own.isSettled("a collective");
    if (!settled.ok())
      return settled.status();
    if (*settled)
      return {};
    if (world.failed())
      return world.released(rank);
    if (round < 2000) {
      std::this_thread::yield();
      continue;
    }
    auto now = std::chrono::steady_clock::now();
    if (now >= nextLook) {
      nextLook = after(0.05);
      std::string mine = nameOf(call, enqueued + 1);
      own.setPosition("waits in " + mine);
      if (now >
          begin + std::chrono::duration<double>(world.options.timeoutSeconds))
        return late(mine);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

Status NcclEndpoint::exchange(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(ranks.size());
  int me = world.topology.indexIn(call.group, rank);
  MOERT_TRY(grouped(call, [&](const Group &group) -> Status {
    for (int peer = 0; peer < members; ++peer) {
      if (peer == me)
        continue;
      Block out = sendBlock(call, members, me, peer);
      Block in = recvBlock(call, members, me, peer);
      MOERT_TRY(group.send(at(call.send, out.offset), out.size, ranks[peer]));
      MOERT_TRY(group.receive(at(call.recv, in.offset), in.size, ranks[peer]));
    }
    return {};
  }));
  Block out = sendBlock(call, members, me, me);
  Block in = recvBlock(call, members, me, me);
  return queue.copy(at(call.recv, in.offset), at(call.send, out.offset),
                    in.size);
}

// Every member's block for this rank, this rank's own as well, then their sum.
Status NcclEndpoint::sumBlocks(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(ranks.size());
  int me = world.topology.indexIn(call.group, rank);
  int64_t size = static_cast<int64_t>(dtypeSize(call.dtype));
  Block mine = recvBlock(call, members, me, me);
  int64_t count = mine.size / size;
  int64_t stride = StreamQueue::sumStride(count) * size;
  if (count > 0)
    MOERT_TRY(queue.grow(blocks, stride * members,
                         "what a sum takes from other ranks"));
  MOERT_TRY(grouped(call, [&](const Group &group) -> Status {
    for (int peer = 0; peer < members; ++peer) {
      if (peer == me)
        continue;
      Block out = sendBlock(call, members, me, peer);
      MOERT_TRY(group.send(at(call.send, out.offset), out.size, ranks[peer]));
      MOERT_TRY(group.receive(at(blocks.data(), peer * stride), mine.size,
                              ranks[peer]));
    }
    return {};
  }));
  if (count == 0)
    return {};
  Block own = sendBlock(call, members, me, me);
  MOERT_TRY(queue.copy(at(blocks.data(), me * stride),
                       at(call.send, own.offset), own.size));
  return queue.sum(call.dtype, at(call.recv, mine.offset), blocks.data(), count,
                   members);
}

// Each member has its share of the sum and hands it to all.
Status NcclEndpoint::finishAllReduce(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(ranks.size());
  int me = world.topology.indexIn(call.group, rank);
  return grouped(call, [&](const Group &group) -> Status {
    Block mine = reduceShare(call, members, me);
    for (int peer = 0; peer < members; ++peer) {
      if (peer == me)
        continue;
      Block share = reduceShare(call, members, peer);
      MOERT_TRY(group.send(at(call.recv, mine.offset), mine.size, ranks[peer]));
      MOERT_TRY(
          group.receive(at(call.recv, share.offset), share.size, ranks[peer]));
    }
    return {};
  });
}

Status NcclEndpoint::perform(const Collective &call) {
  if (world.failed())
    return world.released(rank);
  MOERT_TRY(checkCollective(world.topology, rank, call));
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int64_t bytes = call.count * static_cast<int64_t>(dtypeSize(call.dtype));
  if (call.kind == CollectiveKind::Send)
    MOERT_TRY(grouped(call, [&](const Group &group) {
      return group.send(call.send, bytes, ranks[call.peer]);
    }));
  else if (call.kind == CollectiveKind::Recv)
    MOERT_TRY(grouped(call, [&](const Group &group) {
      return group.receive(call.recv, bytes, ranks[call.peer]);
    }));
  else
    MOERT_TRY(isSum(call.kind) ? sumBlocks(call) : exchange(call));
  if (call.kind == CollectiveKind::AllReduce)
    MOERT_TRY(finishAllReduce(call));
  countMoved(call, static_cast<int>(ranks.size()),
             world.topology.indexIn(call.group, rank),
             moved[static_cast<size_t>(call.kind)]);
  return mark(call);
}

Status NcclEndpoint::collective(const Collective &call) {
  Status status = perform(call);
  if (!status.ok())
    world.fail(rank, status);
  return status;
}

// ---- waiting

// Remembers the collective; no events while a stream is captured.
Status NcclEndpoint::mark(const Collective &call) {
  constexpr size_t ring = 64;
  Result<bool> capturing = queue.isCapturing();
  if (!capturing.ok())
    return capturing.status();
  if (*capturing)
    return {};
  if (marks.size() < ring) {
    Result<Event> event = Event::make(queue.on(), /*isTimed=*/false);
    if (!event.ok())
      return event.status();
    marks.push_back({{}, std::move(*event)});
  }
  Mark &mark = marks[enqueued++ % ring];
  mark.text = nameOf(call, enqueued);
  return queue.record(*mark.event);
}

std::string NcclEndpoint::firstUnfinished() {
  size_t first = enqueued > marks.size() ? enqueued - marks.size() : 0;
  for (size_t i = first; i < enqueued; ++i) {
    const Mark &mark = marks[i % marks.size()];
    if (queue.on()->driver().eventQuery(mark.event->get()) == NotReady)
      return mark.text;
  }
  return {};
}

// While a thread waits for the stream: have others failed, or is it too long?
Status NcclEndpoint::lookAround(double seconds) {
  if (world.failed()) {
    own.abort();
    return world.released(rank);
  }
  Status status = own.isSettled("a collective").status();
  auto now = std::chrono::steady_clock::now();
  if (status.ok() && seconds > 0.02 && now >= nextLook) {
    nextLook = after(0.05);
    std::string mine = firstUnfinished();
    if (mine.empty()) // kernels may take as long as they need
      return {};
    own.setPosition("waits in " + mine);
    if (seconds > world.options.timeoutSeconds)
      status = late(mine);
  }
  if (!status.ok())
    world.fail(rank, status);
  return status;
}

// What this rank waits in takes too long: what do the others say?
Status NcclEndpoint::late(const std::string &mine) {
  std::string others;
  for (int other = 0; other < world.topology.ranks(); ++other)
    if (other != rank)
      if (std::string answer = world.ask(other); !answer.empty())
        others += (others.empty() ? "" : "; ") + answer;
  // Who fails while others are asked leaves questions without an answer.
  if (world.failed())
    return world.released(rank);
  return Status::error(
      MOERT_ERROR_TIMEOUT, mine, " waited ", world.options.timeoutSeconds,
      " s: ", others.empty() ? "no other rank answers" : others);
}
