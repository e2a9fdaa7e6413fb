#include "staged.h"

#include "comm/plan.h"
#include "cuda/cuda_device.h"
#include "dtype.h"
#include "moert/artifact.h"

#include <algorithm>

using namespace moert;
using namespace moert::test;

namespace {

class StagedCommunicator final : public Communicator {
public:
  StagedCommunicator(StagedRank &rank, const Topology &topology, int number,
                     std::unique_ptr<Communicator> inner)
      : rank(rank), topology(topology), number(number),
        inner(std::move(inner)) {}

  Status collective(const Collective &call) override;
  void abort(const Status &why) override { inner->abort(why); }
  void leave() override { inner->leave(); }

private:
  Status staged(const Collective &call);

  StagedRank &rank;
  const Topology &topology;
  const int number;
  std::unique_ptr<Communicator> inner;
};

// Bytes from the beginning of a call's buffers to the end of what it moves.
struct Extent {
  int64_t send = 0, recv = 0;
};

} // namespace

static Extent extentOf(const Collective &call, const Topology &topology,
                       int rank) {
  int members = static_cast<int>(topology.members(call.group, rank).size());
  int me = topology.indexIn(call.group, rank);
  int64_t bytes = call.count * static_cast<int64_t>(dtypeSize(call.dtype));
  if (call.kind == CollectiveKind::Send)
    return {bytes, 0};
  if (call.kind == CollectiveKind::Recv)
    return {0, bytes};
  if (call.kind == CollectiveKind::AllReduce)
    return {bytes, bytes};
  Extent extent;
  for (int peer = 0; peer < members; ++peer) {
    Block out = sendBlock(call, members, me, peer);
    Block in = recvBlock(call, members, me, peer);
    extent.send = std::max(extent.send, out.offset + out.size);
    extent.recv = std::max(extent.recv, in.offset + in.size);
  }
  return extent;
}

Status StagedCommunicator::collective(const Collective &call) {
  // What cannot be staged is refused without a look at its buffers.
  bool isSound = checkCollective(topology, number, call).ok();
  Status status = isSound ? staged(call) : inner->collective(call);
  moved = inner->counters();
  return status;
}

Status StagedCommunicator::staged(const Collective &call) {
  Extent extent = extentOf(call, topology, number);
  Queue &queue = rank.queue();
  Collective there = call;
  Result<void *> send = rank.sendBuffer(extent.send);
  Result<void *> recv = rank.recvBuffer(extent.recv);
  if (!send.ok() || !recv.ok())
    return send.ok() ? recv.status() : send.status();
  bool isInPlace = call.send == call.recv && call.send;
  there.send = *send;
  there.recv = isInPlace ? *send : *recv;
  MOERT_TRY(queue.fill(*recv, 0xee, extent.recv));
  MOERT_TRY(queue.upload(*send, call.send, extent.send));
  MOERT_TRY(inner->collective(there));
  // What was sent must be as it was: it goes back as well.
  if (!isInPlace)
    MOERT_TRY(
        queue.download(const_cast<void *>(call.send), *send, extent.send));
  MOERT_TRY(queue.download(call.recv, there.recv, extent.recv));
  return queue.finish();
}

bool moert::test::addsOnDevice(moert_dtype dtype) {
  return dtype == MOERT_F32 || dtype == MOERT_BF16;
}

Result<Devices> moert::test::openSummingDevices(const std::vector<int> &numbers,
                                                const SumImage &f32,
                                                const SumImage &bf16) {
  auto kernel = [](const char *name, const SumImage &sum) {
    return concat(R"({"name": ")", name, R"(", "entry": "kernels/)", name,
                  R"(.ptx", "function": ")", sum.function,
                  R"(", "threads": 256, "cluster": 1, "shared_bytes": 0, )",
                  R"("ctas_per_sm": 8, )",
                  R"("params": ["ptr", "ptr", "i64", "i64", "i32"]})");
  };
  std::string manifest = concat(
      R"({"format": "moe-mlir artifact", "version": 1, "abi": 2,
          "producer": "test", "options": {},
          "target": {"kind": "cuda", "cpu": "x86-64", "arch": "sm_90a"},
          "world_size": 1,
          "mesh": {"name": "ranks", "axes": ["ep"], "shape": [1]},
          "groups": [], "kernels": [)",
      kernel("sum_f32", f32), ", ", kernel("sum_bf16", bf16),
      R"(], "sums": [{"dtype": "f32", "kernel": 0},
                     {"dtype": "bf16", "kernel": 1}],
          "functions": [{
            "name": "none", "run": "none", "prepare": "none", "bind": "none",
            "tensor_maps": 0, "layer": 0, "experts": 0, "top_k": 0,
            "inputs": [], "outputs": [], "slots": [], "weights": [],
            "packed": [],
            "arena": {"constant": 0, "per_token": 0, "per_share": 0,
                      "shares": 1},
            "collectives": "00000000000000000000000000000000"}]})");
  ArtifactEntry entries[] = {{std::string(ManifestEntryName), manifest},
                             {std::string(ProgramEntryName), "none"},
                             {"kernels/sum_f32.ptx", f32.image},
                             {"kernels/sum_bf16.ptx", bf16.image}};
  std::string bytes, error = encodeArtifact(entries, bytes);
  if (!error.empty())
    return Status::error(MOERT_ERROR_INTERNAL, error);
  Result<std::shared_ptr<Artifact>> artifact = Artifact::openMemory(bytes);
  if (!artifact.ok())
    return artifact.status();
  return cuda::openDevices(numbers, **artifact, /*connected=*/true,
                           [](const std::string &) {});
}

Result<std::unique_ptr<StagedRank>>
StagedRank::make(std::shared_ptr<Device> device, const Topology &topology,
                 int rank) {
  std::unique_ptr<StagedRank> staged(new StagedRank(device, topology, rank));
  Result<std::unique_ptr<Queue>> queue = device->makeQueue(Function());
  if (!queue.ok())
    return queue.status();
  staged->stream = std::move(*queue);
  Result<std::unique_ptr<Mover>> mover =
      device->makeMover(staged->stream.get(), rank);
  if (!mover.ok())
    return mover.status();
  staged->mover = std::move(*mover);
  return staged;
}

std::unique_ptr<Communicator> StagedRank::endpoint(World &world) {
  return std::make_unique<StagedCommunicator>(
      *this, topology, rank, world.endpoint(rank, std::move(mover)));
}

Result<void *> StagedRank::grow(Memory &memory, int64_t bytes) {
  if (memory.data() && memory.size() >= bytes)
    return memory.data();
  Result<Memory> larger =
      device->allocate(std::max(2 * bytes, int64_t(4096)), "a test's buffer");
  if (!larger.ok())
    return larger.status();
  outgrown.push_back(std::move(memory));
  memory = std::move(*larger);
  return memory.data();
}
