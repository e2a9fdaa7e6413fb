// Time of a collective over a group of a grid that lies on a machine.
#ifndef MOE_ANALYSIS_COLLECTIVECOST_H
#define MOE_ANALYSIS_COLLECTIVECOST_H

#include "moe/Analysis/Machine.h"
#include "llvm/ADT/ArrayRef.h"

namespace moe {

/// How a group lies over link domains: rank r of a grid sits in domain
/// r / domainDevices.
struct GroupShape {
  int64_t members = 1;
  int64_t domains = 1;   // that have a member
  int64_t perDomain = 1; // members in one of them, the most
};

/// The group of rank 0 over `axes` of a grid of `shape` (first axis slowest).
GroupShape groupShape(llvm::ArrayRef<int64_t> shape,
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
