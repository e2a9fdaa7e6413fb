// One suite for every communicator. A backend runs a body on each rank that
// this process has; bodies know nothing of other ranks but what they can
// compute, so that ranks may be threads or processes.
#ifndef MOERT_TEST_CONFORMANCE_H
#define MOERT_TEST_CONFORMANCE_H

#include "comm/communicator.h"
#include "comm/plan.h"

#include <functional>
#include <gtest/gtest.h>

namespace moert::test {

using RankBody = std::function<void(Communicator &, int rank)>;

struct CommunicatorBackend {
  const char *name;
  // Whether it can run so many ranks here and now.
  bool (*supports)(int ranks);
  // Every rank starts afresh; returns when all of this process have finished.
  void (*run)(const Topology &topology, double timeoutSeconds,
              const RankBody &body);
  // Compares what the members call before data moves.
  bool comparesCalls = true;
  // Which elements it adds.
  bool (*adds)(moert_dtype dtype) = [](moert_dtype) { return true; };
};

inline void PrintTo(const CommunicatorBackend &backend, std::ostream *out) {
  *out << backend.name;
}

class CommunicatorTest : public testing::TestWithParam<CommunicatorBackend> {
protected:
  // Runs the body on a mesh, or skips it where the backend cannot.
  void onRanks(const Topology &topology, const RankBody &body,
               double timeoutSeconds = 60) {
    if (GetParam().supports(topology.ranks()))
      GetParam().run(topology, timeoutSeconds, body);
  }
  bool takes(CollectiveKind kind, moert_dtype dtype) const {
    return !isSum(kind) || GetParam().adds(dtype);
  }
};

} // namespace moert::test

#endif
