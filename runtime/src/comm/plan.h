// Which rows a collective moves between two members: shared by all
// communicators, so that they cannot differ.
#ifndef MOERT_COMM_PLAN_H
#define MOERT_COMM_PLAN_H

#include "comm/communicator.h"

namespace moert {

struct Block {
  int64_t offset = 0; // bytes
  int64_t size = 0;
};

// Rows that the counts give to one member, all inner entries together.
int64_t rowsOf(const Collective &call, const int32_t *counts, int member);

// What `call`, made by member `from` of `members`, holds for member `to`. For
// all_reduce this is the share of the sum that `to` computes.
Block sendBlock(const Collective &call, int members, int from, int to);
// Where the caller, member `to`, wants what comes from member `from`. For the
// summing kinds all members' blocks go to the same place.
Block recvBlock(const Collective &call, int members, int to, int from);
// The share of all_reduce's result that a member computes, then hands to all.
Block reduceShare(const Collective &call, int members, int member);
bool isSum(CollectiveKind kind);

// Whether what member `from` sends is what member `to` expects.
bool fits(const Collective &fromCall, const Collective &toCall, int members,
          int from, int to);
// Says why not; an empty text if it fits. `ranks` are the members' numbers in
// the world.
std::string explainMismatch(const Collective &fromCall,
                            const Collective &toCall,
                            const std::vector<int> &ranks, int from, int to);

// Whether member `me` fits with all others; the error names the first pair that
// does not fit, so that it is the same on each rank and in each run.
Status checkAgreement(const std::vector<Collective> &calls,
                      const std::vector<int> &ranks, int me);

// Adds what one call moves to and from other ranks.
void countMoved(const Collective &call, int members, int me, Counter &counter);

} // namespace moert

#endif
