#include "launch/rendezvous.h"

#include "launch/line.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

using namespace moert;

static constexpr double HeartbeatSeconds = 1;
static constexpr double FlushSeconds = 1;
// Rank 0 knows best who is late: it gives up before the others do.
static constexpr double PatienceOfOthers = 5;

class Rendezvous::State {
public:
  State(RendezvousOptions options, std::vector<Peer> peers);
  ~State();

  Result<std::vector<std::string>> collect(std::string_view what,
                                           std::string_view bytes);
  Result<std::string> spread(std::string_view what, std::string_view bytes);
  void fail(const Status &why);
  Status failure() const;
  std::string ask(int rank, double seconds);
  // An exchange that fails here has failed for all.
  template <typename T> Result<T> orFail(Result<T> result) {
    if (!result.ok())
      fail(result.status());
    return result;
  }

  const RendezvousOptions options;
  const int me;
  const int world;
  std::atomic<bool> hasFailed = false;
  std::mutex answerMutex;
  std::function<std::string()> answer;

private:
  void loop();
  void waitForWork();
  void receiveAll(std::vector<std::pair<int, Message>> &received,
                  std::vector<int> &gone);
  void handle(int from, Message &message);
  void handleGone(int rank);
  void checkSilence();
  void noteFailure(int rank, Status why);
  // With the mutex held.
  Line *lineTo(int rank);
  void queue(const Message &message);
  void queueToAll(const Message &message, int except = -1);
  bool hasOutput() const;
  bool isAnyOpen() const;
  Message makeFailure() const;
  Status ended() const;
  Status waitForData(std::unique_lock<std::mutex> &lock, std::string_view what,
                     const std::vector<int> &from, double seconds);
  std::string describe(int rank) const;
  void wake();

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::vector<Line> lines; // at rank 0 to all others, elsewhere to rank 0
  uint64_t exchange = 0;   // number of the current one
  std::map<std::pair<uint64_t, int>, Message> data; // by exchange, rank
  uint64_t questions = 0;
  std::map<uint64_t, std::string> answers;
  int failedRank = -1;
  Status failedWhy;
  bool isAnnounced = false; // a failure that onFailure is being told of
  bool stopping = false;
  bool isClosing = false; // has said all that it will
  Deadline stopBy;
  Deadline nextBeat;
  Deadline lastTurn;
  Socket wakeUp;
  std::thread thread; // last: it uses all of the above
};

Rendezvous::State::State(RendezvousOptions chosen, std::vector<Peer> peers)
    : options(std::move(chosen)), me(options.point.rank),
      world(options.point.world),
      wakeUp(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (Peer &peer : peers)
    lines.emplace_back(std::move(peer));
  nextBeat = lastTurn = std::chrono::steady_clock::now();
  if (!lines.empty())
    thread = std::thread([this] { loop(); });
}

Rendezvous::State::~State() {
  if (!thread.joinable())
    return;
  {
    std::lock_guard<std::mutex> lock(mutex);
    // What others wait for is sent to the end; after a failure little matters.
    bool good = failedRank < 0;
    if (good)
      queueToAll({.kind = Message::Bye, .from = me});
    stopping = true;
    stopBy = after(good ? options.exchangeSeconds : FlushSeconds);
  }
  wake();
  thread.join();
}

void Rendezvous::State::wake() {
  uint64_t one = 1;
  // Full means that it will wake up anyway.
  (void)!::write(wakeUp.get(), &one, sizeof(one));
}

Line *Rendezvous::State::lineTo(int rank) {
  if (me != 0)
    return &lines.front();
  return rank > 0 && rank < world ? &lines[static_cast<size_t>(rank - 1)]
                                  : nullptr;
}

void Rendezvous::State::queue(const Message &message) {
  if (Line *line = lineTo(message.to))
    line->queue(message);
}

void Rendezvous::State::queueToAll(const Message &message, int except) {
  for (Line &line : lines)
    if (line.peer().rank != except)
      line.queue(message);
}

bool Rendezvous::State::hasOutput() const {
  for (const Line &line : lines)
    if (line.isOpen() && line.hasOutput())
      return true;
  return false;
}

std::string Rendezvous::State::describe(int rank) const {
  for (const Line &line : lines)
    if (line.peer().rank == rank)
      return concat("process ", line.peer().pid, " on ", line.peer().host);
  return "its process";
}

bool Rendezvous::State::isAnyOpen() const {
  for (const Line &line : lines)
    if (line.isOpen())
      return true;
  return false;
}

Message Rendezvous::State::makeFailure() const {
  return {.kind = Message::Fail,
          .from = failedRank,
          .tag = static_cast<uint64_t>(failedWhy.code()),
          .payload = failedWhy.message()};
}

void Rendezvous::State::fail(const Status &why) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (failedRank >= 0)
      return;
    failedRank = me;
    failedWhy = why;
    hasFailed = true;
    queueToAll(makeFailure());
    changed.notify_all();
  }
  wake();
}

// Of another rank; by the loop's thread, without the mutex.
void Rendezvous::State::noteFailure(int rank, Status why) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (failedRank >= 0 || isAnnounced)
      return;
    isAnnounced = true;
  }
  if (options.onFailure)
    options.onFailure(concat("rank ", rank, " failed: ", why.message()));
  std::lock_guard<std::mutex> lock(mutex);
  if (failedRank >= 0) // meanwhile this process has as well
    return;
  failedRank = rank;
  failedWhy = std::move(why);
  hasFailed = true;
  if (me == 0)
    queueToAll(makeFailure(), rank);
  changed.notify_all();
}

Status Rendezvous::State::ended() const {
  if (failedRank < 0 || failedRank == me)
    return failedWhy;
  return Status::error(MOERT_ERROR_ABORTED, "ended because rank ", failedRank,
                       " failed: ", failedWhy.message());
}

Status Rendezvous::State::failure() const {
  std::lock_guard<std::mutex> lock(mutex);
  return ended();
}

void Rendezvous::State::waitForWork() {
  std::vector<pollfd> entries = {{wakeUp.get(), POLLIN, 0}};
  Deadline until = nextBeat;
  {
    std::lock_guard<std::mutex> lock(mutex);
    for (const Line &line : lines)
      if (line.isOpen())
        entries.push_back(
            {line.fd(),
             static_cast<short>(POLLIN | (line.hasOutput() ? POLLOUT : 0)), 0});
    if (stopping)
      until = std::min(until, stopBy);
  }
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
      until - std::chrono::steady_clock::now());
  (void)::poll(entries.data(), entries.size(),
               static_cast<int>(std::max<int64_t>(0, left.count())));
  uint64_t count;
  (void)!::read(wakeUp.get(), &count, sizeof(count));
}

void Rendezvous::State::receiveAll(
    std::vector<std::pair<int, Message>> &received, std::vector<int> &gone) {
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<Message> messages;
  for (Line &line : lines) {
    if (!line.isOpen())
      continue;
    // Sending may fail before all that came has been read: only reading tells
    // the end.
    bool isGood = line.receive(messages);
    (void)line.flush();
    for (Message &message : messages)
      received.emplace_back(line.peer().rank, std::move(message));
    messages.clear();
    if (isGood)
      continue;
    line.close();
    gone.push_back(line.peer().rank);
    changed.notify_all();
  }
}

void Rendezvous::State::handle(int from, Message &message) {
  bool isForwarded =
      message.kind == Message::Ask || message.kind == Message::Answer;
  if (me == 0 && isForwarded && message.to != 0) {
    std::lock_guard<std::mutex> lock(mutex);
    queue(message);
    return;
  }
  switch (message.kind) {
  case Message::Heartbeat:
    return;
  case Message::Bye: {
    std::lock_guard<std::mutex> lock(mutex);
    lineTo(from)->saidBye = true;
    changed.notify_all();
    return;
  }
  case Message::Fail: {
    // Rank 0 passes on what others say, others speak for themselves.
    int rank = me == 0 ? from : message.from;
    bool isRank = rank >= 0 && rank < world;
    bool isCode = message.tag > MOERT_OK && message.tag <= MOERT_ERROR_INTERNAL;
    moert_status code =
        isCode ? static_cast<moert_status>(message.tag) : MOERT_ERROR_INTERNAL;
    return noteFailure(isRank ? rank : from,
                       Status::error(code, message.payload));
  }
  case Message::Ask: {
    std::string text;
    {
      std::lock_guard<std::mutex> lock(answerMutex);
      text = answer ? answer() : std::string();
    }
    std::lock_guard<std::mutex> lock(mutex);
    return queue({.kind = Message::Answer,
                  .from = me,
                  .to = message.from,
                  .tag = message.tag,
                  .payload = text});
  }
  case Message::Answer: {
    std::lock_guard<std::mutex> lock(mutex);
    if (auto it = answers.find(message.tag); it != answers.end())
      it->second = message.payload;
    changed.notify_all();
    return;
  }
  case Message::Data: {
    std::lock_guard<std::mutex> lock(mutex);
    uint64_t number = message.tag;
    data[{number, from}] = std::move(message);
    changed.notify_all();
    return;
  }
  }
}

void Rendezvous::State::handleGone(int rank) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (lineTo(rank)->saidBye || isClosing)
      return;
  }
  noteFailure(rank, Status::error(MOERT_ERROR_ABORTED, describe(rank),
                                  " is gone: it was killed, crashed or lost "
                                  "its connection"));
}

void Rendezvous::State::checkSilence() {
  // Whoever was stopped itself has heard nobody: that says nothing of them.
  Deadline now = std::chrono::steady_clock::now();
  bool sleptLong = std::chrono::duration<double>(now - lastTurn).count() >
                   options.silenceSeconds / 2;
  lastTurn = now;
  std::vector<int> silent;
  {
    std::lock_guard<std::mutex> lock(mutex);
    for (Line &line : lines) {
      if (sleptLong)
        line.forgive();
      if (line.isOpen() && !line.saidBye && !isClosing &&
          line.silentSeconds() > options.silenceSeconds)
        silent.push_back(line.peer().rank);
    }
  }
  for (int rank : silent)
    noteFailure(rank, Status::error(MOERT_ERROR_TIMEOUT, describe(rank),
                                    " has given no sign of life for ",
                                    options.silenceSeconds,
                                    " s: it is stopped, or its host is out of "
                                    "reach"));
}

void Rendezvous::State::loop() {
  ::pthread_setname_np(::pthread_self(), "moert meeting");
  while (true) {
    waitForWork();
    std::vector<std::pair<int, Message>> received;
    std::vector<int> gone;
    receiveAll(received, gone);
    for (auto &[from, message] : received)
      handle(from, message);
    for (int rank : gone)
      handleGone(rank);
    checkSilence();
    std::lock_guard<std::mutex> lock(mutex);
    Deadline now = std::chrono::steady_clock::now();
    if (now >= nextBeat && !isClosing) {
      nextBeat = now + std::chrono::duration_cast<Deadline::duration>(
                           std::chrono::duration<double>(HeartbeatSeconds));
      queueToAll({.kind = Message::Heartbeat, .from = me});
    }
    for (Line &line : lines)
      (void)line.flush(); // a broken one is found by the next receive
    if (!stopping)
      continue;
    if (now >= stopBy)
      return;
    // The others close first: what they have sent and nobody read would turn
    // this end into an error on their side, before they have read all.
    if (!hasOutput() && !isClosing) {
      isClosing = true;
      stopBy = std::min(stopBy, after(FlushSeconds));
      for (Line &line : lines)
        line.finish();
    }
    if (isClosing && !isAnyOpen())
      return;
  }
}

// Waits until the current exchange has something from each of these ranks.
Status Rendezvous::State::waitForData(std::unique_lock<std::mutex> &lock,
                                      std::string_view what,
                                      const std::vector<int> &from,
                                      double seconds) {
  auto missing = [&] {
    std::vector<int> ranks;
    for (int rank : from)
      if (!data.contains({exchange, rank}))
        ranks.push_back(rank);
    return ranks;
  };
  auto firstLeft = [&] {
    for (int rank : missing())
      if (lineTo(rank)->saidBye)
        return rank;
    return -1;
  };
  changed.wait_until(lock, after(seconds), [&] {
    return failedRank >= 0 || missing().empty() || firstLeft() >= 0;
  });
  if (missing().empty()) {
    for (int rank : from)
      if (const Message &got = data[{exchange, rank}]; got.label != what)
        return Status::error(MOERT_ERROR_COLLECTIVE, "rank ", me, " exchanges ",
                             what, ", rank ", rank, " ", printable(got.label));
    return {};
  }
  if (failedRank >= 0)
    return ended();
  if (int rank = firstLeft(); rank >= 0)
    return Status::error(MOERT_ERROR_COLLECTIVE, "the exchange of ", what,
                         " waits for rank ", rank, ", which has ended");
  return Status::error(MOERT_ERROR_TIMEOUT, "the exchange of ", what,
                       " waited ", seconds, " s for rank ",
                       moert::join(missing()));
}

// Everybody's bytes at rank 0.
Result<std::vector<std::string>>
Rendezvous::State::collect(std::string_view what, std::string_view bytes) {
  std::unique_lock<std::mutex> lock(mutex);
  if (failedRank >= 0)
    return ended();
  ++exchange;
  std::vector<std::string> result;
  if (me != 0) {
    queue({.kind = Message::Data,
           .from = me,
           .tag = exchange,
           .label = std::string(what),
           .payload = std::string(bytes)});
    lock.unlock();
    wake();
    return result;
  }
  std::vector<int> others;
  for (int rank = 1; rank < world; ++rank)
    others.push_back(rank);
  MOERT_TRY(waitForData(lock, what, others, options.exchangeSeconds));
  result.emplace_back(bytes);
  for (int rank : others) {
    result.push_back(std::move(data[{exchange, rank}].payload));
    data.erase({exchange, rank});
  }
  return result;
}

// Rank 0's bytes at all.
Result<std::string> Rendezvous::State::spread(std::string_view what,
                                              std::string_view bytes) {
  std::unique_lock<std::mutex> lock(mutex);
  if (failedRank >= 0)
    return ended();
  ++exchange;
  if (me == 0) {
    queueToAll({.kind = Message::Data,
                .from = 0,
                .tag = exchange,
                .label = std::string(what),
                .payload = std::string(bytes)});
    lock.unlock();
    wake();
    return std::string(bytes);
  }
  MOERT_TRY(
      waitForData(lock, what, {0}, options.exchangeSeconds + PatienceOfOthers));
  std::string result = std::move(data[{exchange, 0}].payload);
  data.erase({exchange, 0});
  return result;
}

std::string Rendezvous::State::ask(int rank, double seconds) {
  if (rank == me || rank < 0 || rank >= world)
    return {};
  std::unique_lock<std::mutex> lock(mutex);
  uint64_t number = ++questions;
  answers[number];
  queue({.kind = Message::Ask, .from = me, .to = rank, .tag = number});
  wake();
  changed.wait_until(lock, after(seconds), [&] {
    return !answers[number].empty() || failedRank >= 0;
  });
  std::string text = std::move(answers[number]);
  answers.erase(number);
  return text;
}

Rendezvous::Rendezvous(std::unique_ptr<State> state)
    : state(std::move(state)) {}
Rendezvous::~Rendezvous() = default;
int Rendezvous::rank() const { return state->me; }
int Rendezvous::world() const { return state->world; }
void Rendezvous::fail(const Status &why) { state->fail(why); }
bool Rendezvous::failed() const { return state->hasFailed; }
Status Rendezvous::failure() const { return state->failure(); }
std::string Rendezvous::ask(int rank, double seconds) {
  return state->ask(rank, seconds);
}

void Rendezvous::onAsked(std::function<std::string()> answer) {
  std::lock_guard<std::mutex> lock(state->answerMutex);
  state->answer = std::move(answer);
}

Result<std::unique_ptr<Rendezvous>> Rendezvous::join(RendezvousOptions options,
                                                     Socket listener) {
  std::vector<Peer> peers;
  const MeetingPoint &point = options.point;
  Deadline deadline = after(options.joinSeconds);
  if (point.world > 1 && point.rank == 0) {
    if (!listener) {
      Result<Socket> opened = openMeetingPoint(point);
      if (!opened.ok())
        return opened.status();
      listener = std::move(*opened);
    }
    Result<std::vector<Peer>> met = meetOthers(point, listener, deadline);
    if (!met.ok())
      return met.status();
    peers = std::move(*met);
  } else if (point.world > 1) {
    Result<Peer> first = meetFirst(point, deadline);
    if (!first.ok())
      return first.status();
    peers.push_back(std::move(*first));
  }
  return std::unique_ptr<Rendezvous>(new Rendezvous(
      std::make_unique<State>(std::move(options), std::move(peers))));
}

Result<std::string> Rendezvous::broadcast(std::string_view what,
                                          std::string_view bytes) {
  return state->orFail(state->spread(what, bytes));
}

Result<std::vector<std::string>> Rendezvous::gather(std::string_view what,
                                                    std::string_view bytes) {
  return state->orFail(state->collect(what, bytes));
}

Result<std::vector<std::string>> Rendezvous::allGather(std::string_view what,
                                                       std::string_view bytes) {
  Result<std::vector<std::string>> all = gather(what, bytes);
  if (!all.ok())
    return all;
  std::string packed;
  for (const std::string &item : *all) {
    uint64_t size = item.size();
    packed.append(reinterpret_cast<const char *>(&size), sizeof(size));
    packed += item;
  }
  Result<std::string> spread = broadcast(what, packed);
  if (!spread.ok() || state->me == 0)
    return spread.ok() ? std::move(all) : spread.status();
  std::vector<std::string> result;
  std::string_view rest = *spread;
  while (rest.size() >= sizeof(uint64_t)) {
    uint64_t size = 0;
    rest.copy(reinterpret_cast<char *>(&size), sizeof(size));
    rest.remove_prefix(sizeof(size));
    if (size > rest.size())
      break;
    result.emplace_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  if (static_cast<int>(result.size()) != state->world || !rest.empty())
    return Status::error(MOERT_ERROR_INTERNAL, "the exchange of ", what,
                         " gave ", result.size(), " parts instead of ",
                         state->world);
  return result;
}
