// Backends of the conformance suite with a thread and a stream for each rank.
#ifndef MOERT_TEST_CUDA_ON_STREAMS_H
#define MOERT_TEST_CUDA_ON_STREAMS_H

#include "../conformance.h"
#include "staged.h"

namespace moert::test {

// All ranks are threads of this process and take the devices in turn.
void runOnStreams(const Devices &devices, const Topology &topology,
                  double timeoutSeconds, const RankBody &body);
// A thread for each rank, which has one of the devices in turn.
using StagedBody = std::function<void(StagedRank &, int rank)>;
void runOnThreads(const Devices &devices, const Topology &topology,
                  const StagedBody &body);

} // namespace moert::test

#endif
