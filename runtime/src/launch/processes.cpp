#include "launch/processes.h"

#include <sched.h>

using namespace moert;

Result<int> moert::countSharers(Rendezvous &meeting) {
  cpu_set_t set;
  CPU_ZERO(&set);
  (void)::sched_getaffinity(0, sizeof(set), &set);
  std::string mine = nameOfThisHost() + " ";
  mine.append(reinterpret_cast<const char *>(&set), sizeof(set));
  Result<std::vector<std::string>> all = meeting.allGather("hosts", mine);
  if (!all.ok())
    return all.status();
  int sharers = 0;
  for (const std::string &other : *all)
    sharers += other == mine;
  return sharers;
}

static void put(std::string &text, std::string_view piece) {
  text += std::to_string(piece.size()) + ":";
  text += piece;
}

static std::string take(std::string_view &text) {
  size_t colon = text.find(':');
  size_t size = 0;
  for (char c : text.substr(0, colon))
    size = size * 10 + static_cast<size_t>(c - '0');
  std::string piece(
      text.substr(std::min(text.size(), colon + 1)).substr(0, size));
  text.remove_prefix(std::min(text.size(), colon + 1 + size));
  return piece;
}

Status moert::checkSame(Rendezvous &meeting,
                        const std::vector<Sameness> &items) {
  std::string mine;
  for (const Sameness &item : items) {
    put(mine, item.name);
    put(mine, item.digest);
  }
  Result<std::vector<std::string>> all = meeting.allGather("digests", mine);
  if (!all.ok())
    return all.status();
  for (size_t rank = 1; rank < all->size(); ++rank) {
    std::string_view first = all->front(), other = (*all)[rank];
    for (const Sameness &item : items) {
      std::string firstName = take(first), firstDigest = take(first);
      std::string otherName = take(other), otherDigest = take(other);
      if (firstDigest == otherDigest)
        continue;
      Status why = Status::error(
          MOERT_ERROR_INVALID_ARGUMENT, "rank ", rank, " has another ",
          item.what, " than rank 0: ", printable(otherName), " (", otherDigest,
          ") instead of ", printable(firstName), " (", firstDigest, ")");
      meeting.fail(why);
      return why;
    }
  }
  return {};
}
