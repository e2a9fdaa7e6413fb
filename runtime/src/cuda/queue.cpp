#include "cuda/queue.h"

#include <chrono>
#include <cstring>
#include <thread>

using namespace moert;
using namespace moert::cuda;

Result<Event> Event::make(std::shared_ptr<Context> context, bool isTimed) {
  EventHandle handle = nullptr;
  MOERT_TRY(context->check(
      context->driver().eventCreate(&handle, isTimed ? 0 : EventNoTiming),
      "cannot make an event"));
  return Event(std::move(context), handle);
}

Event::~Event() {
  if (handle && context->enter().ok())
    (void)context->driver().eventDestroy(handle);
}

Result<std::unique_ptr<StreamQueue>>
StreamQueue::make(std::shared_ptr<Context> context,
                  std::shared_ptr<const Kernels> kernels, int64_t maps) {
  std::unique_ptr<StreamQueue> queue(
      new StreamQueue(context, std::move(kernels), maps));
  MOERT_TRY(context->enter());
  MOERT_TRY(context->check(
      context->driver().streamCreate(&queue->own, StreamNonBlocking),
      "cannot make a stream"));
  queue->current = queue->own;
  Result<Memory> status = context->allocate(4, "a status word");
  if (!status.ok())
    return status.status();
  queue->status = std::move(*status);
  Result<Memory> copy = context->allocateHost(4, "a status word");
  if (!copy.ok())
    return copy.status();
  queue->statusCopy = std::move(*copy);
  MOERT_TRY(queue->fill(queue->status.data(), 0, 4));
  MOERT_TRY(queue->wait());
  return queue;
}

StreamQueue::~StreamQueue() {
  if (own && context->enter().ok()) {
    (void)context->driver().streamSynchronize(own);
    (void)context->driver().streamDestroy(own);
  }
}

Status StreamQueue::launch(int32_t index, int64_t grid,
                           const void *const *args) {
  if (index < 0 || static_cast<size_t>(index) >= kernels->count())
    return Status::error(MOERT_ERROR_INTERNAL, "the program launches kernel ",
                         index, ", the artifact has ", kernels->count());
  const Kernel &kernel = kernels->kernel(static_cast<size_t>(index));
  bool isSeen = timeline && grid != 0;
  if (isSeen)
    MOERT_TRY(beginSpan(SpanKind::Kernel, kernel.name, -1));
  void *parameters[64];
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    parameters[i] = const_cast<void *>(args[i]);
    if (kernel.parameters[i] != KernelParameter::TensorMap)
      continue;
    int32_t slot = *static_cast<const int32_t *>(args[i]);
    if (slot < 0 || static_cast<size_t>(slot) >= maps.size() || !bound[slot])
      return Status::error(MOERT_ERROR_INTERNAL, "kernel `",
                           printable(kernel.name), "` takes tensor map ", slot,
                           ", which was not made; there are ", maps.size());
    parameters[i] = &maps[slot];
  }
  MOERT_TRY(
      kernels->launch(static_cast<size_t>(index), grid, parameters, current));
  return isSeen ? endSpan(-1) : Status();
}

Status StreamQueue::wantSpans() {
  Result<Timeline> started = Timeline::start(context, current);
  if (!started.ok())
    return started.status();
  timeline.emplace(std::move(*started));
  return {};
}

Status StreamQueue::beginSpan(SpanKind kind, std::string_view name,
                              int64_t group) {
  return timeline ? timeline->begin(current, kind, name, group) : Status();
}

Status StreamQueue::endSpan(int64_t bytes) {
  return timeline ? timeline->end(current, bytes) : Status();
}

Status StreamQueue::takeSpans(Track &track) {
  Status status = timeline ? timeline->take(track) : Status();
  timeline.reset();
  return status;
}

// Of cuda.h: CUtensorMapDataType.
static int mapDtype(int32_t dtype) {
  switch (dtype) {
  case MOERT_F32:
    return 7;
  case MOERT_BF16:
    return 9;
  case MOERT_F16:
    return 6;
  default:
    return -1;
  }
}

static int mapSwizzle(int32_t bytes) {
  switch (bytes) {
  case 0:
    return 0;
  case 32:
    return 1;
  case 64:
    return 2;
  case 128:
    return 3;
  default:
    return -1;
  }
}

Status StreamQueue::tensorMap(int32_t slot, const moert_tensor_map &map) {
  auto refuse = [&](const auto &...args) {
    return Status::error(MOERT_ERROR_INTERNAL, "tensor map ", slot, args...);
  };
  if (slot < 0 || static_cast<size_t>(slot) >= maps.size())
    return refuse(" is made, the function has ", maps.size());
  int dtype = mapDtype(map.dtype), swizzle = mapSwizzle(map.swizzle);
  if (dtype < 0 || swizzle < 0 || map.rank < 1 || map.rank > 5)
    return refuse(" has dtype ", map.dtype, ", rank ", map.rank,
                  " and swizzle ", map.swizzle);
  uint64_t dims[5], strides[4] = {};
  uint32_t box[5], steps[5];
  std::string text;
  for (int i = 0; i < map.rank; ++i) {
    dims[i] = static_cast<uint64_t>(map.dims[i]);
    box[i] = static_cast<uint32_t>(map.box[i]);
    steps[i] = 1;
    if (i > 0)
      strides[i - 1] = static_cast<uint64_t>(map.strides[i - 1]);
    text += concat(i ? " x " : "", map.dims[i], " in boxes of ", map.box[i],
                   i ? concat(" every ", map.strides[i - 1], " bytes") : "");
  }
  // Promoting to 256 bytes costs 6 % of the memory's bandwidth on an H200
  // (benchmarks/gpu/NOTES.md).
  constexpr int noInterleave = 0, promoteToL2Line128 = 2, fillWithZeros = 0;
  MOERT_TRY(check(context->driver().tensorMapEncode(
                      &maps[slot], dtype, static_cast<unsigned>(map.rank),
                      map.base, dims, strides, box, steps, noInterleave,
                      swizzle, promoteToL2Line128, fillWithZeros),
                  concat("cannot make tensor map ", slot, " over ", text,
                         ", swizzle ", map.swizzle)));
  bound[slot] = true;
  return {};
}

Status StreamQueue::copy(void *target, const void *source, int64_t bytes) {
  if (bytes <= 0)
    return {};
  return check(context->driver().copyOnDevice(address(target), address(source),
                                              static_cast<size_t>(bytes),
                                              current),
               concat("cannot copy ", bytes, " bytes on the device"));
}

Status StreamQueue::copyFrom(const Context &there, void *target,
                             const void *source, int64_t bytes) {
  if (there.device() == context->device())
    return copy(target, source, bytes);
  if (bytes <= 0)
    return {};
  return check(context->driver().copyBetweenDevices(
                   address(target), context->get(), address(source),
                   there.get(), static_cast<size_t>(bytes), current),
               concat("cannot copy ", bytes, " bytes from CUDA device ",
                      there.device(), " to device ", context->device()));
}

Status StreamQueue::fill(void *target, int32_t value, int64_t bytes) {
  if (bytes <= 0)
    return {};
  return check(context->driver().fillBytes(address(target),
                                           static_cast<unsigned char>(value),
                                           static_cast<size_t>(bytes), current),
               concat("cannot fill ", bytes, " bytes on the device"));
}

Status StreamQueue::upload(void *target, const void *host, int64_t bytes) {
  if (bytes <= 0)
    return {};
  return check(context->driver().copyToDevice(
                   address(target), host, static_cast<size_t>(bytes), current),
               concat("cannot copy ", bytes, " bytes to the device"));
}

// To memory that is not pinned the driver copies before it returns, however
// long the stream takes: somebody who must be asked meanwhile is asked first.
Status StreamQueue::download(void *host, const void *source, int64_t bytes) {
  if (bytes <= 0)
    return {};
  if (whileWaiting)
    MOERT_TRY(wait());
  return check(context->driver().copyToHost(
                   host, address(source), static_cast<size_t>(bytes), current),
               concat("cannot copy ", bytes, " bytes from the device"));
}

Result<bool> StreamQueue::isCapturing() {
  int state = CaptureNone;
  MOERT_TRY(check(context->driver().streamIsCapturing(current, &state),
                  "cannot ask whether the stream is captured"));
  return state != CaptureNone;
}

// Alone, a thread sleeps in the driver; with somebody to ask it looks now and
// then.
Status StreamQueue::wait() {
  if (!whileWaiting)
    return check(context->driver().streamSynchronize(current),
                 "the work on the device failed");
  auto begin = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    int code = context->driver().streamQuery(current);
    if (code != NotReady)
      return check(code, "the work on the device failed");
    std::chrono::duration<double> passed =
        std::chrono::steady_clock::now() - begin;
    MOERT_TRY(whileWaiting(passed.count()));
    if (round > 100)
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    else
      std::this_thread::yield();
  }
}

static Status needsCounts() {
  return Status::error(
      MOERT_ERROR_UNSUPPORTED,
      "the program needs counts on the host, which a stream that is being "
      "captured cannot give; use --dispatcher=all_gather or one rank");
}

Status StreamQueue::beginRun() {
  timeline.reset(); // of a run that failed before its spans were taken
  Result<bool> capturing = isCapturing();
  if (!capturing.ok())
    return capturing.status();
  if (*capturing)
    return readInRun ? needsCounts() : Status();
  readInRun = false;
  return {};
}

Status StreamQueue::read(void *host, const void *source, int64_t bytes) {
  Result<bool> capturing = isCapturing();
  if (!capturing.ok())
    return capturing.status();
  if (*capturing)
    return needsCounts();
  readInRun = true;
  MOERT_TRY(download(host, source, bytes));
  return wait();
}

Status StreamQueue::grow(Memory &memory, int64_t bytes, std::string_view what) {
  if (memory.data() && memory.size() >= bytes)
    return {};
  Result<bool> capturing = isCapturing();
  if (!capturing.ok())
    return capturing.status();
  if (*capturing)
    return Status::error(MOERT_ERROR_UNSUPPORTED, "no memory can be made for ",
                         what,
                         " while the stream is being captured; run once "
                         "before, with as many tokens");
  if (memory.data())
    MOERT_TRY(wait());
  Result<Memory> larger = context->allocate(bytes, what);
  if (!larger.ok())
    return larger.status();
  memory = std::move(*larger);
  return {};
}

static Status kernelFailure(int32_t reason) {
  switch (reason) {
  case MOERT_FAIL_EXPERT_ID:
    return Status::error(MOERT_ERROR_PROGRAM,
                         "a kernel found an expert id that is none");
  case MOERT_FAIL_DUPLICATE_ID:
    return Status::error(MOERT_ERROR_PROGRAM,
                         "a kernel found a token that names an expert twice");
  case MOERT_FAIL_ROWS:
    return Status::error(MOERT_ERROR_PROGRAM,
                         "a kernel found more rows than a buffer holds");
  default:
    return Status::error(MOERT_ERROR_PROGRAM,
                         "a kernel failed for the unknown reason ", reason);
  }
}

Status StreamQueue::finish() {
  MOERT_TRY(download(statusCopy.data(), status.data(), 4));
  MOERT_TRY(wait());
  int32_t reason = 0;
  std::memcpy(&reason, statusCopy.data(), sizeof(reason));
  if (reason == 0)
    return {};
  MOERT_TRY(fill(status.data(), 0, 4));
  MOERT_TRY(wait());
  return kernelFailure(reason);
}

Status StreamQueue::sum(moert_dtype dtype, void *target, const void *source,
                        int64_t count, int64_t members) {
  int kernel = kernels->sumOf(dtype);
  if (kernel < 0)
    return Status::error(MOERT_ERROR_INVALID_FILE,
                         "the artifact has no kernel that adds ",
                         dtypeName(dtype));
  int64_t stride = sumStride(count);
  int32_t number = static_cast<int32_t>(members);
  const void *args[] = {&target, &source, &count, &stride, &number};
  return launch(kernel, -1, args);
}

Status StreamQueue::record(const Event &event) {
  return check(context->driver().eventRecord(event.get(), current),
               "cannot record an event");
}

Status StreamQueue::await(const Event &event) {
  return check(context->driver().streamWaitEvent(current, event.get(), 0),
               "cannot wait for an event");
}
