// Time of a collective over a group of a grid that lies on a machine.
#ifndef MOE_ANALYSIS_COLLECTIVECOST_H
#define MOE_ANALYSIS_COLLECTIVECOST_H

#include "moe/Analysis/Machine.h"
#include "llvm/ADT/ArrayRef.h"
#include <vector>

namespace moe {

/// How a group lies over link domains: rank r of a grid sits in domain
/// r / domainDevices.
struct GroupShape {
  int64_t members = 1;
  int64_t domains = 1;   // that have a member
  int64_t perDomain = 1; // members in one of them, the most
};

/// The groups over some axes in which the members of an expert group take part:
/// the ranks that differ on ep, first axis slowest.
struct GroupLayout {
  struct Place {
    int64_t group, me; // number of the group, and of the member in it
  };
  GroupShape shape;                          // of the first group
  int64_t size = 1;                          // of a group
  bool meets = false;                        // members meet in a group
  std::vector<Place> places;                 // of each member
  std::vector<std::vector<int64_t>> domains; // of a group's ranks
  std::vector<std::vector<int64_t>> alike;   // members of one group and domain
  std::vector<std::vector<int64_t>> evenly;  // with as many peers in the domain
};
GroupLayout groupLayout(llvm::ArrayRef<int64_t> shape,
                        llvm::ArrayRef<int64_t> ep,
                        llvm::ArrayRef<int64_t> axes, const Machine &machine);
/// Members `stride` ranks apart.
GroupShape stridedGroup(int64_t members, int64_t stride,
                        const Machine &machine);

/// us of a collective in which each member holds or ends up with `bytes`:
/// what all_gather returns, what the others take. An all_to_all sends equal
/// shares.
double collectiveUs(const Machine &machine, CollectiveKind kind,
                    const GroupShape &group, double bytes);

/// us of an exchange whose busiest member moves these bytes in one direction
/// inside its domain and out of it.
double exchangeUs(const Machine &machine, CollectiveKind kind,
                  const GroupShape &group, double domainBytes,
                  double networkBytes);

} // namespace moe
#endif
