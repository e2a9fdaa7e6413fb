// The backend `local` of the conformance suite with a stream for each rank.
#ifndef MOERT_TEST_CUDA_ON_STREAMS_H
#define MOERT_TEST_CUDA_ON_STREAMS_H

#include "../conformance.h"
#include "device.h"

namespace moert::test {

// All ranks are threads that share the device's context.
void runOnStreams(std::shared_ptr<Device> device, const Topology &topology,
                  double timeoutSeconds, const RankBody &body);

} // namespace moert::test

#endif
