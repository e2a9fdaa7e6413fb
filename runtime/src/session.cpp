#include "session.h"

#include "checked.h"
#include "launch/processes.h"
#include "weights.h"

#include <algorithm>
#include <new>

using namespace moert;

static constexpr int64_t MaxTokens = int64_t(1) << 32;

Session::Session(std::shared_ptr<Artifact> opened, SessionOptions chosen)
    : artifact(std::move(opened)), options(std::move(chosen)) {
  const Manifest &manifest = artifact->manifest();
  topology = Topology(manifest.mesh.shape, manifest.groups);
  if (!options.log)
    options.log = [](const std::string &) {};
}

static Status checkOptions(const SessionOptions &options) {
  auto refuse = [](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
  };
  if (options.maxTokens < 0 || options.maxTokens > MaxTokens)
    return refuse("max_tokens is ", options.maxTokens, ", expected 0 to ",
                  MaxTokens);
  if (options.threads < 0 || options.threads > 1024)
    return refuse("threads is ", options.threads, ", expected 0 to 1024");
  if (!(options.timeoutSeconds > 0 && options.timeoutSeconds <= 1e6))
    return refuse("the timeout is ", options.timeoutSeconds,
                  " s, expected more than 0 and at most 1000000");
  return {};
}

Result<std::unique_ptr<Session>>
Session::open(std::shared_ptr<Artifact> artifact, SessionOptions options) {
  MOERT_TRY(checkOptions(options));
  Result<const Function *> function = artifact->function(options.function);
  if (!function.ok())
    return function.status();
  std::unique_ptr<Session> session(
      new Session(std::move(artifact), std::move(options)));
  session->fn = *function;
  MOERT_TRY(session->forAll(session->start()));
  return session;
}

Status Session::start() {
  Result<std::shared_ptr<Program>> loaded = artifact->loadProgram();
  if (!loaded.ok())
    return loaded.status();
  program = *loaded;
  Result<void *> run = program->symbol(fn->run);
  if (!run.ok())
    return run.status();
  Result<void *> prepareSymbol = program->symbol(fn->prepare);
  if (!prepareSymbol.ok())
    return prepareSymbol.status();
  runFunction = reinterpret_cast<moert_run_fn>(*run);
  prepareFunction = reinterpret_cast<moert_prepare_fn>(*prepareSymbol);

  MOERT_TRY(openDevices());
  if (!isOnHost()) {
    Result<void *> bindSymbol = program->symbol(fn->bind);
    if (!bindSymbol.ok())
      return bindSymbol.status();
    bindFunction = reinterpret_cast<moert_bind_fn>(*bindSymbol);
  }
  MOERT_TRY(makeRanks());
  MOERT_TRY(allocate());
  Result<std::unique_ptr<WorkerPool>> workers = WorkerPool::start(
      static_cast<int>(ranksHere().size()), threadsPerRank, threadsLook);
  if (!workers.ok())
    return workers.status();
  pool = std::move(*workers);
  if (!isOnHost())
    MOERT_TRY(bind());
  if (!fn->weights.empty())
    return {};
  // Nothing to load: what `prepare` makes of nothing is made now.
  std::vector<std::vector<void *>> none(static_cast<size_t>(ranks()));
  return prepare([](Rank &, int) {}, none);
}

Status Session::openDevices() {
  Result<std::vector<std::shared_ptr<Device>>> opened = moert::openDevices(
      options.device, deviceUse(ranks(), options.communicator, options.launch),
      *artifact, options.log);
  if (!opened.ok())
    return opened.status();
  devices = std::move(*opened);
  return {};
}

Status Session::forAll(const Status &status) const {
  if (!status.ok() && world && world->rendezvous())
    world->rendezvous()->fail(status);
  return status;
}

// The processes of the job meet, and make sure that they do the same.
Status Session::joinWorld() {
  if (isOnHost() && options.communicator == "nccl")
    return Status::error(MOERT_ERROR_UNSUPPORTED,
                         "the communicator nccl moves the memory of GPUs, the "
                         "artifact is for the cpu; use mpi");
  Result<std::unique_ptr<World>> opened = openWorld(
      topology,
      {.communicator = options.communicator,
       .launch = options.launch,
       .mpi = options.mpi,
       .timeoutSeconds = options.timeoutSeconds,
       .onFailure = options.onFailure,
       .enter = [of = devices](int rank) { return of[rank]->enter(); }});
  if (!opened.ok())
    return opened.status();
  world = std::move(*opened);
  if (!world->rendezvous())
    return {};
  if (!isOnHost() && options.communicator == "mpi")
    return Status::error(MOERT_ERROR_UNSUPPORTED,
                         "the communicator mpi moves host memory, the artifact "
                         "is for ",
                         deviceName(), "; use nccl");
  std::string name = concat("'", artifact->path(), "' with function `",
                            fn->name, "` for ", options.maxTokens, " tokens");
  return checkSame(
      *world->rendezvous(),
      {{"program", name,
        concat(artifact->digest(), " ", fn->name, " ", options.maxTokens)}});
}

Status Session::makeRanks() {
  MOERT_TRY(joinWorld());
  threadsPerRank = options.threads ? options.threads
                                   : defaultThreads(world->ranksOnProcessors());
  if (!isOnHost())
    threadsPerRank = 1; // it puts work into the queue
  // Where threads share processors, one that waits must leave its own.
  threadsLook =
      isOnHost() &&
      int64_t(world->ranksOnProcessors()) * threadsPerRank <= processorCount();
  members.resize(static_cast<size_t>(ranks()));
  for (int rank : ranksHere()) {
    Device &device = onDevice(rank);
    Result<std::unique_ptr<Queue>> queue = device.makeQueue(*fn);
    if (!queue.ok())
      return queue.status().in(concat("rank ", rank));
    Result<std::unique_ptr<Mover>> mover = device.makeMover(queue->get(), rank);
    if (!mover.ok())
      return mover.status().in(concat("rank ", rank));
    auto member = std::make_unique<Rank>(
        rank, topology, artifact->manifest().mesh.nodeAxes(), threadsPerRank,
        std::move(*queue), world->endpoint(rank, std::move(*mover)),
        threadsLook);
    member->steps = &fn->steps;
    member->variants.resize(fn->variants.size());
    if (options.trace)
      member->trace = std::make_unique<Trace>(threadsPerRank);
    members[static_cast<size_t>(rank)] = std::move(member);
  }
  return {};
}

Status Session::allocate() {
  std::optional<int64_t> arenaBytes = fn->arena.bytes(options.maxTokens);
  if (!arenaBytes)
    return Status::error(MOERT_ERROR_OUT_OF_MEMORY, "the arena for ",
                         options.maxTokens, " tokens has more than ", INT64_MAX,
                         " bytes");
  held.arenaBytes = *arenaBytes;
  for (int64_t bytes : fn->packedBytes)
    held.packedBytes += bytes;
  arenas.resize(static_cast<size_t>(ranks()));
  packed.resize(arenas.size());
  packedPointers.resize(arenas.size());
  for (int rank : ranksHere()) {
    Result<Memory> arena = onDevice(rank).allocate(*arenaBytes, "the arena");
    if (!arena.ok())
      return arena.status().in(concat("rank ", rank));
    arenas[rank] = std::move(*arena);
    for (int64_t bytes : fn->packedBytes) {
      Result<Memory> buffer = onDevice(rank).allocate(bytes, "packed weights");
      if (!buffer.ok())
        return buffer.status().in(concat("rank ", rank));
      packedPointers[rank].push_back(buffer->data());
      packed[rank].push_back(std::move(*buffer));
    }
  }
  calls.resize(static_cast<size_t>(ranks()));
  scratch.resize(static_cast<size_t>(ranks()));
  staging.resize(static_cast<size_t>(ranks()));
  for (int rank = 0; rank < ranks(); ++rank) {
    calls[rank].inputs.resize(fn->inputs.size());
    calls[rank].outputs.resize(fn->outputs.size());
    // On the host a program reads and writes where the caller's tensors stand.
    calls[rank].hostInputs.resize(fn->inputs.size());
    calls[rank].hostOutputs.resize(fn->outputs.size());
    scratch[rank].resize(fn->outputs.size());
    staging[rank].inputs.resize(fn->inputs.size());
    staging[rank].outputs.resize(fn->outputs.size());
  }
  return {};
}

Track *Session::trackOf(Rank &rank, int thread) {
  return rank.trace ? &rank.trace->threads[static_cast<size_t>(thread)]
                    : nullptr;
}

Status Session::bind() {
  return runOnAll([&](Rank &rank, int) -> int32_t {
    size_t number = static_cast<size_t>(rank.number);
    return bindFunction(rank.context(), options.maxTokens,
                        packedPointers[number].data(), arenas[number].data());
  });
}

// Runs `body` on every thread of every rank, and waits for what it put into
// queues if it `finishes`; the status is that of the rank that failed first.
Status Session::runOnAll(const std::function<int32_t(Rank &, int thread)> &body,
                         bool finishes) {
  MOERT_TRY(world->reset());
  for (int rank : ranksHere())
    members[rank]->team.reset();
  pool->run([&](int index, int thread) {
    Rank &rank = *members[ranksHere()[static_cast<size_t>(index)]];
    int32_t code = MOERT_OK;
    try {
      if (rank.queue)
        code = rank.fail(rank.queue->enter());
      if (code == MOERT_OK)
        code = body(rank, thread);
    } catch (const std::bad_alloc &) {
      rank.fail(Status::error(MOERT_ERROR_OUT_OF_MEMORY, "no memory"));
    }
    if (code != MOERT_OK)
      rank.fail(Status::error(MOERT_ERROR_INTERNAL,
                              "the program ended with status ", code,
                              " without a reason"));
    if (rank.queue && finishes)
      rank.fail(rank.queue->finish());
    rank.team.leave();
    if (thread == 0)
      rank.communicator->leave();
  });
  MOERT_TRY(world->failure());
  // A rank may have failed without the world hearing of it.
  for (int rank : ranksHere())
    if (Status status = members[rank]->team.status(); !status.ok())
      return status.in(concat("rank ", rank));
  return {};
}

Status Session::prepare(const Fill &fill,
                        const std::vector<std::vector<void *>> &slices) {
  return runOnAll([&](Rank &rank, int thread) -> int32_t {
    size_t number = static_cast<size_t>(rank.number);
    Track *track = trackOf(rank, thread);
    TrackScope use(track);
    {
      SpanScope span(track, SpanKind::Prepare, "read slices");
      fill(rank, thread);
    }
    SpanScope span(track, SpanKind::Prepare, fn->prepare);
    if (moert_status status = rank.team.barrier(); status != MOERT_OK)
      return status;
    return prepareFunction(rank.context(), thread, threadsPerRank,
                           slices[number].data(),
                           packedPointers[number].data());
  });
}

Status Session::loadWeights(const std::string &path) {
  return forAll(load(path));
}

Status Session::load(const std::string &path) {
  Result<std::shared_ptr<Checkpoint>> checkpoint = Checkpoint::open(path);
  if (!checkpoint.ok())
    return checkpoint.status();
  Result<WeightLoader> loader =
      WeightLoader::open(*fn, topology, *checkpoint, options.log);
  if (!loader.ok())
    return loader.status();
  if (world->rendezvous())
    MOERT_TRY(
        checkSame(*world->rendezvous(),
                  {{"checkpoint", concat("'", path, "'"), loader->digest()}}));
  return makeWeights([&](size_t weight, int rank, void *host) -> Status {
    loader->read(weight, rank, host);
    return {};
  });
}

Status Session::makeWeights(const SliceFill &fill) {
  hasWeights = false;
  held.sliceBytes = 0;
  for (const Weight &weight : fn->weights)
    held.sliceBytes += weight.sliceBytes();
  MOERT_TRY(packWeights(fill));
  hasWeights = true;
  return {};
}

Status Session::setWeights(const std::vector<HostTensor> &weights) {
  auto refuse = [](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
  };
  if (ranks() != 1)
    return refuse("the artifact has ", ranks(),
                  " ranks, which read their slices from a checkpoint");
  for (size_t slot = 0; slot < fn->slots.size(); ++slot)
    if (fn->slots[slot] != static_cast<int64_t>(slot))
      return refuse("the artifact's slots are not its experts in order; load "
                    "its weights from a checkpoint");
  std::vector<std::vector<void *>> slices(1);
  std::vector<std::string> names;
  held.sliceBytes = 0;
  for (const Weight &weight : fn->weights) {
    names.push_back(weight.name);
    const HostTensor *given = findTensor(weights, weight.name);
    if (!given || !given->data)
      return refuse("weight `", weight.name, "` is missing");
    if (given->dtype != weight.dtype || given->shape != weight.localShape)
      return refuse("weight `", weight.name, "` is ", dtypeName(given->dtype),
                    " ", bracketed(given->shape), ", expected ",
                    dtypeName(weight.dtype), " ", bracketed(weight.localShape));
    slices[0].push_back(given->data);
  }
  for (const HostTensor &given : weights)
    if (std::find(names.begin(), names.end(), given.name) == names.end())
      return refuse("there is no weight `", printable(given.name), "`",
                    suggest(given.name, names));
  hasWeights = false;
  if (Queue *own = queue(0)) {
    MOERT_TRY(own->enter());
    own->useOwnStream();
  }
  MOERT_TRY(prepare([](Rank &, int) {}, slices));
  hasWeights = true;
  return {};
}

// Slices live until `prepare` has packed them.
Status Session::packWeights(const SliceFill &fill) {
  size_t count = fn->weights.size();
  std::vector<std::vector<Memory>> buffers(members.size());
  std::vector<std::vector<void *>> pointers(members.size());
  for (std::vector<void *> &ofRank : pointers)
    ofRank.resize(count);
  auto allocate = [&](int rank) -> Status {
    for (size_t i = 0; i < count; ++i) {
      const Weight &weight = fn->weights[i];
      Result<Memory> buffer = onDevice(rank).allocate(
          weight.sliceBytes(), "a slice of `" + weight.name + "`");
      if (!buffer.ok())
        return buffer.status();
      pointers[rank][i] = buffer->data();
      buffers[rank].push_back(std::move(*buffer));
    }
    return {};
  };
  auto fillOne = [&](Rank &rank, size_t i) -> Status {
    void *slice = pointers[rank.number][i];
    if (isOnHost())
      return fill(i, rank.number, slice);
    int64_t bytes = fn->weights[i].sliceBytes();
    Result<AlignedBuffer> host = AlignedBuffer::allocate(
        bytes, "a slice of `" + fn->weights[i].name + "`");
    if (!host.ok())
      return host.status();
    MOERT_TRY(fill(i, rank.number, host->data()));
    MOERT_TRY(rank.queue->upload(slice, host->data(), bytes));
    return rank.queue->finish();
  };
  return prepare(
      [&](Rank &rank, int thread) {
        if (rank.queue)
          rank.queue->useOwnStream();
        if (thread == 0)
          rank.fail(allocate(rank.number));
        if (rank.team.barrier() != MOERT_OK)
          return;
        size_t step = static_cast<size_t>(threadsPerRank);
        for (size_t i = static_cast<size_t>(thread); i < count; i += step)
          if (rank.fail(fillOne(rank, i)) != MOERT_OK)
            return;
      },
      pointers);
}
