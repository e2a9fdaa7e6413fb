// moert.h over the classes behind it. Every function catches what must not
// reach C.
#include "moert/moert.h"

#include "session.h"

#include <cstdlib>
#include <mutex>
#include <new>

using namespace moert;

struct moert_artifact {
  std::shared_ptr<Artifact> artifact;
};
struct moert_session {
  std::unique_ptr<Session> session;
};

static std::string &lastMessage() {
  static thread_local std::string message;
  return message;
}

static moert_status report(const Status &status) {
  lastMessage() = status.message();
  return status.code();
}

template <typename Body> static moert_status guarded(Body body) {
  try {
    return report(body());
  } catch (const std::bad_alloc &) {
    // Short enough not to be allocated.
    lastMessage() = "out of memory";
    return MOERT_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception &error) {
    return report(Status::error(MOERT_ERROR_INTERNAL, error.what()));
  }
}

static Status missing(const char *what) {
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " is NULL");
}

const char *moert_last_message(void) { return lastMessage().c_str(); }

const char *moert_version(void) { return MOERT_VERSION; }

static Status keep(Result<std::shared_ptr<Artifact>> opened,
                   moert_artifact_t **artifact) {
  if (!opened.ok())
    return opened.status();
  *artifact = new moert_artifact{*opened};
  return {};
}

moert_status moert_artifact_open(const char *path,
                                 moert_artifact_t **artifact) {
  return guarded([&] {
    if (!path || !artifact)
      return missing(path ? "artifact" : "path");
    *artifact = nullptr;
    return keep(Artifact::open(path), artifact);
  });
}

moert_status moert_artifact_open_memory(const void *data, size_t size,
                                        moert_artifact_t **artifact) {
  return guarded([&] {
    if ((!data && size) || !artifact)
      return missing(artifact ? "data" : "artifact");
    *artifact = nullptr;
    return keep(Artifact::openMemory({static_cast<const char *>(data), size}),
                artifact);
  });
}

void moert_artifact_close(moert_artifact_t *artifact) { delete artifact; }

const char *moert_artifact_manifest(const moert_artifact_t *artifact) {
  return artifact ? artifact->artifact->manifestText().c_str() : "";
}

void moert_session_options_init(moert_session_options *options) {
  *options = {};
  options->size = sizeof(*options);
}

static Result<SessionOptions> convert(const moert_session_options &given) {
  SessionOptions options;
  if (given.device_count && !given.devices)
    return missing("options.devices");
  for (size_t i = 0; i < given.device_count; ++i)
    options.device.numbers.push_back(given.devices[i]);
  if (given.function)
    options.function = given.function;
  if (given.communicator)
    options.communicator = given.communicator;
  if (const char *mpi = std::getenv("MOERT_MPI"))
    options.mpi = mpi;
  options.maxTokens = given.max_tokens;
  options.threads = given.threads;
  options.checkReplicas = given.check_replicas != 0;
  if (given.timeout_seconds != 0)
    options.timeoutSeconds = given.timeout_seconds;
  if (given.log)
    options.log =
        [log = given.log, user = given.log_user,
         mutex = std::make_shared<std::mutex>()](const std::string &line) {
          std::lock_guard<std::mutex> lock(*mutex);
          log(user, line.c_str());
        };
  return options;
}

moert_status moert_session_open(moert_artifact_t *artifact,
                                const moert_session_options *options,
                                moert_session_t **session) {
  return guarded([&]() -> Status {
    if (!artifact || !options || !session)
      return missing(!artifact ? "artifact" : !options ? "options" : "session");
    *session = nullptr;
    if (options->size != sizeof(*options))
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "options.size is ",
                           options->size, ", this runtime expects ",
                           sizeof(*options));
    Result<SessionOptions> wanted = convert(*options);
    if (!wanted.ok())
      return wanted.status();
    Result<std::unique_ptr<Session>> opened =
        Session::open(artifact->artifact, std::move(*wanted));
    if (!opened.ok())
      return opened.status();
    *session = new moert_session{std::move(*opened)};
    return {};
  });
}

void moert_session_close(moert_session_t *session) { delete session; }

moert_status moert_session_load_weights(moert_session_t *session,
                                        const char *path) {
  return guarded([&] {
    if (!session || !path)
      return missing(session ? "path" : "session");
    return session->session->loadWeights(path);
  });
}

// Weights alone may have the types of quantised elements.
static Result<std::vector<HostTensor>> convert(const char *what,
                                               const moert_tensor *tensors,
                                               size_t count,
                                               bool areWeights = false) {
  std::vector<HostTensor> result;
  for (size_t i = 0; i < count; ++i) {
    const moert_tensor &tensor = tensors[i];
    auto refuse = [&](const auto &...args) {
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " ", i, " ",
                           args...);
    };
    if (!tensor.name || !tensor.dtype)
      return refuse("has no ", tensor.name ? "dtype" : "name");
    std::optional<moert_dtype> dtype = dtypeFromName(tensor.dtype);
    if (!dtype || (!areWeights && !isValidDtype(*dtype)))
      return refuse(
          "has the dtype '", printable(tensor.dtype), "'",
          suggest(tensor.dtype, areWeights ? dtypeNames() : valueDtypeNames()));
    if (tensor.rank < 0 || tensor.rank > 8 || (tensor.rank && !tensor.shape))
      return refuse("has ", tensor.rank, " dimensions",
                    tensor.shape ? ", expected 0 to 8" : " and no shape");
    result.push_back(
        {tensor.name, *dtype,
         std::vector<int64_t>(tensor.shape, tensor.shape + tensor.rank),
         tensor.data});
  }
  return result;
}

// Calls `call` with the caller's inputs and outputs, checked.
template <typename Call>
static Status withTensors(moert_session_t *session, const moert_tensor *inputs,
                          size_t inputCount, const moert_tensor *outputs,
                          size_t outputCount, Call call) {
  if (!session || (inputCount && !inputs) || (outputCount && !outputs))
    return missing(!session ? "session" : inputs ? "outputs" : "inputs");
  Result<std::vector<HostTensor>> in = convert("input", inputs, inputCount);
  if (!in.ok())
    return in.status();
  Result<std::vector<HostTensor>> out = convert("output", outputs, outputCount);
  if (!out.ok())
    return out.status();
  return call(*in, *out);
}

moert_status moert_session_run(moert_session_t *session,
                               const moert_tensor *inputs, size_t inputCount,
                               const moert_tensor *outputs,
                               size_t outputCount) {
  return guarded([&]() -> Status {
    return withTensors(session, inputs, inputCount, outputs, outputCount,
                       [&](const auto &in, const auto &out) {
                         return session->session->run(in, out);
                       });
  });
}

moert_status moert_session_set_weights(moert_session_t *session,
                                       const moert_tensor *weights,
                                       size_t count) {
  return guarded([&]() -> Status {
    if (!session || (count && !weights))
      return missing(session ? "weights" : "session");
    Result<std::vector<HostTensor>> given = convert("weight", weights, count,
                                                    /*areWeights=*/true);
    if (!given.ok())
      return given.status();
    return session->session->setWeights(*given);
  });
}

moert_status moert_session_enqueue(moert_session_t *session, void *stream,
                                   const moert_tensor *inputs,
                                   size_t inputCount,
                                   const moert_tensor *outputs,
                                   size_t outputCount) {
  return guarded([&]() -> Status {
    return withTensors(session, inputs, inputCount, outputs, outputCount,
                       [&](const auto &in, const auto &out) {
                         return session->session->enqueue(stream, in, out);
                       });
  });
}

moert_status moert_session_wait(moert_session_t *session) {
  return guarded(
      [&] { return session ? session->session->wait() : missing("session"); });
}

moert_status moert_session_counters(const moert_session_t *session,
                                    moert_counter *counters, size_t capacity,
                                    size_t *count) {
  return guarded([&]() -> Status {
    if (!session || !count || (capacity && !counters))
      return missing(!session ? "session" : count ? "counters" : "count");
    *count = 0;
    for (int rank = 0; rank < session->session->ranks(); ++rank)
      for (int kind = 0; kind < CollectiveKinds; ++kind) {
        const Counter &counter = session->session->counters(rank)[kind];
        if (counter.calls == 0)
          continue;
        if (*count < capacity)
          counters[*count] = {
              rank, collectiveName(static_cast<CollectiveKind>(kind)),
              counter.calls, counter.bytesSent, counter.bytesReceived};
        ++*count;
      }
    return {};
  });
}

moert_status moert_session_memory(const moert_session_t *session,
                                  moert_memory *memory) {
  return guarded([&]() -> Status {
    if (!session || !memory)
      return missing(session ? "memory" : "session");
    const SessionMemory &held = session->session->memory();
    *memory = {held.arenaBytes, held.packedBytes, held.sliceBytes};
    return {};
  });
}
