#include "launch/handshake.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <poll.h>
#include <thread>
#include <unistd.h>

using namespace moert;

namespace {

constexpr char Magic[16] = "moert meeting 1";
constexpr size_t JobBytes = 128, HostBytes = 64;
constexpr double AnswerSeconds = 2; // for a program that does not know us

enum class Answer : int32_t { Welcome, OtherJob, OtherWorld, RankTaken };

// Both directions begin alike, so that each can tell the other from a stranger.
struct Greeting {
  char magic[16];
  int32_t rank;
  int32_t world;
  int32_t pid;
  Answer answer; // of rank 0
  char job[JobBytes];
  char host[HostBytes];
};
static_assert(sizeof(Greeting) == 32 + JobBytes + HostBytes);

} // namespace

static void put(char *target, size_t size, const std::string &text) {
  std::memcpy(target, text.data(), std::min(size - 1, text.size()));
}

// Long names keep their end, where what differs stands.
static std::string jobKey(const std::string &job) {
  size_t most = JobBytes - 1;
  return job.size() > most ? job.substr(job.size() - most) : job;
}

static Greeting greetingOf(const MeetingPoint &point, Answer answer) {
  Greeting greeting = {};
  std::memcpy(greeting.magic, Magic, sizeof(Magic));
  greeting.rank = point.rank;
  greeting.world = point.world;
  greeting.pid = static_cast<int32_t>(::getpid());
  greeting.answer = answer;
  put(greeting.job, JobBytes, jobKey(point.job));
  put(greeting.host, HostBytes, nameOfThisHost());
  return greeting;
}

static bool isOurs(const Greeting &greeting) {
  auto answer = static_cast<int32_t>(greeting.answer);
  return std::memcmp(greeting.magic, Magic, sizeof(Magic)) == 0 &&
         answer >= 0 && answer <= static_cast<int32_t>(Answer::RankTaken) &&
         greeting.job[JobBytes - 1] == 0 && greeting.host[HostBytes - 1] == 0;
}

namespace {

// A connection that has not said yet who it is.
struct Knock {
  Socket socket;
  Greeting greeting = {};
  size_t got = 0;
  Deadline deadline;
};

class Reception {
public:
  Reception(const MeetingPoint &point, const Socket &listener)
      : point(point), listener(listener),
        present(static_cast<size_t>(point.world)) {
    present[0] = true;
  }

  Result<std::vector<Peer>> run(Deadline deadline);

private:
  void wait(Deadline deadline);
  // False if the connection is of no use any more, or has become a peer.
  bool listenTo(Knock &knock);
  bool admit(Knock &knock);
  std::string missing() const;

  const MeetingPoint &point;
  const Socket &listener;
  std::vector<bool> present;
  std::vector<Peer> peers;
  std::vector<Knock> knocks;
};

} // namespace

std::string Reception::missing() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < point.world; ++rank)
    if (!present[static_cast<size_t>(rank)])
      ranks.push_back(rank);
  if (ranks.size() > 8)
    return concat(ranks.size(), " ranks, the first of which is rank ",
                  ranks.front());
  return concat(ranks.size() == 1 ? "rank " : "ranks ", join(ranks));
}

void Reception::wait(Deadline deadline) {
  std::vector<pollfd> entries = {{listener.get(), POLLIN, 0}};
  for (const Knock &knock : knocks)
    entries.push_back({knock.socket.get(), POLLIN, 0});
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  (void)::poll(entries.data(), entries.size(),
               static_cast<int>(std::clamp<int64_t>(left.count(), 0, 100)));
}

bool Reception::admit(Knock &knock) {
  const Greeting &greeting = knock.greeting;
  if (!isOurs(greeting))
    return false;
  Answer answer = Answer::Welcome;
  if (greeting.job != jobKey(point.job))
    answer = Answer::OtherJob;
  else if (greeting.world != point.world || greeting.rank < 0 ||
           greeting.rank >= point.world)
    answer = Answer::OtherWorld;
  else if (present[static_cast<size_t>(greeting.rank)])
    answer = Answer::RankTaken;
  Greeting reply = greetingOf(point, answer);
  Status sent =
      sendAll(knock.socket, &reply, sizeof(reply), after(AnswerSeconds));
  if (!sent.ok() || answer != Answer::Welcome)
    return false;
  present[static_cast<size_t>(greeting.rank)] = true;
  peers.push_back({greeting.rank, greeting.pid, printable(greeting.host),
                   std::move(knock.socket)});
  return false;
}

bool Reception::listenTo(Knock &knock) {
  char *bytes = reinterpret_cast<char *>(&knock.greeting);
  while (knock.got < sizeof(Greeting)) {
    ssize_t got = ::read(knock.socket.get(), bytes + knock.got,
                         sizeof(Greeting) - knock.got);
    if (got == 0)
      return false;
    if (got < 0)
      return (errno == EAGAIN || errno == EINTR) &&
             std::chrono::steady_clock::now() < knock.deadline;
    knock.got += static_cast<size_t>(got);
  }
  return admit(knock);
}

Result<std::vector<Peer>> Reception::run(Deadline deadline) {
  while (static_cast<int>(peers.size()) + 1 < point.world) {
    if (std::chrono::steady_clock::now() >= deadline)
      return Status::error(MOERT_ERROR_TIMEOUT, missing(), " of ", point.world,
                           " did not come to rank 0 in time");
    wait(deadline);
    while (Socket socket = acceptFrom(listener))
      knocks.push_back({std::move(socket), {}, 0, after(AnswerSeconds)});
    std::erase_if(knocks, [&](Knock &knock) { return !listenTo(knock); });
  }
  std::sort(peers.begin(), peers.end(),
            [](const Peer &a, const Peer &b) { return a.rank < b.rank; });
  return std::move(peers);
}

static bool isThisHost(const std::string &host) {
  return host == "localhost" || host.starts_with("127.");
}

Result<Socket> moert::openMeetingPoint(const MeetingPoint &point) {
  bool onlyThisHost =
      std::all_of(point.hosts.begin(), point.hosts.end(), isThisHost);
  Status last = Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                              "no port is given for rank 0 to listen on");
  for (int port : point.ports) {
    Result<Socket> socket = listenOn(port, onlyThisHost);
    if (socket.ok())
      return socket;
    last = socket.status();
  }
  if (point.ports.size() > 1)
    return last.in(concat("none of the ports ", point.ports.front(), " to ",
                          point.ports.back(), " is free"));
  return last.in("rank 0 of another job may be there; choose another port");
}

Result<std::vector<Peer>> moert::meetOthers(const MeetingPoint &point,
                                            const Socket &listener,
                                            Deadline deadline) {
  return Reception(point, listener).run(deadline);
}

// One try at one port. An error that ends all tries is in `refusal`.
static Result<Peer> knockAt(const MeetingPoint &point, const std::string &host,
                            int port, Deadline deadline, Status &refusal) {
  Deadline answer = std::min(deadline, after(AnswerSeconds));
  Result<Socket> socket = connectTo(host, port, answer);
  if (!socket.ok())
    return socket.status();
  Greeting greeting = greetingOf(point, Answer::Welcome), reply = {};
  MOERT_TRY(sendAll(*socket, &greeting, sizeof(greeting), answer));
  // Rank 0 answers at once, a stranger perhaps never.
  MOERT_TRY(receiveAll(*socket, &reply, sizeof(reply), answer));
  std::string where = concat(printable(host), " port ", port);
  // The rank as well: a port that the system hands out can meet itself.
  if (!isOurs(reply) || reply.rank != 0)
    return Status::error(MOERT_ERROR_IO, where, " is another program's");
  switch (reply.answer) {
  case Answer::Welcome:
    return Peer{reply.rank, reply.pid, printable(reply.host),
                std::move(*socket)};
  case Answer::OtherJob:
    return Status::error(MOERT_ERROR_IO, where, " is another job's");
  case Answer::OtherWorld:
    refusal = Status::error(MOERT_ERROR_INVALID_ARGUMENT, "rank ", point.rank,
                            " of ", point.world, " came to a job of ",
                            reply.world, " processes");
    break;
  case Answer::RankTaken:
    refusal = Status::error(MOERT_ERROR_INVALID_ARGUMENT, "rank ", point.rank,
                            " is there already: two processes were started "
                            "with this rank, or two jobs with one port (",
                            where, ")");
    break;
  }
  return refusal;
}

Result<Peer> moert::meetFirst(const MeetingPoint &point, Deadline deadline) {
  Status last = Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                              "it is not known where rank 0 is");
  Status refusal;
  while (refusal.ok()) {
    for (const std::string &host : point.hosts)
      for (int port : point.ports) {
        Result<Peer> peer = knockAt(point, host, port, deadline, refusal);
        if (peer.ok() || !refusal.ok())
          return peer;
        last = peer.status();
      }
    if (std::chrono::steady_clock::now() >= deadline)
      return Status::error(MOERT_ERROR_TIMEOUT, "rank 0 was not found in time",
                           ": ", last.message());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return refusal;
}
