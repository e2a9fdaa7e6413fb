// The meeting of a job's processes from its first byte on: what rank 0 hears
// from those who knock, and what a process hears that took somebody for rank 0.
// The others here are made of choices: greetings and messages that are right
// but for some fields, and any bytes.
#include "fuzz.h"

#include "launch/line.h"
#include "launch/rendezvous.h"

#include <algorithm>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

using namespace moert;

namespace {

// As in handshake.cpp and line.h.
struct Greeting {
  char magic[16];
  int32_t rank, world, pid, answer;
  char job[128];
  char host[64];
};
struct Header {
  uint32_t kind;
  int32_t from, to;
  uint32_t labelSize;
  uint64_t tag, size;
};

constexpr int World = 3;
constexpr double Seconds = 0.008; // nobody is waited for longer

} // namespace

static int64_t numberNear(int64_t right, fuzz::Choices &choices) {
  static const int64_t others[] = {0,
                                   1,
                                   2,
                                   -1,
                                   World,
                                   INT32_MAX,
                                   INT32_MIN,
                                   int64_t(1) << 20,
                                   int64_t(1) << 40,
                                   INT64_MAX};
  return choices.below(6) ? right : others[choices.below(std::size(others))];
}

static std::string bytesOf(const void *data, size_t size) {
  return {static_cast<const char *>(data), size};
}

static std::string greeting(int rank, fuzz::Choices &choices) {
  Greeting greeting = {};
  std::memcpy(greeting.magic, "moert meeting 1", 16);
  greeting.rank = static_cast<int32_t>(numberNear(rank, choices));
  greeting.world = static_cast<int32_t>(numberNear(World, choices));
  greeting.pid = static_cast<int32_t>(numberNear(7, choices));
  greeting.answer = static_cast<int32_t>(numberNear(0, choices));
  std::strcpy(greeting.job, choices.below(6) ? "job" : "other");
  std::string_view host = choices.take(choices.below(4) ? 4 : 64);
  std::copy(host.begin(), host.end(), greeting.host);
  std::string bytes = bytesOf(&greeting, sizeof(greeting));
  if (choices.below(8) == 0)
    bytes[choices.below(bytes.size())] ^= 1 << choices.below(8);
  return bytes;
}

static std::string message(int rank, fuzz::Choices &choices) {
  static const char *const labels[] = {"names", "digests", "", "\n"};
  std::string label = labels[choices.below(std::size(labels))];
  std::string payload(choices.take(choices.below(24)));
  Header header = {};
  header.kind = static_cast<uint32_t>(
      numberNear(static_cast<int64_t>(choices.below(Message::Kinds)), choices));
  header.from = static_cast<int32_t>(numberNear(rank, choices));
  header.to = static_cast<int32_t>(
      numberNear(static_cast<int64_t>(choices.below(World)), choices));
  header.labelSize = static_cast<uint32_t>(
      numberNear(static_cast<int64_t>(label.size()), choices));
  header.tag = static_cast<uint64_t>(
      numberNear(static_cast<int64_t>(choices.below(4)), choices));
  header.size = static_cast<uint64_t>(
      numberNear(static_cast<int64_t>(payload.size()), choices));
  return bytesOf(&header, sizeof(header)) + label + payload;
}

// All that one other process says.
static std::string speech(int rank, fuzz::Choices &choices) {
  std::string bytes;
  if (choices.below(8))
    bytes += greeting(rank, choices);
  for (uint64_t i = choices.below(6); i > 0 && !choices.done(); --i)
    bytes += choices.below(8) ? message(rank, choices)
                              : std::string(choices.take(choices.below(300)));
  return bytes;
}

// What a process does once it has met the others; any of it may fail.
static void exchange(const RendezvousOptions &options, Socket listener,
                     fuzz::Choices &choices) {
  Result<std::unique_ptr<Rendezvous>> met =
      Rendezvous::join(options, std::move(listener));
  if (!met.ok()) {
    fuzz::require(!met.status().message().empty(),
                  "an error says what is wrong");
    return;
  }
  Rendezvous &rendezvous = **met;
  rendezvous.onAsked([] { return std::string("waits"); });
  for (uint64_t i = choices.below(4); i > 0; --i) {
    switch (choices.below(5)) {
    case 0:
      (void)rendezvous.broadcast("names", "here");
      break;
    case 1: {
      Result<std::vector<std::string>> all =
          rendezvous.gather("digests", "here");
      fuzz::require(!all.ok() || rendezvous.rank() != 0 || all->size() == World,
                    "what is gathered is everybody's");
      break;
    }
    case 2: {
      Result<std::vector<std::string>> all =
          rendezvous.allGather("names", "here");
      fuzz::require(!all.ok() || all->size() == World,
                    "what is gathered is everybody's");
      break;
    }
    case 3:
      (void)rendezvous.ask(static_cast<int>(choices.below(World)), 0.002);
      break;
    default:
      rendezvous.fail(Status::error(MOERT_ERROR_IO, "the disk is full"));
    }
  }
  (void)rendezvous.failure();
}

// Addresses without a file or a port, which would be used up.
static sockaddr_un addressOf(const Socket &socket) {
  sockaddr_un address = {};
  socklen_t size = sizeof(address);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr *>(&address), &size);
  return address;
}

static Socket listenSomewhere() {
  Socket listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  fuzz::require(::bind(listener.get(), reinterpret_cast<sockaddr *>(&address),
                       sizeof(sa_family_t)) == 0 &&
                    ::listen(listener.get(), 16) == 0,
                "sockets can be made");
  return listener;
}

static Socket knockAt(const sockaddr_un &address, const std::string &speech) {
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  // The kernel's names of such addresses have five characters behind a zero.
  constexpr socklen_t size = sizeof(sa_family_t) + 6;
  fuzz::require(::connect(socket.get(),
                          reinterpret_cast<const sockaddr *>(&address),
                          size) == 0,
                "sockets can be connected");
  (void)!::send(socket.get(), speech.data(), speech.size(), MSG_NOSIGNAL);
  return socket;
}

static void beFirst(RendezvousOptions options, fuzz::Choices &choices) {
  Socket listener = listenSomewhere();
  sockaddr_un address = addressOf(listener);
  std::vector<Socket> others;
  for (uint64_t i = 0, count = 1 + choices.below(World + 1); i < count; ++i)
    others.push_back(knockAt(
        address, speech(static_cast<int>(1 + i % (World - 1)), choices)));
  // They leave at once, or stay silent until this process has finished.
  if (choices.below(2))
    others.clear();
  for (Socket &other : others)
    ::shutdown(other.get(), SHUT_WR);
  exchange(options, std::move(listener), choices);
}

static void beOther(RendezvousOptions options, fuzz::Choices &choices) {
  static const Socket listener = [] {
    Result<Socket> opened = listenOn(0, /*onlyThisHost=*/true);
    fuzz::require(opened.ok(), "a port can be opened");
    return std::move(*opened);
  }();
  options.point.rank = 1;
  options.point.hosts = {"127.0.0.1"};
  options.point.ports = {portOf(listener)};
  std::string said = speech(0, choices);
  bool leaves = choices.below(2) == 0;
  std::thread first([&] {
    Deadline end = after(Seconds);
    std::vector<Socket> guests;
    while (waitFor(listener, POLLIN, end)) {
      Socket guest = acceptFrom(listener);
      if (!guest)
        continue;
      // What is not read makes the end of a connection an error on both sides.
      char ignored[sizeof(Greeting)];
      (void)receiveAll(guest, ignored, sizeof(ignored), end);
      (void)sendAll(guest, said.data(), said.size(), end);
      ::shutdown(guest.get(), SHUT_WR);
      if (!leaves)
        guests.push_back(std::move(guest));
    }
  });
  exchange(options, Socket(), choices);
  first.join();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz::Choices choices(data, size);
  RendezvousOptions options;
  options.point.world = World;
  options.point.job = "job";
  options.joinSeconds = options.exchangeSeconds = Seconds;
  options.onFailure = [](const std::string &) {};
  if (choices.below(2) == 0)
    beFirst(options, choices);
  else
    beOther(options, choices);
  return 0;
}
