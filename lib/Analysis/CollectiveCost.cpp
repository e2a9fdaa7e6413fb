// alpha + bytes / bandwidth for each level of links; levels work at the same
// time, so the slower one counts.
#include "moe/Analysis/CollectiveCost.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <map>

using namespace mlir;
using namespace moe;

static std::vector<int64_t> domainsOf(ArrayRef<int64_t> ranks,
                                      const Machine &machine) {
  std::vector<int64_t> domains;
  for (int64_t rank : ranks)
    domains.push_back(rank / machine.domainDevices);
  return domains;
}

static GroupShape shapeOf(ArrayRef<int64_t> ranks, const Machine &machine) {
  std::vector<int64_t> domains = domainsOf(ranks, machine);
  llvm::sort(domains);
  GroupShape group;
  group.members = ranks.size();
  int64_t same = 0;
  for (size_t i = 0; i < domains.size(); ++i) {
    bool starts = i == 0 || domains[i] != domains[i - 1];
    group.domains += starts && i > 0;
    same = starts ? 1 : same + 1;
    group.perDomain = std::max(group.perDomain, same);
  }
  return group;
}

// The ranks that differ from `rank` on `axes`, first axis slowest.
static SmallVector<int64_t> ranksOver(ArrayRef<int64_t> shape,
                                      ArrayRef<int64_t> axes, int64_t rank) {
  SmallVector<int64_t> ranks = {rank};
  for (int64_t axis : axes) {
    int64_t stride = 1;
    for (int64_t faster : shape.drop_front(axis + 1))
      stride *= faster;
    SmallVector<int64_t> more;
    for (int64_t other : ranks)
      for (int64_t digit = 0; digit < shape[axis]; ++digit)
        more.push_back(other + (digit - other / stride % shape[axis]) * stride);
    ranks = std::move(more);
  }
  return ranks;
}

GroupLayout moe::groupLayout(ArrayRef<int64_t> shape, ArrayRef<int64_t> ep,
                             ArrayRef<int64_t> axes, const Machine &machine) {
  GroupLayout layout;
  layout.shape = shapeOf(ranksOver(shape, axes, 0), machine);
  layout.meets = llvm::any_of(
      axes, [&](int64_t axis) { return llvm::is_contained(ep, axis); });
  std::map<int64_t, int64_t> numbers; // of the group with this first rank
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> alike;
  for (auto [member, rank] : llvm::enumerate(ranksOver(shape, ep, 0))) {
    SmallVector<int64_t> ranks = ranksOver(shape, axes, rank);
    layout.size = ranks.size();
    auto [number, isNew] = numbers.try_emplace(ranks.front(), numbers.size());
    if (isNew)
      layout.domains.push_back(domainsOf(ranks, machine));
    int64_t me = llvm::find(ranks, rank) - ranks.begin();
    layout.places.push_back({number->second, me});
    alike[{number->second, rank / machine.domainDevices}].push_back(member);
  }
  std::map<int64_t, std::vector<int64_t>> evenly;
  for (auto &[key, members] : alike) {
    std::vector<int64_t> &same =
        evenly[llvm::count(layout.domains[key.first], key.second)];
    same.insert(same.end(), members.begin(), members.end());
    layout.alike.push_back(std::move(members));
  }
  for (auto &[peers, members] : evenly)
    layout.evenly.push_back(std::move(members));
  return layout;
}

GroupShape moe::stridedGroup(int64_t members, int64_t stride,
                             const Machine &machine) {
  return shapeOf(llvm::map_to_vector(llvm::seq<int64_t>(0, members),
                                     [&](int64_t i) { return i * stride; }),
                 machine);
}

double moe::exchangeUs(const Machine &machine, CollectiveKind kind,
                       const GroupShape &group, double domainBytes,
                       double networkBytes) {
  if (group.members <= 1)
    return 0;
  const LinkCost &near = machine.domain.costs[static_cast<int>(kind)];
  double us = 0, latency = 0;
  if (group.perDomain > 1) {
    latency = near.latencyUs;
    us = domainBytes / (machine.domain.bandwidth * near.efficiency) * 1e6;
  }
  if (group.domains > 1) {
    const LinkCost &far = machine.network.costs[static_cast<int>(kind)];
    latency =
        std::max(latency, far.latencyUs + far.perPeerUs * (group.domains - 1));
    us = std::max(us, networkBytes /
                          (machine.network.bandwidth * far.efficiency) * 1e6);
  }
  return latency + us;
}

double moe::collectiveUs(const Machine &machine, CollectiveKind kind,
                         const GroupShape &group, double bytes) {
  double n = group.members, domains = group.domains,
         inside = bytes * (n - 1) / n, outside = 0;
  switch (kind) {
  case CollectiveKind::AllReduce: // a reduce_scatter and an all_gather
    inside *= 2;
    outside = 2 * bytes * (domains - 1) / domains / group.perDomain;
    break;
  case CollectiveKind::AllGather:
  case CollectiveKind::ReduceScatter:
    // What a domain lacks comes in once, over the links of all its members.
    outside = bytes * (domains - 1) / domains / group.perDomain;
    break;
  case CollectiveKind::AllToAll:
  case CollectiveKind::Dispatch:
    inside = bytes * (group.perDomain - 1) / n;
    outside = bytes * (n - group.perDomain) / n;
    break;
  case CollectiveKind::PointToPoint:
    inside = outside = bytes;
    break;
  }
  return exchangeUs(machine, kind, group, inside, outside);
}
