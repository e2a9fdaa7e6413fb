// Running a session's function: where tensors come from and go to.
#include "session.h"

#include "checked.h"
#include "launch/rendezvous.h"

#include <algorithm>
#include <cstring>
#include <span>

using namespace moert;

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

// Of ranks that hold the same rows, the first hands them to the caller; the
// others, and all if the caller does not want them, write into memory of ours.
Status Session::placeOutput(size_t output, const HostTensor *global,
                            int64_t tokens) {
  const TensorSpec &spec = fn->outputs[output];
  std::vector<void *> firstOf(static_cast<size_t>(topology.sizeOf(spec.split)));
  for (int rank : ranksHere()) {
    size_t share = static_cast<size_t>(topology.indexOn(spec.split, rank));
    int64_t bytes = shareSize(spec, rank, tokens) * spec.rowBytes();
    Scratch &own = scratch[rank][output];
    own.expected = firstOf[share];
    if (global && !firstOf[share] && bytes > 0) {
      calls[rank].hostOutputs[output] =
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
      calls[rank].hostOutputs[output] = own.buffer.data();
    }
    if (!firstOf[share])
      firstOf[share] = calls[rank].hostOutputs[output];
  }
  return {};
}

static Status replicaDiffers(int rank, const TensorSpec &spec) {
  return Status::error(MOERT_ERROR_PROGRAM, "rank ", rank,
                       " has another output `", spec.name,
                       "` than the rank it should be equal to");
}

Status Session::checkEqual() const {
  for (size_t output = 0; output < fn->outputs.size(); ++output) {
    const TensorSpec &spec = fn->outputs[output];
    for (int rank : ranksHere()) {
      const void *expected = scratch[rank][output].expected;
      int64_t bytes =
          shareSize(spec, rank, calls[rank].tokens) * spec.rowBytes();
      if (expected && std::memcmp(expected, calls[rank].hostOutputs[output],
                                  static_cast<size_t>(bytes)) != 0)
        return replicaDiffers(rank, spec);
    }
  }
  return {};
}

Status Session::checkReady() const {
  if (!fn->weights.empty() && !hasWeights)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                         "the weights are not loaded");
  return {};
}

// Bytes of the largest share that a rank may have.
int64_t Session::stagedBytes(const TensorSpec &spec) const {
  if (!spec.hasTokens())
    return spec.rowBytes();
  int64_t shares = topology.sizeOf(spec.split);
  return (options.maxTokens + shares - 1) / shares * spec.rowBytes();
}

// Made once, for as many rows as a rank may have.
Status Session::stage(int rank, const char *what, const TensorSpec &spec,
                      Memory &memory) {
  if (memory.data())
    return {};
  Result<Memory> made = onDevice(rank).allocate(
      stagedBytes(spec), concat(what, " `", spec.name, "`"));
  if (!made.ok())
    return made.status().in(concat("rank ", rank));
  memory = std::move(*made);
  return {};
}

Status Session::stageOutput(int rank, size_t output) {
  return stage(rank, "output", fn->outputs[output],
               staging[rank].outputs[output]);
}

// Device memory for tensors that the caller has on the host, for the session's
// most tokens: made at the first such run.
Status Session::stage() {
  if (isOnHost())
    return {};
  for (int rank : ranksHere()) {
    for (size_t i = 0; i < fn->inputs.size(); ++i)
      MOERT_TRY(stage(rank, "input", fn->inputs[i], staging[rank].inputs[i]));
    for (size_t i = 0; i < fn->outputs.size(); ++i)
      MOERT_TRY(stageOutput(rank, i));
  }
  return {};
}

Status Session::upload(Rank &rank) {
  Call &call = calls[rank.number];
  for (size_t i = 0; i < fn->inputs.size(); ++i) {
    const TensorSpec &spec = fn->inputs[i];
    int64_t rows = spec.hasTokens() ? call.tokens : 1;
    call.inputs[i] = staging[rank.number].inputs[i].data();
    MOERT_TRY(rank.queue->upload(call.inputs[i], call.hostInputs[i],
                                 rows * spec.rowBytes()));
  }
  for (size_t i = 0; i < fn->outputs.size(); ++i)
    call.outputs[i] = staging[rank.number].outputs[i].data();
  return {};
}

Status Session::download(Rank &rank) {
  Call &call = calls[rank.number];
  for (size_t i = 0; i < fn->outputs.size(); ++i) {
    const TensorSpec &spec = fn->outputs[i];
    int64_t rows = shareSize(spec, rank.number, totalTokens);
    MOERT_TRY(rank.queue->download(call.hostOutputs[i], call.outputs[i],
                                   rows * spec.rowBytes()));
  }
  return {};
}

int32_t Session::runRank(Rank &rank, int thread) {
  size_t number = static_cast<size_t>(rank.number);
  Call &call = calls[number];
  if (thread == 0)
    rank.traffic.begin();
  Track *track = trackOf(rank, thread);
  TrackScope use(track);
  SpanScope span(track, SpanKind::Run, fn->name);
  return runFunction(rank.context(), thread, threadsPerRank, call.tokens,
                     options.maxTokens, call.inputs.data(), call.outputs.data(),
                     packedPointers[number].data(), arenas[number].data());
}

// With the tensors of the host.
int32_t Session::runOnDevice(Rank &rank, int thread) {
  rank.queue->useOwnStream();
  if (Status status = rank.queue->beginRun(); !status.ok())
    return rank.fail(status);
  if (rank.trace)
    if (Status status = rank.queue->wantSpans(); !status.ok())
      return rank.fail(status);
  if (Status status = upload(rank); !status.ok())
    return rank.fail(status);
  if (int32_t code = runRank(rank, thread))
    return code;
  if (Status status = download(rank); !status.ok())
    return rank.fail(status);
  return MOERT_OK;
}

Status Session::run(const std::vector<HostTensor> &inputs,
                    const std::vector<HostTensor> &outputs) {
  return forAll(call(inputs, outputs));
}

Status Session::call(const std::vector<HostTensor> &inputs,
                     const std::vector<HostTensor> &outputs) {
  MOERT_TRY(checkReady());
  Result<int64_t> tokens =
      checkTensors(*fn, inputs, outputs, options.maxTokens);
  if (!tokens.ok())
    return tokens.status();
  totalTokens = *tokens;
  alignas(64) static char nothing[64]; // what an empty tensor points to
  for (int rank : ranksHere()) {
    Call &call = calls[rank];
    call.tokens = 0;
    members[rank]->context()->total_tokens = *tokens;
    for (size_t i = 0; i < fn->inputs.size(); ++i) {
      const TensorSpec &spec = fn->inputs[i];
      char *data = static_cast<char *>(findTensor(inputs, spec.name)->data);
      call.hostInputs[i] =
          data ? data + shareBegin(spec, rank, *tokens) * spec.rowBytes()
               : nothing;
      if (spec.hasTokens())
        call.tokens = shareSize(spec, rank, *tokens);
    }
  }
  for (size_t i = 0; i < fn->outputs.size(); ++i)
    MOERT_TRY(
        placeOutput(i, findTensor(outputs, fn->outputs[i].name), *tokens));
  MOERT_TRY(stage());
  if (isOnHost())
    for (Call &call : calls) {
      call.inputs = call.hostInputs;
      call.outputs = call.hostOutputs;
    }

  MOERT_TRY(runOnAll([&](Rank &rank, int thread) -> int32_t {
    return isOnHost() ? runRank(rank, thread) : runOnDevice(rank, thread);
  }));
  if (options.trace && !isOnHost())
    for (int rank : ranksHere()) {
      Queue &queue = *members[rank]->queue;
      MOERT_TRY(queue.enter());
      MOERT_TRY(queue.takeSpans(members[rank]->trace->stream));
    }
  return options.checkReplicas ? checkEqual() : Status();
}

Status Session::gatherOutputs(const std::vector<HostTensor> &outputs) {
  Rendezvous *meeting = world->rendezvous();
  if (!meeting)
    return {};
  for (const HostTensor &output : outputs) {
    auto spec = std::find_if(fn->outputs.begin(), fn->outputs.end(),
                             [&](const TensorSpec &candidate) {
                               return candidate.name == output.name;
                             });
    auto rowsOf = [&](int rank) {
      return std::span(static_cast<char *>(output.data) +
                           shareBegin(*spec, rank, totalTokens) *
                               spec->rowBytes(),
                       static_cast<size_t>(shareSize(*spec, rank, totalTokens) *
                                           spec->rowBytes()));
    };
    auto mine = rowsOf(meeting->rank());
    Result<std::vector<std::string>> all = meeting->gather(
        "output " + output.name, std::string_view(mine.data(), mine.size()));
    if (!all.ok())
      return all.status();
    // Shares that were filled; replicas must be equal to them.
    std::vector<bool> filled(static_cast<size_t>(topology.sizeOf(spec->split)));
    for (size_t rank = 0; rank < all->size(); ++rank) {
      auto rows = rowsOf(static_cast<int>(rank));
      const std::string &got = (*all)[rank];
      if (got.size() != rows.size())
        return forAll(Status::error(
            MOERT_ERROR_INVALID_ARGUMENT, "rank ", rank, " has ", got.size(),
            " bytes of output `", output.name, "`, ", rows.size(),
            " are expected; do all processes have the same input?"));
      size_t share = static_cast<size_t>(
          topology.indexOn(spec->split, static_cast<int>(rank)));
      bool isReplica = filled[share];
      filled[share] = true;
      if (!isReplica)
        std::copy(got.begin(), got.end(), rows.begin());
      else if (options.checkReplicas &&
               !std::equal(got.begin(), got.end(), rows.begin()))
        return forAll(replicaDiffers(static_cast<int>(rank), *spec));
    }
  }
  return {};
}

Status Session::enqueue(void *stream, const std::vector<HostTensor> &inputs,
                        const std::vector<HostTensor> &outputs) {
  if (isOnHost())
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                         "the device cpu has no streams; run with host "
                         "tensors, or compile with --target=cuda");
  if (ranksHere().size() != 1)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "this process runs ",
                         ranksHere().size(),
                         " ranks, a caller's stream can hold one");
  MOERT_TRY(checkReady());
  Result<int64_t> tokens =
      checkTensors(*fn, inputs, outputs, options.maxTokens);
  if (!tokens.ok())
    return tokens.status();
  totalTokens = *tokens;
  Rank &rank = *members[ranksHere().front()];
  Call &call = calls[rank.number];
  call.tokens = 0;
  rank.context()->total_tokens = *tokens;
  for (size_t i = 0; i < fn->inputs.size(); ++i) {
    const TensorSpec &spec = fn->inputs[i];
    call.inputs[i] = findTensor(inputs, spec.name)->data;
    if (spec.hasTokens())
      call.tokens = shareSize(spec, rank.number, *tokens);
  }
  MOERT_TRY(rank.queue->enter());
  rank.queue->useStream(stream);
  MOERT_TRY(rank.queue->beginRun());
  for (size_t i = 0; i < fn->outputs.size(); ++i) {
    if (const HostTensor *given = findTensor(outputs, fn->outputs[i].name)) {
      call.outputs[i] = given->data;
      continue;
    }
    if (!staging[rank.number].outputs[i].data()) {
      Result<bool> capturing = rank.queue->isCapturing();
      if (!capturing.ok())
        return capturing.status();
      if (*capturing)
        return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "output `",
                             fn->outputs[i].name,
                             "` is left out while the stream is being "
                             "captured; give it, or run once before");
      MOERT_TRY(stageOutput(rank.number, i));
    }
    call.outputs[i] = staging[rank.number].outputs[i].data();
  }
  return runOnAll([&](Rank &own, int thread) { return runRank(own, thread); },
                  /*finishes=*/false);
}

Status Session::setVariants(const std::vector<int32_t> &chosen) {
  if (chosen.size() != fn->variants.size())
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "function `", fn->name,
                         "` has ", fn->variants.size(), " choices, ",
                         chosen.size(), " are made");
  for (size_t i = 0; i < chosen.size(); ++i)
    if (chosen[i] < 0 || chosen[i] > fn->variants[i].variants())
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "choice ", i,
                           " of function `", fn->name, "` is variant ",
                           chosen[i], ", expected 0 to ",
                           fn->variants[i].variants());
  for (int rank : ranksHere())
    members[rank]->variants = chosen;
  return {};
}

Status Session::wait() {
  if (isOnHost())
    return {};
  for (int rank : ranksHere()) {
    Queue &queue = *members[rank]->queue;
    MOERT_TRY(queue.enter());
    MOERT_TRY(queue.finish().in(concat("rank ", rank)));
  }
  return {};
}
