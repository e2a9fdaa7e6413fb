#include "comm/world.h"

#include "comm/local.h"
#include "comm/mpi.h"
#include "comm/nccl.h"

using namespace moert;

static std::string libraryOf(const WorldOptions &options) {
  if (!options.mpi.empty())
    return options.mpi;
  if (options.launch && options.launch->source == LaunchSource::Mpich)
    return "mpich";
  if (options.launch && options.launch->source == LaunchSource::OpenMpi)
    return "openmpi";
  return {};
}

bool moert::isOneOfSeveral(const std::string &communicator,
                           const std::optional<Launch> &launch) {
  // One process alone, started by whomever, has a device for each rank.
  bool isAlone = communicator == "nccl" && launch && launch->world == 1;
  return communicator != "local" && launch && !isAlone;
}

DeviceUse moert::deviceUse(int ranks, const std::string &communicator,
                           const std::optional<Launch> &launch) {
  return {.ranks = ranks,
          .oneEach = communicator == "nccl",
          .launch =
              isOneOfSeveral(communicator, launch) ? launch : std::nullopt};
}

Result<std::unique_ptr<World>> moert::openWorld(const Topology &topology,
                                                WorldOptions options) {
  if (options.communicator == "local")
    return std::unique_ptr<World>(
        new LocalWorld(topology, options.timeoutSeconds));
  if (options.communicator == "nccl") {
    if (!isOneOfSeveral(options.communicator, options.launch))
      options.launch.reset();
    Result<std::unique_ptr<NcclWorld>> world =
        NcclWorld::join(topology, {.launch = std::move(options.launch),
                                   .timeoutSeconds = options.timeoutSeconds,
                                   .startSeconds = options.timeoutSeconds,
                                   .onFailure = std::move(options.onFailure),
                                   .enter = std::move(options.enter)});
    if (!world.ok())
      return world.status();
    return std::unique_ptr<World>(std::move(*world));
  }
  if (options.communicator != "mpi")
    return Status::error(
        MOERT_ERROR_INVALID_ARGUMENT, "there is no communicator '",
        printable(options.communicator), "'",
        suggest(options.communicator, {"local", "mpi", "nccl"}));
  Result<std::unique_ptr<MpiWorld>> world =
      MpiWorld::join(topology, {.library = libraryOf(options),
                                .timeoutSeconds = options.timeoutSeconds,
                                .onFailure = std::move(options.onFailure)});
  if (!world.ok())
    return world.status();
  return std::unique_ptr<World>(std::move(*world));
}
