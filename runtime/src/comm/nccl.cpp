#include "comm/nccl.h"

#include "comm/plan.h"
#include "cuda/queue.h"
#include "dtype.h"
#include "launch/processes.h"

#include <algorithm>
#include <cstring>
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
                ", collective ", number, " of this process,");
}

namespace moert {
class NcclEndpoint final : public Communicator {
public:
  NcclEndpoint(NcclWorld &world, int rank, std::unique_ptr<Mover> mover)
      : world(world), rank(rank), mover(std::move(mover)),
        queue(static_cast<StreamQueue &>(*this->mover->queue())) {
    queue.whileWaiting = [this](double seconds) { return lookAround(seconds); };
  }
  ~NcclEndpoint() override { queue.whileWaiting = nullptr; }

  Status collective(const Collective &call) override;
  void abort(const Status &why) override { world.fail(why); }
  void leave() override { world.setPosition("has ended its program"); }

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
  Status send(const void *data, int64_t bytes, int peer);
  Status receive(void *data, int64_t bytes, int peer);
  Status mark(const Collective &call);
  Status lookAround(double seconds);
  Status late(const std::string &mine);
  std::string firstUnfinished();

  NcclWorld &world;
  const int rank;
  std::unique_ptr<Mover> mover;
  StreamQueue &queue;
  Memory blocks;           // of sums: one from each member
  std::vector<Mark> marks; // of the last collectives, a ring
  size_t enqueued = 0;
  Deadline nextLook = {}; // at what this rank waits for
};
} // namespace moert

// ---- the world

Result<std::unique_ptr<NcclWorld>> NcclWorld::join(const Topology &topology,
                                                   NcclOptions options) {
  auto refuse = [](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
  };
  if (!options.launch)
    return refuse("the communicator nccl runs one process a rank; start ",
                  topology.ranks(),
                  " with torchrun, mpirun or srun, or set RANK, WORLD_SIZE, "
                  "MASTER_ADDR and MASTER_PORT");
  const Launch &launch = *options.launch;
  if (launch.world != topology.ranks())
    return refuse("the artifact is for ", topology.ranks(), " ranks, ",
                  launchSourceName(launch.source), " started ", launch.world,
                  " processes");
  if (launch.host.empty() || launch.ports.empty())
    return refuse(launchSourceName(launch.source),
                  " does not say where rank 0 can be met; set MASTER_ADDR and "
                  "MASTER_PORT, or give --rendezvous=host:port");
  std::unique_ptr<NcclWorld> world(new NcclWorld(topology, options));
  Result<std::shared_ptr<const NcclLibrary>> library = NcclLibrary::open();
  if (!library.ok())
    return library.status();
  world->library = *library;
  RendezvousOptions meeting;
  meeting.point = {
      launch.rank, launch.world, {launch.host}, launch.ports, launch.job};
  meeting.exchangeSeconds =
      std::max(options.timeoutSeconds, options.startSeconds);
  meeting.onFailure = std::move(options.onFailure);
  Result<std::unique_ptr<Rendezvous>> joined =
      Rendezvous::join(std::move(meeting));
  if (!joined.ok())
    return joined.status();
  world->meeting = std::move(*joined);
  world->here = {launch.rank};
  world->meeting->onAsked([raw = world.get()] {
    return concat("rank ", raw->meeting->rank(), " ", raw->position());
  });
  Status started = world->start();
  if (!started.ok()) {
    world->fail(started);
    return started;
  }
  return world;
}

// The id comes from rank 0. NCCL meets in the background; who fails meanwhile
// is seen.
Status NcclWorld::start() {
  Result<int> counted = countSharers(*meeting);
  if (!counted.ok())
    return counted.status();
  sharers = *counted;
  NcclId id = {};
  if (meeting->rank() == 0)
    MOERT_TRY(library->check(library->getUniqueId(&id), nullptr,
                             "cannot make an id for NCCL"));
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
  NcclConfig config;
  config.blocking = 0;
  MOERT_TRY(
      library->check(library->commInitRankConfig(&handle, meeting->world(), id,
                                                 meeting->rank(), &config),
                     handle, "cannot join the other ranks"));
  return settle("joining the other ranks");
}

Result<bool> NcclWorld::isSettled(std::string_view what) {
  int state = NcclSuccess;
  MOERT_TRY(
      library->check(library->commGetAsyncError(handle, &state), handle, what));
  MOERT_TRY(library->check(state, handle, what));
  if (state != NcclInProgress)
    return true;
  if (meeting->failed())
    return meeting->failure();
  return false;
}

Status NcclWorld::settle(std::string_view what) {
  Deadline deadline = after(startSeconds);
  while (true) {
    Result<bool> settled = isSettled(what);
    if (!settled.ok())
      return settled.status();
    if (*settled)
      return {};
    if (std::chrono::steady_clock::now() > deadline)
      return Status::error(MOERT_ERROR_TIMEOUT, what, " took more than ",
                           startSeconds, " s in NCCL");
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void NcclWorld::fail(const Status &why) {
  meeting->fail(why);
  abortAll();
}

// What is on the stream ends, so that it can be waited for.
void NcclWorld::abortAll() {
  std::lock_guard<std::mutex> lock(mutex);
  if (!aborted && handle)
    (void)library->commAbort(handle);
  aborted = true;
}

void NcclWorld::setPosition(std::string text) {
  std::lock_guard<std::mutex> lock(mutex);
  where = std::move(text);
  since = std::chrono::steady_clock::now();
}

// Who waits says so again and again.
std::string NcclWorld::position() const {
  constexpr std::chrono::milliseconds believed(500);
  std::lock_guard<std::mutex> lock(mutex);
  bool waits = where.starts_with("waits") &&
               std::chrono::steady_clock::now() < since + believed;
  return waits || where.starts_with("has") ? where : "is in no collective";
}

Status NcclWorld::reset() {
  setPosition({});
  return failure();
}

NcclWorld::~NcclWorld() {
  if (!handle)
    return;
  bool isWhole =
      !meeting->failed() &&
      library->check(library->commFinalize(handle), handle, "").ok() &&
      settle("the end").ok();
  if (isWhole)
    (void)library->commDestroy(handle);
  else
    abortAll();
}

std::unique_ptr<Communicator>
NcclWorld::endpoint(int rank, std::unique_ptr<Mover> mover) {
  return std::make_unique<NcclEndpoint>(*this, rank, std::move(mover));
}

// ---- one rank

// What is asked for inside starts at once, in whatever order helps.
template <typename Enqueue>
Status NcclEndpoint::grouped(const Collective &call, Enqueue enqueue) {
  const NcclLibrary &nccl = *world.library;
  MOERT_TRY(nccl.check(nccl.groupStart(), world.handle, "a group"));
  Status inside = enqueue();
  Status ended = nccl.check(nccl.groupEnd(), world.handle, "a group");
  MOERT_TRY(inside);
  MOERT_TRY(ended);
  return settle(call);
}

// NCCL enqueues in the background, mostly soon; for the first transfer between
// two ranks it waits until both ask for it.
Status NcclEndpoint::settle(const Collective &call) {
  auto begin = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    Result<bool> settled = world.isSettled("a collective");
    if (!settled.ok())
      return settled.status();
    if (*settled)
      return {};
    if (round < 2000) {
      std::this_thread::yield();
      continue;
    }
    auto now = std::chrono::steady_clock::now();
    if (now >= nextLook) {
      nextLook = after(0.05);
      std::string mine = nameOf(call, enqueued + 1);
      world.setPosition("waits in " + mine);
      if (now > begin + std::chrono::duration<double>(world.timeoutSeconds))
        return late(mine);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

Status NcclEndpoint::send(const void *data, int64_t bytes, int peer) {
  if (bytes == 0)
    return {};
  return world.library->check(
      world.library->send(data, static_cast<size_t>(bytes), NcclBytes, peer,
                          world.handle, queue.stream()),
      world.handle, concat("sending to rank ", peer));
}

Status NcclEndpoint::receive(void *data, int64_t bytes, int peer) {
  if (bytes == 0)
    return {};
  return world.library->check(
      world.library->recv(data, static_cast<size_t>(bytes), NcclBytes, peer,
                          world.handle, queue.stream()),
      world.handle, concat("receiving from rank ", peer));
}

Status NcclEndpoint::exchange(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(ranks.size());
  int me = world.topology.indexIn(call.group, rank);
  MOERT_TRY(grouped(call, [&]() -> Status {
    for (int peer = 0; peer < members; ++peer) {
      if (peer == me)
        continue;
      Block out = sendBlock(call, members, me, peer);
      Block in = recvBlock(call, members, me, peer);
      MOERT_TRY(send(at(call.send, out.offset), out.size, ranks[peer]));
      MOERT_TRY(receive(at(call.recv, in.offset), in.size, ranks[peer]));
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
  MOERT_TRY(grouped(call, [&]() -> Status {
    for (int peer = 0; peer < members; ++peer) {
      if (peer == me)
        continue;
      Block out = sendBlock(call, members, me, peer);
      MOERT_TRY(send(at(call.send, out.offset), out.size, ranks[peer]));
      MOERT_TRY(
          receive(at(blocks.data(), peer * stride), mine.size, ranks[peer]));
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
  return grouped(call, [&]() -> Status {
    Block mine = reduceShare(call, members, me);
    for (int peer = 0; peer < members; ++peer) {
      if (peer == me)
        continue;
      Block share = reduceShare(call, members, peer);
      MOERT_TRY(send(at(call.recv, mine.offset), mine.size, ranks[peer]));
      MOERT_TRY(receive(at(call.recv, share.offset), share.size, ranks[peer]));
    }
    return {};
  });
}

Status NcclEndpoint::perform(const Collective &call) {
  if (world.meeting->failed())
    return world.meeting->failure();
  MOERT_TRY(checkCollective(world.topology, rank, call));
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int64_t bytes = call.count * static_cast<int64_t>(dtypeSize(call.dtype));
  if (call.kind == CollectiveKind::Send)
    MOERT_TRY(grouped(
        call, [&] { return send(call.send, bytes, ranks[call.peer]); }));
  else if (call.kind == CollectiveKind::Recv)
    MOERT_TRY(grouped(
        call, [&] { return receive(call.recv, bytes, ranks[call.peer]); }));
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
    world.fail(status);
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
  if (world.meeting->failed()) {
    world.abortAll();
    return world.meeting->failure();
  }
  Status status = world.isSettled("a collective").status();
  auto now = std::chrono::steady_clock::now();
  if (status.ok() && seconds > 0.02 && now >= nextLook) {
    nextLook = after(0.05);
    std::string mine = firstUnfinished();
    if (mine.empty()) // kernels may take as long as they need
      return {};
    world.setPosition("waits in " + mine);
    if (seconds > world.timeoutSeconds)
      status = late(mine);
  }
  if (!status.ok())
    world.fail(status);
  return status;
}

// What this rank waits in takes too long: what do the others say?
Status NcclEndpoint::late(const std::string &mine) {
  std::string others;
  for (int other = 0; other < world.topology.ranks(); ++other)
    if (other != rank)
      if (std::string answer = world.meeting->ask(other, 1); !answer.empty())
        others += (others.empty() ? "" : "; ") + answer;
  // Who fails while others are asked leaves questions without an answer.
  if (world.meeting->failed())
    return world.meeting->failure();
  return Status::error(
      MOERT_ERROR_TIMEOUT, mine, " waited ", world.timeoutSeconds,
      " s: ", others.empty() ? "no other rank answers" : others);
}
