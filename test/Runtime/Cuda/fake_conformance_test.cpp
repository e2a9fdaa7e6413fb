// The suite on the device cuda's movers and streams, over the driver that
// computes on the host (fake_cuda.cpp).
#include "on_streams.h"
#include "staged.h"

#include <cstdlib>

using namespace moert;
using namespace moert::test;

static void runOnFake(const Topology &topology, double timeoutSeconds,
                      const RankBody &body) {
  ::setenv("MOERT_CUDA_LIB", MOERT_FAKE_CUDA, 1);
  Result<Devices> devices =
      openSummingDevices({0}, {"fake", "sum_f32"}, {"fake", "sum_bf16"});
  ::unsetenv("MOERT_CUDA_LIB");
  ASSERT_TRUE(devices.ok()) << devices.status().message();
  runOnStreams(*devices, topology, timeoutSeconds, body);
}

INSTANTIATE_TEST_SUITE_P(Fake, CommunicatorTest,
                         testing::Values(CommunicatorBackend{
                             .name = "streams",
                             .supports = [](int) { return true; },
                             .run = runOnFake,
                             .adds = addsOnDevice}),
                         testing::PrintToStringParamName());
