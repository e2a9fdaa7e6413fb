#include "session.h"

#include "checked.h"
#include "weights.h"

#include <cstring>
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
  if (options.communicator != "local")
    return refuse("there is no communicator '", printable(options.communicator),
                  "'", suggest(options.communicator, {"local"}));
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
  MOERT_TRY(session->start());
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

  int ranks = topology.ranks();
  threadsPerRank = options.threads ? options.threads : defaultThreads(ranks);
  world = std::make_unique<LocalWorld>(topology, options.timeoutSeconds);
  for (int rank = 0; rank < ranks; ++rank)
    members.push_back(std::make_unique<Rank>(rank, topology, threadsPerRank,
                                             world->endpoint(rank)));
  MOERT_TRY(allocate());
  Result<std::unique_ptr<WorkerPool>> workers =
      WorkerPool::start(ranks, threadsPerRank);
  if (!workers.ok())
    return workers.status();
  pool = std::move(*workers);
  if (!fn->weights.empty())
    return {};
  // Nothing to load: what `prepare` makes of nothing is made now.
  std::vector<std::vector<void *>> none(static_cast<size_t>(ranks));
  return prepare([](Rank &, int) {}, none);
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
  for (int rank = 0; rank < ranks(); ++rank) {
    Result<AlignedBuffer> arena =
        AlignedBuffer::allocate(*arenaBytes, "the arena");
    if (!arena.ok())
      return arena.status().in(concat("rank ", rank));
    arenas.push_back(std::move(*arena));
    packed.emplace_back();
    packedPointers.emplace_back();
    for (int64_t bytes : fn->packedBytes) {
      Result<AlignedBuffer> buffer =
          AlignedBuffer::allocate(bytes, "packed weights");
      if (!buffer.ok())
        return buffer.status().in(concat("rank ", rank));
      packedPointers.back().push_back(buffer->data());
      packed.back().push_back(std::move(*buffer));
    }
  }
  calls.resize(static_cast<size_t>(ranks()));
  scratch.resize(static_cast<size_t>(ranks()));
  for (int rank = 0; rank < ranks(); ++rank) {
    calls[rank].inputs.resize(fn->inputs.size());
    calls[rank].outputs.resize(fn->outputs.size());
    scratch[rank].resize(fn->outputs.size());
  }
  return {};
}

// Runs `body` on every thread of every rank; the status is that of the rank
// that failed first.
Status
Session::runOnAll(const std::function<int32_t(Rank &, int thread)> &body) {
  world->reset();
  for (std::unique_ptr<Rank> &rank : members)
    rank->team.reset();
  pool->run([&](int number, int thread) {
    Rank &rank = *members[static_cast<size_t>(number)];
    int32_t code = MOERT_OK;
    try {
      code = body(rank, thread);
    } catch (const std::bad_alloc &) {
      rank.fail(Status::error(MOERT_ERROR_OUT_OF_MEMORY, "no memory"));
    }
    if (code != MOERT_OK)
      rank.fail(Status::error(MOERT_ERROR_INTERNAL,
                              "the program ended with status ", code,
                              " without a reason"));
    rank.team.leave();
    if (thread == 0)
      rank.communicator->leave();
  });
  MOERT_TRY(world->failure());
  // A rank may have failed without the world hearing of it.
  for (std::unique_ptr<Rank> &rank : members)
    if (Status status = rank->team.status(); !status.ok())
      return status.in(concat("rank ", rank->number));
  return {};
}

Status Session::prepare(const Fill &fill,
                        const std::vector<std::vector<void *>> &slices) {
  return runOnAll([&](Rank &rank, int thread) -> int32_t {
    size_t number = static_cast<size_t>(rank.number);
    fill(rank, thread);
    if (moert_status status = rank.team.barrier(); status != MOERT_OK)
      return status;
    return prepareFunction(rank.context(), thread, threadsPerRank,
                           slices[number].data(),
                           packedPointers[number].data());
  });
}

Status Session::loadWeights(const std::string &path) {
  Result<std::shared_ptr<Checkpoint>> checkpoint = Checkpoint::open(path);
  if (!checkpoint.ok())
    return checkpoint.status();
  Result<WeightLoader> loader =
      WeightLoader::open(*fn, topology, *checkpoint, options.log);
  if (!loader.ok())
    return loader.status();
  hasWeights = false;
  size_t count = fn->weights.size();
  held.sliceBytes = 0;
  for (size_t i = 0; i < count; ++i)
    held.sliceBytes += loader->sliceBytes(i);

  // Slices live until `prepare` has packed them.
  std::vector<std::vector<AlignedBuffer>> buffers(members.size());
  std::vector<std::vector<void *>> pointers(members.size());
  for (std::vector<void *> &ofRank : pointers)
    ofRank.resize(count);
  auto allocate = [&](int rank) -> Status {
    for (size_t i = 0; i < count; ++i) {
      Result<AlignedBuffer> buffer = AlignedBuffer::allocate(
          loader->sliceBytes(i), "a slice of `" + fn->weights[i].name + "`");
      if (!buffer.ok())
        return buffer.status();
      pointers[rank][i] = buffer->data();
      buffers[rank].push_back(std::move(*buffer));
    }
    return {};
  };
  auto fill = [&](Rank &rank, int thread) {
    if (thread == 0)
      if (Status status = allocate(rank.number); !status.ok())
        rank.fail(status);
    if (rank.team.barrier() != MOERT_OK)
      return;
    size_t step = static_cast<size_t>(threadsPerRank);
    for (size_t i = static_cast<size_t>(thread); i < count; i += step)
      loader->read(i, rank.number, pointers[rank.number][i]);
  };
  MOERT_TRY(prepare(fill, pointers));
  hasWeights = true;
  return {};
}

int64_t Session::shareSize(const TensorSpec &spec, int rank,
                           int64_t tokens) const {
  if (!spec.hasTokens())
    return 1;
  int64_t shares = topology.sizeOf(spec.split);
  return tokens / shares +
         (topology.indexOn(spec.split, rank) < tokens % shares);
}

int64_t Session::shareBegin(const TensorSpec &spec, int rank,
                            int64_t tokens) const {
  if (!spec.hasTokens())
    return 0;
  int64_t shares = topology.sizeOf(spec.split);
  int64_t index = topology.indexOn(spec.split, rank);
  return index * (tokens / shares) + std::min(index, tokens % shares);
}

static std::vector<std::string> namesOf(const std::vector<TensorSpec> &specs) {
  std::vector<std::string> names;
  for (const TensorSpec &spec : specs)
    names.push_back(spec.name);
  return names;
}

static const HostTensor *find(const std::vector<HostTensor> &tensors,
                              const std::string &name) {
  for (const HostTensor &tensor : tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

static std::string shapeText(const std::vector<int64_t> &shape) {
  std::vector<std::string> dims;
  for (int64_t size : shape)
    dims.push_back(size < 0 ? "tokens" : std::to_string(size));
  return bracketed(dims);
}

// One tensor against the manifest; `tokens` is -1 until one has said how many.
static Status checkTensor(const char *what, const TensorSpec &spec,
                          const HostTensor &tensor, int64_t &tokens) {
  auto refuse = [&](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " `", spec.name,
                         "` ", args...);
  };
  if (tensor.dtype != spec.dtype)
    return refuse("has dtype ", dtypeName(tensor.dtype), ", expected ",
                  dtypeName(spec.dtype));
  std::vector<int64_t> expected = spec.shape;
  if (spec.hasTokens() && tensor.shape.size() == expected.size())
    expected[0] = std::max<int64_t>(0, tensor.shape[0]);
  if (tensor.shape != expected)
    return refuse("has shape ", bracketed(tensor.shape), ", expected ",
                  shapeText(spec.shape));
  if (spec.hasTokens()) {
    if (tokens >= 0 && tokens != tensor.shape[0])
      return refuse("has ", tensor.shape[0], " tokens, the first input has ",
                    tokens);
    tokens = tensor.shape[0];
  }
  bool isEmpty = elementCount(tensor.shape) == 0;
  if (!tensor.data && !isEmpty)
    return refuse("has no data");
  if (reinterpret_cast<uintptr_t>(tensor.data) % dtypeSize(tensor.dtype) != 0)
    return refuse("is not aligned to its elements");
  return {};
}

static Status checkNames(const char *what, const std::vector<TensorSpec> &specs,
                         const std::vector<HostTensor> &tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string &name = tensors[i].name;
    std::vector<std::string> known = namesOf(specs);
    if (std::find(known.begin(), known.end(), name) == known.end())
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "there is no ", what,
                           " `", printable(name), "`", suggest(name, known));
    if (find(tensors, name) != &tensors[i])
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " `", name,
                           "` is given twice");
  }
  return {};
}

// The number of tokens.
Result<int64_t>
Session::checkTensors(const std::vector<HostTensor> &inputs,
                      const std::vector<HostTensor> &outputs) const {
  MOERT_TRY(checkNames("input", fn->inputs, inputs));
  MOERT_TRY(checkNames("output", fn->outputs, outputs));
  int64_t tokens = -1;
  for (const TensorSpec &spec : fn->inputs) {
    const HostTensor *tensor = find(inputs, spec.name);
    if (!tensor)
      return Status::error(
          MOERT_ERROR_INVALID_ARGUMENT, "input `", spec.name,
          "` is missing; the function needs: ", join(namesOf(fn->inputs)));
    MOERT_TRY(checkTensor("input", spec, *tensor, tokens));
  }
  for (const TensorSpec &spec : fn->outputs)
    if (const HostTensor *tensor = find(outputs, spec.name))
      MOERT_TRY(checkTensor("output", spec, *tensor, tokens));
  tokens = std::max<int64_t>(tokens, 0);
  if (tokens > options.maxTokens)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "there are ", tokens,
                         " tokens, the session was opened for at most ",
                         options.maxTokens);
  return tokens;
}

// Of ranks that hold the same rows, the first hands them to the caller; the
// others, and all if the caller does not want them, write into memory of ours.
Status Session::placeOutput(size_t output, const HostTensor *global,
                            int64_t tokens) {
  const TensorSpec &spec = fn->outputs[output];
  std::vector<void *> firstOf(static_cast<size_t>(topology.sizeOf(spec.split)));
  for (int rank = 0; rank < ranks(); ++rank) {
    size_t share = static_cast<size_t>(topology.indexOn(spec.split, rank));
    int64_t bytes = shareSize(spec, rank, tokens) * spec.rowBytes();
    Scratch &own = scratch[rank][output];
    own.expected = firstOf[share];
    if (global && !firstOf[share] && bytes > 0) {
      calls[rank].outputs[output] =
          static_cast<char *>(global->data) +
          shareBegin(spec, rank, tokens) * spec.rowBytes();
    } else {
      if (!own.buffer.data() || own.buffer.size() < bytes) {
        Result<AlignedBuffer> buffer =
            AlignedBuffer::allocate(bytes, "output `" + spec.name + "`");
        if (!buffer.ok())
          return buffer.status().in(concat("rank ", rank));
        own.buffer = std::move(*buffer);
      }
      calls[rank].outputs[output] = own.buffer.data();
    }
    if (!firstOf[share])
      firstOf[share] = calls[rank].outputs[output];
  }
  return {};
}

Status Session::checkEqual() const {
  for (size_t output = 0; output < fn->outputs.size(); ++output) {
    const TensorSpec &spec = fn->outputs[output];
    for (int rank = 0; rank < ranks(); ++rank) {
      const void *expected = scratch[rank][output].expected;
      int64_t bytes =
          shareSize(spec, rank, calls[rank].tokens) * spec.rowBytes();
      if (expected && std::memcmp(expected, calls[rank].outputs[output],
                                  static_cast<size_t>(bytes)) != 0)
        return Status::error(MOERT_ERROR_PROGRAM, "rank ", rank,
                             " has another output `", spec.name,
                             "` than the rank it should be equal to");
    }
  }
  return {};
}

Status Session::run(const std::vector<HostTensor> &inputs,
                    const std::vector<HostTensor> &outputs) {
  if (!fn->weights.empty() && !hasWeights)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                         "the weights are not loaded");
  Result<int64_t> tokens = checkTensors(inputs, outputs);
  if (!tokens.ok())
    return tokens.status();
  alignas(64) static char nothing[64]; // what an empty tensor points to
  for (int rank = 0; rank < ranks(); ++rank) {
    Call &call = calls[rank];
    call.tokens = 0;
    for (size_t i = 0; i < fn->inputs.size(); ++i) {
      const TensorSpec &spec = fn->inputs[i];
      char *data = static_cast<char *>(find(inputs, spec.name)->data);
      call.inputs[i] =
          data ? data + shareBegin(spec, rank, *tokens) * spec.rowBytes()
               : nothing;
      if (spec.hasTokens())
        call.tokens = shareSize(spec, rank, *tokens);
    }
  }
  for (size_t i = 0; i < fn->outputs.size(); ++i)
    MOERT_TRY(placeOutput(i, find(outputs, fn->outputs[i].name), *tokens));

  MOERT_TRY(runOnAll([&](Rank &rank, int thread) {
    size_t number = static_cast<size_t>(rank.number);
    Call &call = calls[number];
    return runFunction(rank.context(), thread, threadsPerRank, call.tokens,
                       options.maxTokens, call.inputs.data(),
                       call.outputs.data(), packedPointers[number].data(),
                       arenas[number].data());
  }));
  return options.checkReplicas ? checkEqual() : Status();
}
