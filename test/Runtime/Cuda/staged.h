// Ranks whose collectives move device memory, for suites that know nothing of
// devices: what a call names in host memory is copied to the device before, and
// back after it.
#ifndef MOERT_TEST_CUDA_STAGED_H
#define MOERT_TEST_CUDA_STAGED_H

#include "comm/world.h"
#include "device.h"

namespace moert::test {

// A kernel that adds what ranks send: an image as artifacts have it, and the
// function in it.
struct SumImage {
  std::string image, function;
};
// GPUs with the kernels of an artifact that adds f32 and bf16.
using Devices = std::vector<std::shared_ptr<Device>>;
Result<Devices> openSummingDevices(const std::vector<int> &numbers,
                                   const SumImage &f32, const SumImage &bf16);
bool addsOnDevice(moert_dtype dtype);

// One rank's stream and device memory; they must outlive what all ranks do.
class StagedRank {
public:
  static Result<std::unique_ptr<StagedRank>>
  make(std::shared_ptr<Device> device, const Topology &topology, int rank);

  // By the thread that works for the rank.
  Status enter() { return stream->enter(); }
  // Its way to the others, which copies to and from the device.
  std::unique_ptr<Communicator> endpoint(World &world);
  // Its way to the others for what is device memory already.
  std::unique_ptr<Communicator> bareEndpoint(World &world) {
    return world.endpoint(rank, std::move(mover));
  }
  Status finish() { return stream->finish(); }
  Queue &queue() { return *stream; }

  // Device memory that grows; each call may move what it holds.
  Result<void *> sendBuffer(int64_t bytes) { return grow(send, bytes); }
  Result<void *> recvBuffer(int64_t bytes) { return grow(recv, bytes); }

private:
  StagedRank(std::shared_ptr<Device> device, const Topology &topology, int rank)
      : device(std::move(device)), topology(topology), rank(rank) {}
  Result<void *> grow(Memory &memory, int64_t bytes);

  std::shared_ptr<Device> device;
  const Topology topology;
  const int rank;
  std::unique_ptr<Queue> stream;
  std::unique_ptr<Mover> mover;
  // Smaller ones that others may still read.
  std::vector<Memory> outgrown;
  Memory send, recv;
};

} // namespace moert::test

#endif
