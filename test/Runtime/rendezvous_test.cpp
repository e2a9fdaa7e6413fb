// Processes that meet, exchange bytes, and learn of each other's end. Where
// nothing dies, threads stand for processes.
#include "launch/rendezvous.h"

#include <csignal>
#include <cstring>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace moert;

namespace {

using Joined = Result<std::unique_ptr<Rendezvous>>;

int freePort() {
  Result<Socket> socket = listenOn(0, true);
  return socket.ok() ? portOf(*socket) : 0;
}

RendezvousOptions optionsOf(int rank, int world, std::vector<int> ports,
                            const std::string &job = "test") {
  RendezvousOptions options;
  options.point = {rank, world, {"127.0.0.1"}, std::move(ports), job};
  options.joinSeconds = 20;
  options.exchangeSeconds = 20;
  return options;
}

void onThreads(int count, const std::function<void(int)> &body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&body, i] { body(i); });
  for (std::thread &thread : threads)
    thread.join();
}

// The body at each rank of one job.
void onRanks(int world, const std::function<void(Rendezvous &)> &body,
             const std::function<void(RendezvousOptions &)> &change = {}) {
  int port = freePort();
  onThreads(world, [&](int rank) {
    RendezvousOptions options = optionsOf(rank, world, {port});
    if (change)
      change(options);
    Joined joined = Rendezvous::join(std::move(options));
    ASSERT_TRUE(joined.ok()) << joined.status().message();
    body(**joined);
  });
}

// Processes of their own for the ranks from 1 on, which do nothing but live.
class Children {
public:
  Children(int world, int port) {
    for (int rank = 1; rank < world; ++rank) {
      pid_t pid = ::fork();
      if (pid == 0)
        ::_exit(live(rank, world, port));
      pids.push_back(pid);
    }
  }
  ~Children() {
    for (pid_t pid : pids) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }
  pid_t pid(int rank) const { return pids[rank - 1]; }
  // The exit status of a rank that ends by itself within some seconds; -1 if it
  // does not.
  int exitStatus(int rank) {
    for (int i = 0; i < 1000; ++i) {
      int status = 0;
      if (::waitpid(pid(rank), &status, WNOHANG) > 0) {
        pids[rank - 1] = ::fork(); // something to kill
        if (pids[rank - 1] == 0)
          ::_exit(0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
      }
      ::usleep(10000);
    }
    return -1;
  }

private:
  static int live(int rank, int world, int port) {
    Joined joined = Rendezvous::join(optionsOf(rank, world, {port}));
    if (!joined.ok())
      return 99;
    Result<std::string> none = (*joined)->broadcast("the end", "");
    return none.ok() ? 0
                     : (none.status().message().find("rank 1 failed") !=
                                std::string::npos
                            ? 7
                            : 98);
  }
  std::vector<pid_t> pids;
};

double secondsOf(const std::function<void()> &body) {
  Deadline begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
      .count();
}

bool waitForFailure(Rendezvous &meeting, double seconds) {
  for (Deadline end = after(seconds);
       !meeting.failed() && std::chrono::steady_clock::now() < end;)
    ::usleep(1000);
  return meeting.failed();
}

} // namespace

TEST(Rendezvous, BytesGoToAllAndToTheFirst) {
  onRanks(5, [](Rendezvous &meeting) {
    int rank = meeting.rank();
    EXPECT_EQ(meeting.world(), 5);
    std::string large(rank == 0 ? 3000000 : 0, 'x');
    Result<std::string> id = meeting.broadcast("an id", large);
    ASSERT_TRUE(id.ok()) << id.status().message();
    EXPECT_EQ(id->size(), 3000000u);
    for (int turn = 0; turn < 50; ++turn) {
      std::string mine(static_cast<size_t>(rank), 'a');
      Result<std::vector<std::string>> all = meeting.allGather("names", mine);
      ASSERT_TRUE(all.ok()) << all.status().message();
      ASSERT_EQ(all->size(), 5u);
      for (size_t i = 0; i < 5; ++i)
        EXPECT_EQ((*all)[i], std::string(i, 'a'));
    }
    Result<std::vector<std::string>> gathered = meeting.gather(
        "rows", std::string(2000000, static_cast<char>('0' + rank)));
    ASSERT_TRUE(gathered.ok()) << gathered.status().message();
    ASSERT_EQ(gathered->size(), rank == 0 ? 5u : 0u);
    if (rank == 0)
      EXPECT_EQ((*gathered)[4], std::string(2000000, '4'));
  });
}

TEST(Rendezvous, OneProcessNeedsNobody) {
  Joined joined = Rendezvous::join(optionsOf(0, 1, {}));
  ASSERT_TRUE(joined.ok());
  EXPECT_EQ(*(*joined)->broadcast("it", "x"), "x");
  EXPECT_EQ(*(*joined)->allGather("it", "x"), std::vector<std::string>{"x"});
}

TEST(Rendezvous, JobsOnOneHostDoNotMeet) {
  int port = freePort();
  std::vector<int> ports = {port, port + 1, port + 2};
  // Three jobs of two processes, with the same ports.
  onThreads(6, [&](int i) {
    std::string job = concat("job ", i / 2);
    Joined joined = Rendezvous::join(optionsOf(i % 2, 2, ports, job));
    ASSERT_TRUE(joined.ok()) << joined.status().message();
    Result<std::vector<std::string>> jobs = (*joined)->allGather("jobs", job);
    ASSERT_TRUE(jobs.ok()) << jobs.status().message();
    EXPECT_EQ(*jobs, std::vector<std::string>(2, job));
  });
}

TEST(Rendezvous, StrangersAtTheDoorDoNotMatter) {
  // The first port belongs to a program that never says a word.
  Result<Socket> silent = listenOn(0, true);
  ASSERT_TRUE(silent.ok());
  Result<Socket> mine = listenOn(0, true);
  ASSERT_TRUE(mine.ok());
  std::vector<int> ports = {portOf(*silent), portOf(*mine)};
  int port = ports[1];
  std::thread first([&, listener = std::move(*mine)]() mutable {
    Joined joined =
        Rendezvous::join(optionsOf(0, 2, ports), std::move(listener));
    ASSERT_TRUE(joined.ok()) << joined.status().message();
    EXPECT_TRUE((*joined)->allGather("it", "a").ok());
  });
  // Somebody who talks nonsense, and one who says nothing.
  Result<Socket> rude = connectTo("127.0.0.1", port, after(5));
  Result<Socket> shy = connectTo("127.0.0.1", port, after(5));
  ASSERT_TRUE(rude.ok() && shy.ok());
  std::string nonsense(1000, '!');
  EXPECT_TRUE(sendAll(*rude, nonsense.data(), nonsense.size(), after(5)).ok());
  Joined joined = Rendezvous::join(optionsOf(1, 2, ports));
  ASSERT_TRUE(joined.ok()) << joined.status().message();
  EXPECT_TRUE((*joined)->allGather("it", "b").ok());
  first.join();
}

TEST(Rendezvous, WhoIsMissingIsNamed) {
  int port = freePort();
  onThreads(2, [&](int i) {
    RendezvousOptions options = optionsOf(i * 2, 4, {port});
    options.joinSeconds = i == 0 ? 0.5 : 5;
    Joined joined = Rendezvous::join(std::move(options));
    if (i == 0) {
      ASSERT_FALSE(joined.ok());
      EXPECT_EQ(joined.status().message(),
                "ranks 1, 3 of 4 did not come to rank 0 in time");
    }
  });
  RendezvousOptions alone = optionsOf(1, 2, {freePort()});
  alone.joinSeconds = 0.2;
  Status status = Rendezvous::join(std::move(alone)).status();
  EXPECT_EQ(status.code(), MOERT_ERROR_TIMEOUT);
  EXPECT_NE(status.message().find("rank 0 was not found in time"),
            std::string::npos)
      << status.message();
}

TEST(Rendezvous, WrongRanksAndWorldsAreRefused) {
  int port = freePort();
  std::thread first([&] {
    RendezvousOptions options = optionsOf(0, 3, {port});
    options.joinSeconds = 2;
    EXPECT_FALSE(Rendezvous::join(std::move(options)).ok());
  });
  Status world = Rendezvous::join(optionsOf(1, 2, {port})).status();
  EXPECT_EQ(world.message(), "rank 1 of 2 came to a job of 3 processes");
  std::thread second([&] {
    RendezvousOptions options = optionsOf(1, 3, {port});
    options.joinSeconds = 4;
    (void)Rendezvous::join(std::move(options));
  });
  ::usleep(300000);
  Status twice = Rendezvous::join(optionsOf(1, 3, {port})).status();
  EXPECT_NE(twice.message().find("rank 1 is there already: two processes were "
                                 "started with this rank"),
            std::string::npos)
      << twice.message();
  first.join();
  second.join();
}

TEST(Rendezvous, ATakenPortIsNamed) {
  Result<Socket> taken = listenOn(0, true);
  ASSERT_TRUE(taken.ok());
  int port = portOf(*taken);
  Status status = Rendezvous::join(optionsOf(0, 2, {port})).status();
  EXPECT_EQ(status.message(),
            concat("rank 0 of another job may be there; choose another port: "
                   "cannot listen on port ",
                   port, ": Address already in use"));
}

TEST(Rendezvous, AFailureReachesAll) {
  std::atomic<int> told = 0;
  onRanks(
      4,
      [](Rendezvous &meeting) {
        if (meeting.rank() == 2) {
          meeting.fail(Status::error(MOERT_ERROR_PROGRAM, "no luck"));
          EXPECT_EQ(meeting.failure().message(), "no luck");
        }
        Result<std::vector<std::string>> never =
            meeting.allGather("results", "");
        EXPECT_FALSE(never.ok());
        if (meeting.rank() != 2) {
          ASSERT_TRUE(waitForFailure(meeting, 5));
          EXPECT_EQ(meeting.failure().code(), MOERT_ERROR_ABORTED);
          EXPECT_EQ(meeting.failure().message(),
                    "ended because rank 2 failed: no luck");
        }
      },
      [&](RendezvousOptions &options) {
        options.onFailure = [&](const std::string &line) {
          EXPECT_EQ(line, "rank 2 failed: no luck");
          ++told;
        };
      });
  EXPECT_EQ(told, 3);
}

// The first bytes of handshake.cpp's greetings and line.cpp's messages.
static std::string greetingOfRank0(int32_t answer) {
  std::string bytes(224, '\0');
  const int32_t numbers[] = {0, 2, 77, answer};
  std::memcpy(bytes.data(), "moert meeting 1", 15);
  std::memcpy(bytes.data() + 16, numbers, sizeof(numbers));
  std::memcpy(bytes.data() + 32, "test", 4);
  return bytes;
}
static std::string failMessage(int32_t from, uint64_t status,
                               const std::string &why) {
  const uint32_t head[] = {2, static_cast<uint32_t>(from), 1, 0};
  const uint64_t sizes[] = {status, why.size()};
  std::string bytes(reinterpret_cast<const char *>(head), sizeof(head));
  bytes.append(reinterpret_cast<const char *>(sizes), sizeof(sizes));
  return bytes + why;
}

// What rank 1 makes of a rank 0 that says this.
static Status statusAfter(const std::string &bytes, double joinSeconds = 5) {
  Result<Socket> listener = listenOn(0, true);
  RendezvousOptions options = optionsOf(1, 2, {portOf(*listener)});
  options.joinSeconds = joinSeconds;
  std::thread first([&] {
    Socket socket;
    if (waitFor(*listener, POLLIN, after(5)))
      socket = acceptFrom(*listener);
    (void)sendAll(socket, bytes.data(), bytes.size(), after(5));
    ::usleep(300000); // longer than it is listened to
  });
  Joined joined = Rendezvous::join(std::move(options));
  Status status = joined.status();
  if (joined.ok() && waitForFailure(**joined, 5))
    status = (*joined)->failure();
  first.join();
  return status;
}

TEST(Rendezvous, FailuresThatCannotBeAreStillFailures) {
  Status status =
      statusAfter(greetingOfRank0(0) + failMessage(-5, 99, "no luck"));
  EXPECT_EQ(status.code(), MOERT_ERROR_ABORTED);
  EXPECT_EQ(status.message(), "ended because rank 0 failed: no luck");
}

TEST(Rendezvous, AnAnswerThatIsNoneIsNoWelcome) {
  Status status = statusAfter(greetingOfRank0(99), 0.1);
  EXPECT_NE(status.message().find("was not found in time"), std::string::npos)
      << status.message();
}

TEST(Rendezvous, LateAndOtherExchangesAreNamed) {
  onRanks(
      3,
      [](Rendezvous &meeting) {
        if (meeting.rank() == 1) {
          EXPECT_TRUE(waitForFailure(meeting, 5));
          EXPECT_NE(meeting.failure().message().find(
                        "the exchange of digests waited 0.3 s for rank 1"),
                    std::string::npos)
              << meeting.failure().message();
          return;
        }
        EXPECT_FALSE(meeting.allGather("digests", "").ok());
      },
      [](RendezvousOptions &options) { options.exchangeSeconds = 0.3; });
  onRanks(2, [](Rendezvous &meeting) {
    Result<std::vector<std::string>> all =
        meeting.allGather(meeting.rank() ? "ids" : "digests", "");
    ASSERT_FALSE(all.ok());
    EXPECT_NE(all.status().message().find("rank 0 exchanges digests, rank 1 "
                                          "ids"),
              std::string::npos)
        << all.status().message();
  });
}

TEST(Rendezvous, AnybodyCanBeAsked) {
  onRanks(3, [](Rendezvous &meeting) {
    int rank = meeting.rank();
    meeting.onAsked([rank] { return concat("rank ", rank, " sleeps"); });
    ASSERT_TRUE(meeting.allGather("ready", "").ok());
    for (int other = 0; other < 3; ++other)
      EXPECT_EQ(meeting.ask(other, 5),
                other == rank ? "" : concat("rank ", other, " sleeps"));
    ASSERT_TRUE(meeting.allGather("done", "").ok());
  });
}

TEST(Rendezvous, LeavingIsNoFailure) {
  onRanks(3, [](Rendezvous &meeting) {
    if (meeting.rank() == 1)
      return;
    ::usleep(200000);
    EXPECT_FALSE(meeting.failed());
    if (meeting.rank() == 0) {
      ::usleep(400000); // until the others have looked
      Result<std::vector<std::string>> all = meeting.gather("results", "");
      ASSERT_FALSE(all.ok());
      EXPECT_EQ(all.status().message(),
                "the exchange of results waits for rank 1, which has ended");
    }
  });
}

TEST(Rendezvous, AKilledProcessIsNoticedAtOnce) {
  int port = freePort();
  Children children(3, port);
  std::string told;
  RendezvousOptions options = optionsOf(0, 3, {port});
  options.onFailure = [&](const std::string &line) { told = line; };
  Joined joined = Rendezvous::join(std::move(options));
  ASSERT_TRUE(joined.ok()) << joined.status().message();
  ::kill(children.pid(1), SIGKILL);
  EXPECT_LT(secondsOf([&] { EXPECT_TRUE(waitForFailure(**joined, 10)); }), 3);
  EXPECT_EQ(told, concat("rank 1 failed: process ", children.pid(1), " on ",
                         nameOfThisHost(),
                         " is gone: it was killed, crashed or lost its "
                         "connection"));
  EXPECT_EQ(children.exitStatus(2), 7);
}

TEST(Rendezvous, AStoppedProcessIsNoticedInTime) {
  int port = freePort();
  Children children(3, port);
  Joined joined = Rendezvous::join(optionsOf(0, 3, {port}));
  ASSERT_TRUE(joined.ok()) << joined.status().message();
  ::usleep(100000);
  ::kill(children.pid(1), SIGSTOP);
  EXPECT_LT(secondsOf([&] { EXPECT_TRUE(waitForFailure(**joined, 10)); }), 8);
  EXPECT_NE((*joined)->failure().message().find(
                "has given no sign of life for 5 s: it is stopped, or its host "
                "is out of reach"),
            std::string::npos);
  EXPECT_EQ(children.exitStatus(2), 7);
}

TEST(Rendezvous, TheFirstProcessIsMissedAsWell) {
  for (int signal : {SIGKILL, SIGSTOP}) {
    int port = freePort();
    pid_t first = ::fork();
    if (first == 0) {
      Joined joined = Rendezvous::join(optionsOf(0, 2, {port}));
      ::sleep(60);
      ::_exit(0);
    }
    Joined joined = Rendezvous::join(optionsOf(1, 2, {port}));
    ASSERT_TRUE(joined.ok()) << joined.status().message();
    ::kill(first, signal);
    EXPECT_TRUE(waitForFailure(**joined, 9));
    EXPECT_NE((*joined)->failure().message().find(
                  concat("rank 0 failed: process ", first)),
              std::string::npos);
    ::kill(first, SIGKILL);
    ::waitpid(first, nullptr, 0);
  }
}
