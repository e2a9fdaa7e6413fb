#include "comm/mpi_exchange.h"

#include "dtype.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <sched.h>
#include <thread>

using namespace moert;

namespace {
struct CallHeader {
  int32_t kind;
  int32_t group;
  int32_t dtype;
  int32_t sendCounts; // how many follow
  int32_t recvCounts;
  int32_t reserved;
  int64_t row;
  int64_t count;
  int64_t inner;
};
} // namespace

EncodedCall::EncodedCall(const Collective &call, int members) {
  int64_t counts = members * call.inner;
  CallHeader header = {static_cast<int32_t>(call.kind),
                       call.group,
                       call.dtype,
                       call.sendCounts ? static_cast<int32_t>(counts) : 0,
                       call.recvCounts ? static_cast<int32_t>(counts) : 0,
                       0,
                       call.row,
                       call.count,
                       call.inner};
  text.assign(reinterpret_cast<const char *>(&header), sizeof(header));
  auto append = [&](const int32_t *values, int32_t size) {
    text.append(reinterpret_cast<const char *>(values),
                static_cast<size_t>(size) * sizeof(int32_t));
  };
  append(call.sendCounts, header.sendCounts);
  append(call.recvCounts, header.recvCounts);
}

bool EncodedCall::isValid(int members) const {
  CallHeader header;
  if (text.size() < sizeof(header))
    return false;
  std::memcpy(&header, text.data(), sizeof(header));
  int64_t counts = members * header.inner;
  auto hasAllOrNone = [&](int32_t size) { return size == 0 || size == counts; };
  return header.kind >= 0 && header.kind < CollectiveKinds &&
         isValidDtype(header.dtype) && header.row >= 0 && header.count >= 0 &&
         header.inner >= 0 && header.inner <= INT32_MAX &&
         hasAllOrNone(header.sendCounts) && hasAllOrNone(header.recvCounts) &&
         text.size() ==
             sizeof(header) +
                 sizeof(int32_t) * (static_cast<size_t>(header.sendCounts) +
                                    static_cast<size_t>(header.recvCounts));
}

Collective EncodedCall::call() const {
  CallHeader header;
  std::memcpy(&header, text.data(), sizeof(header));
  // The header's size keeps what follows aligned.
  static_assert(sizeof(CallHeader) % alignof(int32_t) == 0);
  auto *counts =
      reinterpret_cast<const int32_t *>(text.data() + sizeof(header));
  Collective call;
  call.kind = static_cast<CollectiveKind>(header.kind);
  call.group = header.group;
  call.dtype = static_cast<moert_dtype>(header.dtype);
  call.row = header.row;
  call.count = header.count;
  call.inner = header.inner;
  call.sendCounts = header.sendCounts ? counts : nullptr;
  call.recvCounts = header.recvCounts ? counts + header.sendCounts : nullptr;
  return call;
}

std::string Position::encode() const {
  return concat(run, hasLeft ? " left " : " here ", text);
}

std::optional<Position> Position::decode(const std::string &bytes) {
  Position position;
  auto [end, error] =
      std::from_chars(bytes.data(), bytes.data() + bytes.size(), position.run);
  std::string_view rest(end, bytes.data() + bytes.size());
  if (error != std::errc() || rest.size() < 6)
    return std::nullopt;
  position.hasLeft = rest.starts_with(" left ");
  position.text = printable(rest.substr(6));
  return position;
}

MpiExchange::~MpiExchange() {
  if (pending.empty())
    return;
  // Given up in a failure, which is this process's last.
  for (std::string &bytes : calls)
    world.abandoned.push_back(std::move(bytes));
}

Status MpiExchange::send(int to, int tag, const void *data, int64_t bytes) {
  auto *from = static_cast<const char *>(data);
  for (int64_t done = 0; done < bytes; done += MpiLibrary::MaxBytes) {
    Pending item = {to, {}};
    MOERT_TRY(world.library->send(world.communicator, from + done,
                                  std::min(bytes - done, MpiLibrary::MaxBytes),
                                  to, tag,
                                  /*synchronous=*/false, item.request));
    pending.push_back(item);
  }
  return {};
}

Status MpiExchange::receive(int from, int tag, void *data, int64_t bytes) {
  auto *to = static_cast<char *>(data);
  for (int64_t done = 0; done < bytes; done += MpiLibrary::MaxBytes) {
    Pending item = {from, {}};
    MOERT_TRY(world.library->receive(
        world.communicator, to + done,
        std::min(bytes - done, MpiLibrary::MaxBytes), from, tag, item.request));
    pending.push_back(item);
  }
  return {};
}

Status MpiExchange::sendCall(int to, int tag, const std::string &bytes,
                             bool synchronous) {
  if (static_cast<int64_t>(bytes.size()) > MpiLibrary::MaxBytes)
    return Status::error(MOERT_ERROR_INTERNAL, collectiveName(call.kind),
                         " with ", bytes.size(), " bytes of counts");
  calls.push_back(bytes);
  Pending item = {to, {}};
  MOERT_TRY(world.library->send(world.communicator, calls.back().data(),
                                static_cast<int64_t>(bytes.size()), to, tag,
                                synchronous, item.request));
  pending.push_back(item);
  return {};
}

// False if there is none yet.
Result<bool> MpiExchange::takeCall(int from, int tag, std::string &bytes) {
  Result<int> size = world.library->probe(world.communicator, from, tag);
  if (!size.ok())
    return size.status();
  if (*size < 0)
    return false;
  bytes.resize(static_cast<size_t>(*size));
  Pending item = {from, {}};
  MOERT_TRY(world.library->receive(world.communicator, bytes.data(), *size,
                                   from, tag, item.request));
  // It has arrived: this takes no time that counts.
  MOERT_TRY(wait([&]() -> Result<std::vector<int>> {
    Result<bool> done = world.library->test(item.request);
    if (!done.ok())
      return done.status();
    return *done ? std::vector<int>() : std::vector<int>{from};
  }));
  return true;
}

Result<std::vector<std::string>>
MpiExchange::receiveCalls(const std::vector<int> &from, int tag) {
  std::vector<std::string> bytes(from.size());
  std::vector<bool> present(from.size());
  MOERT_TRY(wait([&]() -> Result<std::vector<int>> {
    std::vector<int> late;
    for (size_t i = 0; i < from.size(); ++i) {
      if (present[i])
        continue;
      Result<bool> taken = takeCall(from[i], tag, bytes[i]);
      if (!taken.ok())
        return taken.status();
      present[i] = *taken;
      if (!*taken)
        late.push_back(from[i]);
    }
    return late;
  }));
  return bytes;
}

// Whose messages are still on their way.
Result<std::vector<int>> MpiExchange::unfinished() {
  Status status;
  std::erase_if(pending, [&](Pending &item) {
    if (!status.ok())
      return false;
    Result<bool> done = world.library->test(item.request);
    if (!done.ok())
      status = done.status();
    return done.ok() && *done;
  });
  if (!status.ok())
    return status;
  std::vector<int> late;
  for (const Pending &item : pending)
    if (std::find(late.begin(), late.end(), item.peer) == late.end())
      late.push_back(item.peer);
  std::sort(late.begin(), late.end());
  return late;
}

Status MpiExchange::finish() {
  return wait([&] { return unfinished(); });
}

// MPI has no wait that ends when another process fails, so this looks again and
// again: at first at once, soon with sleep, which leaves cores to others.
Status MpiExchange::wait(const Late &late) {
  constexpr int eager = 100;
  Deadline nextQuestion = after(0.05);
  for (int turn = 0;; ++turn) {
    Result<std::vector<int>> ranks = late();
    if (!ranks.ok())
      return ranks.status();
    if (ranks->empty())
      return {};
    if (world.meeting->failed())
      return world.meeting->failure();
    if (turn < eager) {
      ::sched_yield();
      continue;
    }
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::min(turn - eager + 1, 20) * 10));
    Deadline now = std::chrono::steady_clock::now();
    if (now >= deadline)
      return timedOut(*ranks);
    if (now >= nextQuestion) {
      MOERT_TRY(askAfter(*ranks));
      nextQuestion = after(0.5);
    }
  }
}

// A rank that has ended its program will never come.
Status MpiExchange::askAfter(const std::vector<int> &late) const {
  uint64_t run = world.position().run;
  for (int rank : late) {
    std::optional<Position> position =
        Position::decode(world.meeting->ask(rank, 0.5));
    if (position && position->hasLeft && position->run >= run)
      return Status::error(MOERT_ERROR_COLLECTIVE, collectiveName(call.kind),
                           " on group ", call.group, " waits for rank ", rank,
                           ", which has ended its program");
    if (std::chrono::steady_clock::now() >= deadline)
      break;
  }
  return {};
}

Status MpiExchange::timedOut(const std::vector<int> &late) const {
  std::string where;
  for (int rank : late) {
    std::optional<Position> position =
        Position::decode(world.meeting->ask(rank, 1));
    where +=
        (where.empty() ? "" : "; ") +
        (position ? position->text : concat("rank ", rank, " does not answer"));
  }
  // Whoever has found out meanwhile knows better.
  if (world.meeting->failed())
    return world.meeting->failure();
  return Status::error(MOERT_ERROR_TIMEOUT, collectiveName(call.kind),
                       " on group ", call.group, " waited ",
                       world.timeoutSeconds, " s: ", where);
}
