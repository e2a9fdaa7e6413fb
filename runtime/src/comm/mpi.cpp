#include "comm/mpi.h"

#include "comm/mpi_exchange.h"
#include "comm/plan.h"
#include "comm/sum.h"
#include "dtype.h"
#include "launch/processes.h"

#include <cstring>
#include <random>
#include <unistd.h>

using namespace moert;

namespace {
// Messages of one part of a group: calls, blocks, shares of all_reduce; and
// calls and data between two ranks.
enum Phase { Calls, Blocks, Shares, PairCalls, PairData, Phases };
} // namespace

namespace moert {
class MpiEndpoint final : public Communicator {
public:
  MpiEndpoint(MpiWorld &world) : world(world), rank(world.meeting->rank()) {}

  Status collective(const Collective &call) override;
  void abort(const Status &why) override { world.meeting->fail(why); }
  void leave() override {
    std::lock_guard<std::mutex> lock(world.mutex);
    world.hasLeft = true;
  }

private:
  int tag(const Collective &call, Phase phase) const {
    return world.topology.cell(call.group, rank) * Phases + phase;
  }
  Status perform(const Collective &call);
  Status send(const Collective &call);
  Status receive(const Collective &call);
  Status exchange(const Collective &call);
  Status moveBlocks(const Collective &call, const std::vector<int> &ranks,
                    int me);
  Status sumBlocks(const Collective &call, const std::vector<int> &ranks,
                   int me);
  Status finishAllReduce(const Collective &call, const std::vector<int> &ranks,
                         int me);

  MpiWorld &world;
  const int rank;
  std::vector<std::byte> arrived; // of sums: the others' blocks
};
} // namespace moert

static std::byte *at(void *data, int64_t offset) {
  return static_cast<std::byte *>(data) + offset;
}
static const std::byte *at(const void *data, int64_t offset) {
  return static_cast<const std::byte *>(data) + offset;
}

MpiWorld::MpiWorld(const Topology &topology, double timeoutSeconds,
                   std::shared_ptr<MpiLibrary> library, void *communicator)
    : topology(topology), timeoutSeconds(timeoutSeconds), library(library),
      communicator(communicator), here({library->rank()}) {}

MpiWorld::~MpiWorld() {
  if (meeting && meeting->failed())
    library->abandon();
}

// Where rank 0 listens; MPI carries it to the others.
static Result<std::pair<MeetingPoint, Socket>> openAt(MpiLibrary &mpi) {
  Result<Socket> listener = Socket();
  char text[4096] = {};
  if (mpi.rank() == 0) {
    listener = listenOn(0, /*onlyThisHost=*/false);
    std::random_device random;
    std::string line = concat(random(), "-", random(), "-", ::getpid());
    if (listener.ok()) {
      line += concat(" ", portOf(*listener));
      for (const std::string &address : addressesOfThisHost())
        if (line.size() + address.size() < sizeof(text) - 32)
          line += " " + address;
    }
    line.copy(text, sizeof(text) - 1);
  }
  MOERT_TRY(mpi.broadcast(text, sizeof(text)));
  if (!listener.ok())
    return listener.status();
  MeetingPoint point;
  std::istringstream in(text);
  int port = 0;
  std::string host;
  if (!(in >> point.job >> port))
    return Status::error(MOERT_ERROR_IO, "rank 0 cannot listen for the others");
  point.ports = {port};
  point.hosts = {"127.0.0.1"}; // the job's name tells if that is the right one
  while (in >> host)
    point.hosts.push_back(host);
  return std::pair(std::move(point), std::move(*listener));
}

Result<std::unique_ptr<MpiWorld>> MpiWorld::join(const Topology &topology,
                                                 MpiOptions options) {
  Result<std::shared_ptr<MpiLibrary>> opened =
      MpiLibrary::open(options.library);
  if (!opened.ok())
    return opened.status();
  MpiLibrary &mpi = **opened;
  int ranks = topology.ranks();
  if (mpi.size() < ranks || (mpi.size() > ranks && !options.allowMore))
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT, "the artifact is for ", ranks,
        ranks == 1 ? " rank" : " ranks", ", MPI's world (", mpi.description(),
        ") has ", mpi.size(), mpi.size() == 1 ? " process" : " processes",
        "; start it with mpirun -n ", ranks,
        mpi.size() == 1 ? " of the same MPI" : "");
  auto found = openAt(mpi);
  if (!found.ok())
    return found.status();
  bool isMember = mpi.rank() < ranks;
  Result<void *> communicator = mpi.split(isMember);
  if (!communicator.ok())
    return communicator.status();
  if (!isMember)
    return std::unique_ptr<MpiWorld>();
  std::unique_ptr<MpiWorld> world(
      new MpiWorld(topology, options.timeoutSeconds, *opened, *communicator));
  RendezvousOptions meeting;
  meeting.point = std::move(found->first);
  meeting.point.rank = mpi.rank();
  meeting.point.world = ranks;
  meeting.exchangeSeconds = options.timeoutSeconds;
  meeting.onFailure = std::move(options.onFailure);
  Result<std::unique_ptr<Rendezvous>> joined =
      Rendezvous::join(std::move(meeting), std::move(found->second));
  if (!joined.ok()) {
    mpi.abandon();
    return joined.status();
  }
  world->meeting = std::move(*joined);
  Result<int> sharers = countSharers(*world->meeting);
  if (!sharers.ok())
    return sharers.status();
  world->sharers = *sharers;
  world->meeting->onAsked(
      [raw = world.get()] { return raw->position().encode(); });
  return world;
}

std::unique_ptr<Communicator> MpiWorld::endpoint(int, std::unique_ptr<Mover>) {
  return std::make_unique<MpiEndpoint>(*this);
}

Status MpiWorld::reset() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    hasLeft = false;
    ++run;
  }
  return failure();
}

Status MpiWorld::failure() const { return meeting->failure(); }

void MpiWorld::setCurrent(const Collective *call) {
  std::lock_guard<std::mutex> lock(mutex);
  current = call ? std::optional(*call) : std::nullopt;
}

Position MpiWorld::position() const {
  std::lock_guard<std::mutex> lock(mutex);
  int rank = meeting->rank();
  if (!current)
    return {run, hasLeft, concat("rank ", rank, " is in no collective")};
  return {run, hasLeft,
          concat("rank ", rank, " waits in ", collectiveName(current->kind),
                 " on group ", current->group)};
}

// All members' calls, by member.
static Result<std::vector<EncodedCall>>
exchangeCalls(MpiExchange &exchange, const std::vector<int> &ranks, int me,
              const Collective &call, int tag) {
  int members = static_cast<int>(ranks.size());
  EncodedCall mine(call, members);
  for (int rank : ranks)
    if (rank != ranks[me])
      MOERT_TRY(exchange.sendCall(rank, tag, mine.bytes()));
  std::vector<int> others = ranks;
  others.erase(others.begin() + me);
  Result<std::vector<std::string>> bytes = exchange.receiveCalls(others, tag);
  if (!bytes.ok())
    return bytes.status();
  std::vector<EncodedCall> calls;
  for (size_t i = 0; i < others.size(); ++i) {
    calls.emplace_back(std::move((*bytes)[i]));
    if (!calls.back().isValid(members))
      return Status::error(MOERT_ERROR_INTERNAL, "rank ", others[i],
                           " sent what is no call");
  }
  calls.insert(calls.begin() + me, mine);
  return calls;
}

Status MpiEndpoint::exchange(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int members = static_cast<int>(ranks.size());
  int me = world.topology.indexIn(call.group, rank);
  {
    MpiExchange exchange(world, call);
    Result<std::vector<EncodedCall>> encoded =
        exchangeCalls(exchange, ranks, me, call, tag(call, Calls));
    if (!encoded.ok())
      return encoded.status();
    std::vector<Collective> calls;
    for (const EncodedCall &item : *encoded)
      calls.push_back(item.call());
    MOERT_TRY(checkAgreement(calls, ranks, me));
    MOERT_TRY(exchange.finish());
  }
  MOERT_TRY(isSum(call.kind) ? sumBlocks(call, ranks, me)
                             : moveBlocks(call, ranks, me));
  return call.kind == CollectiveKind::AllReduce && members > 1
             ? finishAllReduce(call, ranks, me)
             : Status();
}

Status MpiEndpoint::moveBlocks(const Collective &call,
                               const std::vector<int> &ranks, int me) {
  int members = static_cast<int>(ranks.size());
  MpiExchange exchange(world, call);
  for (int peer = 0; peer < members; ++peer) {
    Block target = recvBlock(call, members, me, peer);
    Block source = sendBlock(call, members, me, peer);
    if (peer == me) {
      if (source.size > 0)
        std::memcpy(at(call.recv, target.offset), at(call.send, source.offset),
                    static_cast<size_t>(source.size));
      continue;
    }
    MOERT_TRY(exchange.receive(ranks[peer], tag(call, Blocks),
                               at(call.recv, target.offset), target.size));
    MOERT_TRY(exchange.send(ranks[peer], tag(call, Blocks),
                            at(call.send, source.offset), source.size));
  }
  return exchange.finish();
}

Status MpiEndpoint::sumBlocks(const Collective &call,
                              const std::vector<int> &ranks, int me) {
  int members = static_cast<int>(ranks.size());
  Block target = recvBlock(call, members, me, me);
  size_t needed = static_cast<size_t>(target.size) * (ranks.size() - 1);
  if (arrived.size() < needed)
    arrived.resize(needed);
  MpiExchange exchange(world, call);
  std::vector<const void *> sources;
  std::byte *next = arrived.data();
  for (int peer = 0; peer < members; ++peer) {
    Block source = sendBlock(call, members, me, peer);
    if (peer == me) {
      sources.push_back(at(call.send, source.offset));
      continue;
    }
    sources.push_back(next);
    MOERT_TRY(
        exchange.receive(ranks[peer], tag(call, Blocks), next, target.size));
    MOERT_TRY(exchange.send(ranks[peer], tag(call, Blocks),
                            at(call.send, source.offset), source.size));
    next += target.size;
  }
  // Sends as well: the result may be written over what they read.
  MOERT_TRY(exchange.finish());
  if (target.size > 0)
    sumInOrder(call.dtype, sources, at(call.recv, target.offset),
               target.size / static_cast<int64_t>(dtypeSize(call.dtype)));
  return {};
}

// Each member has its share of the sum; now everybody gets the others'.
Status MpiEndpoint::finishAllReduce(const Collective &call,
                                    const std::vector<int> &ranks, int me) {
  int members = static_cast<int>(ranks.size());
  MpiExchange exchange(world, call);
  Block mine = reduceShare(call, members, me);
  for (int peer = 0; peer < members; ++peer) {
    if (peer == me)
      continue;
    Block share = reduceShare(call, members, peer);
    MOERT_TRY(exchange.receive(ranks[peer], tag(call, Shares),
                               at(call.recv, share.offset), share.size));
    MOERT_TRY(exchange.send(ranks[peer], tag(call, Shares),
                            at(call.recv, mine.offset), mine.size));
  }
  return exchange.finish();
}

static int64_t bytesOf(const Collective &call) {
  return call.count * static_cast<int64_t>(dtypeSize(call.dtype));
}

Status MpiEndpoint::send(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int peer = ranks[static_cast<size_t>(call.peer)];
  MpiExchange exchange(world, call);
  // Synchronous: done once the receiver is there.
  MOERT_TRY(exchange.sendCall(peer, tag(call, PairCalls),
                              EncodedCall(call, 0).bytes(),
                              /*synchronous=*/true));
  MOERT_TRY(exchange.send(peer, tag(call, PairData), call.send, bytesOf(call)));
  return exchange.finish();
}

Status MpiEndpoint::receive(const Collective &call) {
  const std::vector<int> &ranks = world.topology.members(call.group, rank);
  int peer = ranks[static_cast<size_t>(call.peer)];
  MpiExchange exchange(world, call);
  Result<std::vector<std::string>> bytes =
      exchange.receiveCalls({peer}, tag(call, PairCalls));
  if (!bytes.ok())
    return bytes.status();
  EncodedCall offered(std::move(bytes->front()));
  if (!offered.isValid(0))
    return Status::error(MOERT_ERROR_INTERNAL, "rank ", peer,
                         " sent what is no call");
  if (offered.call().dtype != call.dtype || offered.call().count != call.count)
    return Status::error(MOERT_ERROR_COLLECTIVE, "send on group ", call.group,
                         ": rank ", peer, " sends ", offered.call().count, " ",
                         dtypeName(offered.call().dtype), ", rank ", rank,
                         " expects ", call.count, " ", dtypeName(call.dtype));
  MOERT_TRY(
      exchange.receive(peer, tag(call, PairData), call.recv, bytesOf(call)));
  return exchange.finish();
}

Status MpiEndpoint::perform(const Collective &call) {
  MOERT_TRY(checkCollective(world.topology, rank, call));
  if (call.kind == CollectiveKind::Send)
    MOERT_TRY(send(call));
  else if (call.kind == CollectiveKind::Recv)
    MOERT_TRY(receive(call));
  else
    MOERT_TRY(exchange(call));
  countMoved(call,
             static_cast<int>(world.topology.members(call.group, rank).size()),
             world.topology.indexIn(call.group, rank),
             moved[static_cast<size_t>(call.kind)]);
  return {};
}

Status MpiEndpoint::collective(const Collective &call) {
  if (world.meeting->failed())
    return world.meeting->failure();
  world.setCurrent(&call);
  Status status = perform(call);
  world.setCurrent(nullptr);
  if (!status.ok())
    world.meeting->fail(status);
  return status;
}
