#include "comm/traffic.h"

#include "comm/plan.h"

using namespace moert;

static int64_t bytesTo(const Collective &call, int members, int me, int peer) {
  switch (call.kind) {
  case CollectiveKind::Send:
    return peer == call.peer ? sendBlock(call, members, me, peer).size : 0;
  case CollectiveKind::Recv:
    return 0;
  case CollectiveKind::AllReduce: // a share to be summed, then my sum
    return sendBlock(call, members, me, peer).size +
           reduceShare(call, members, me).size;
  default:
    return sendBlock(call, members, me, peer).size;
  }
}

int64_t Traffic::count(const Collective &call) {
  if (next == calls.size())
    calls.push_back({.kind = call.kind});
  Sent &entry = calls[next++];
  ++entry.calls;
  const std::vector<int> &ranks = topology.members(call.group, rank);
  int members = static_cast<int>(ranks.size());
  int me = topology.indexIn(call.group, rank);
  int64_t sum = 0;
  for (int peer = 0; peer < members; ++peer) {
    if (peer == me)
      continue;
    int64_t bytes = bytesTo(call, members, me, peer);
    sum += bytes;
    if (topology.indexOn(nodeAxes, ranks[static_cast<size_t>(peer)]) !=
        topology.indexOn(nodeAxes, rank))
      entry.bytesBetweenNodes += bytes;
  }
  entry.bytes += sum;
  return sum;
}
