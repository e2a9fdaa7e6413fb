#include "comm/plan.h"

#include "checked.h"
#include "dtype.h"

#include <climits>

using namespace moert;

const char *moert::collectiveName(CollectiveKind kind) {
  static constexpr const char *names[CollectiveKinds] = {
      "all_reduce",   "all_gather",   "reduce_scatter",
      "all_to_all",   "all_gather_v", "reduce_scatter_v",
      "all_to_all_v", "send",         "recv"};
  return names[static_cast<int>(kind)];
}

bool moert::isSum(CollectiveKind kind) {
  return kind == CollectiveKind::AllReduce ||
         kind == CollectiveKind::ReduceScatter ||
         kind == CollectiveKind::ReduceScatterV;
}

int64_t moert::rowsOf(const Collective &call, const int32_t *counts,
                      int member) {
  int64_t rows = 0;
  for (int64_t i = 0; i < call.inner; ++i)
    rows += counts[member * call.inner + i];
  return rows;
}

static int64_t rowBytes(const Collective &call) {
  return call.row * static_cast<int64_t>(dtypeSize(call.dtype));
}

// Block `member` of rows that lie in member order.
static Block countedBlock(const Collective &call, const int32_t *counts,
                          int member) {
  int64_t before = 0;
  for (int i = 0; i < member; ++i)
    before += rowsOf(call, counts, i);
  return {before * rowBytes(call),
          rowsOf(call, counts, member) * rowBytes(call)};
}

Block moert::reduceShare(const Collective &call, int members, int member) {
  // Cut at whole elements; the first shares are one element longer.
  int64_t each = call.count / members, longer = call.count % members;
  int64_t begin = member * each + std::min<int64_t>(member, longer);
  int64_t size = each + (member < longer);
  return {begin * rowBytes(call), size * rowBytes(call)};
}

Block moert::sendBlock(const Collective &call, int members, int from, int to) {
  int64_t bytes = call.count * rowBytes(call);
  switch (call.kind) {
  case CollectiveKind::AllReduce:
    return reduceShare(call, members, to);
  case CollectiveKind::ReduceScatter:
  case CollectiveKind::AllToAll:
    return {to * bytes, bytes};
  case CollectiveKind::AllGatherV:
    return {0, rowsOf(call, call.sendCounts, from) * rowBytes(call)};
  case CollectiveKind::ReduceScatterV:
  case CollectiveKind::AllToAllV:
    return countedBlock(call, call.sendCounts, to);
  case CollectiveKind::AllGather:
  case CollectiveKind::Send:
  case CollectiveKind::Recv:
    break;
  }
  return {0, bytes};
}

Block moert::recvBlock(const Collective &call, int members, int to, int from) {
  int64_t bytes = call.count * rowBytes(call);
  switch (call.kind) {
  case CollectiveKind::AllReduce:
    return reduceShare(call, members, to);
  case CollectiveKind::AllGather:
  case CollectiveKind::AllToAll:
    return {from * bytes, bytes};
  case CollectiveKind::AllGatherV:
    return countedBlock(call, call.sendCounts, from);
  case CollectiveKind::ReduceScatterV:
    return {0, rowsOf(call, call.sendCounts, to) * rowBytes(call)};
  case CollectiveKind::AllToAllV:
    return countedBlock(call, call.recvCounts, from);
  case CollectiveKind::ReduceScatter:
  case CollectiveKind::Send:
  case CollectiveKind::Recv:
    break;
  }
  return {0, bytes};
}

// Shares of all_reduce may agree where the whole does not: counts are compared
// as well.
bool moert::fits(const Collective &fromCall, const Collective &toCall,
                 int members, int from, int to) {
  return fromCall.kind == toCall.kind && fromCall.dtype == toCall.dtype &&
         fromCall.row == toCall.row && fromCall.count == toCall.count &&
         sendBlock(fromCall, members, from, to).size ==
             recvBlock(toCall, members, to, from).size;
}

std::string moert::explainMismatch(const Collective &fromCall,
                                   const Collective &toCall,
                                   const std::vector<int> &ranks, int from,
                                   int to) {
  int members = static_cast<int>(ranks.size());
  if (fits(fromCall, toCall, members, from, to))
    return {};
  if (fromCall.kind != toCall.kind)
    return concat("rank ", ranks[to], " is in ", collectiveName(toCall.kind),
                  " on group ", toCall.group, ", rank ", ranks[from], " in ",
                  collectiveName(fromCall.kind));
  std::string where = concat(collectiveName(toCall.kind), " on group ",
                             toCall.group, ": rank ");
  if (fromCall.dtype != toCall.dtype)
    return concat(where, ranks[from], " sends ", dtypeName(fromCall.dtype),
                  ", rank ", ranks[to], " expects ", dtypeName(toCall.dtype));
  if (fromCall.row != toCall.row)
    return concat(where, ranks[from], " sends rows of ", fromCall.row,
                  " elements, rank ", ranks[to], " expects ", toCall.row);
  int64_t sent = sendBlock(fromCall, members, from, to).size;
  int64_t expected = recvBlock(toCall, members, to, from).size;
  if (fromCall.kind == CollectiveKind::AllReduce || rowBytes(toCall) == 0)
    return concat(where, ranks[from], " sends ", fromCall.count,
                  " elements, rank ", ranks[to], " expects ", toCall.count);
  return concat(where, ranks[from], " sends ", sent / rowBytes(toCall),
                toCall.row == 1 ? " elements" : " rows", " to rank ", ranks[to],
                ", which expects ", expected / rowBytes(toCall));
}

Status moert::checkAgreement(const std::vector<Collective> &calls,
                             const std::vector<int> &ranks, int me) {
  int members = static_cast<int>(ranks.size());
  bool good = true;
  for (int other = 0; other < members && good; ++other)
    good = fits(calls[other], calls[me], members, other, me) &&
           fits(calls[me], calls[other], members, me, other);
  if (good)
    return {};
  for (int to = 0; to < members; ++to)
    for (int from = 0; from < members; ++from)
      if (std::string text =
              explainMismatch(calls[from], calls[to], ranks, from, to);
          !text.empty())
        return Status::error(MOERT_ERROR_COLLECTIVE, text);
  return {};
}

void moert::countMoved(const Collective &call, int members, int me,
                       Counter &counter) {
  ++counter.calls;
  int64_t bytes = call.count * static_cast<int64_t>(dtypeSize(call.dtype));
  if (call.kind == CollectiveKind::Send || call.kind == CollectiveKind::Recv) {
    (call.kind == CollectiveKind::Send ? counter.bytesSent
                                       : counter.bytesReceived) += bytes;
    return;
  }
  for (int peer = 0; peer < members; ++peer) {
    if (peer == me)
      continue;
    counter.bytesSent += sendBlock(call, members, me, peer).size;
    counter.bytesReceived += recvBlock(call, members, me, peer).size;
    if (call.kind == CollectiveKind::AllReduce) {
      counter.bytesSent += reduceShare(call, members, me).size;
      counter.bytesReceived += reduceShare(call, members, peer).size;
    }
  }
}

static bool hasCounts(CollectiveKind kind) {
  return kind == CollectiveKind::AllGatherV ||
         kind == CollectiveKind::ReduceScatterV ||
         kind == CollectiveKind::AllToAllV;
}

// Counts come from the program's data: nothing about them is certain.
static Status checkCounts(const Collective &call, const int32_t *counts,
                          int members, const std::string &where) {
  if (!counts && members * call.inner > 0)
    return Status::error(MOERT_ERROR_INTERNAL, where, ": counts are missing");
  Checked total(0);
  for (int64_t i = 0; i < members * call.inner; ++i) {
    if (counts[i] < 0)
      return Status::error(MOERT_ERROR_COLLECTIVE, where, ": count ", i, " is ",
                           counts[i]);
    total = total + counts[i];
  }
  if (!(total * rowBytes(call)).get())
    return Status::error(MOERT_ERROR_COLLECTIVE, where,
                         ": the counts add up to too many bytes");
  return {};
}

Status moert::checkCollective(const Topology &topology, int rank,
                              const Collective &call) {
  auto internal = [&](const auto &...args) {
    return Status::error(MOERT_ERROR_INTERNAL, collectiveName(call.kind),
                         args...);
  };
  if (call.group < 0 || call.group >= topology.groupCount())
    return internal(" on group ", call.group, ", the artifact has ",
                    topology.groupCount());
  int members = static_cast<int>(topology.members(call.group, rank).size());
  if (call.count < 0 || call.row < 0 || call.inner < 0 ||
      call.inner > INT_MAX ||
      !(Checked(call.count) * rowBytes(call) * members).get())
    return internal(" of ", call.count, " rows of ", call.row, " elements");
  std::string where =
      concat(collectiveName(call.kind), " on group ", call.group);
  if (hasCounts(call.kind))
    MOERT_TRY(checkCounts(call, call.sendCounts, members, where));
  if (call.kind == CollectiveKind::AllToAllV)
    MOERT_TRY(checkCounts(call, call.recvCounts, members, where));
  bool pointToPoint =
      call.kind == CollectiveKind::Send || call.kind == CollectiveKind::Recv;
  if (pointToPoint && (call.peer < 0 || call.peer >= members ||
                       call.peer == topology.indexIn(call.group, rank)))
    return internal(" on group ", call.group, " with member ", call.peer,
                    " of ", members);
  return {};
}
