// A stand-in for libcuda on machines without a GPU: device memory is host
// memory, kernels are the functions below, and streams are as lazy as the
// contract of the real ones allows. Nothing of a stream is done before somebody
// waits for it, so that work which should have waited for another stream, and
// did not, finds old data. Each of FAKE_CUDA_DEVICES devices [2] has memory of
// its own, which work of another device must not touch but by a copy between
// devices, even where it could. What it cannot show: generated kernels, timing,
// real concurrency.
#include "cuda/driver.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace moert::cuda;

namespace {

constexpr int InvalidValue = 1, InvalidDevice = 101, InvalidContext = 201,
              InvalidHandle = 400, NotFound = 500, IllegalAddress = 700,
              CaptureUnsupported = 900;
constexpr int MostDevices = 16;

// False: not done yet, to be called again.
using Work = std::function<bool()>;
struct Stream {
  int device = 0;
  std::vector<Work> work;
  size_t done = 0;
  bool capturing = false;
  std::vector<Work> captured;
};
struct Event {
  int device = 0;
  Stream *stream = nullptr;
  size_t position = 0;
  int64_t time = 0; // one step of the clock is one recorded event
};
struct Graph {
  std::vector<Work> work;
};
// What the fake keeps of a tensor map: where it is.
struct Map {
  void *base;
};

// A device and its primary context.
struct Device {
  int number = 0;
  Stream defaultStream;
  bool reaches[MostDevices] = {};
};
// Of memory that somebody has allocated.
struct Extent {
  size_t size = 0;
  int device = -1; // host memory
};

int deviceCount() {
  const char *text = std::getenv("FAKE_CUDA_DEVICES");
  return text ? std::atoi(text) : 2;
}

std::mutex mutex; // the whole driver is one lock
std::vector<Stream *> streams;
std::vector<Device> &devices() {
  static std::vector<Device> all = [] {
    std::vector<Device> made(MostDevices);
    for (int i = 0; i < MostDevices; ++i)
      made[i].number = made[i].defaultStream.device = i;
    return made;
  }();
  return all;
}
int64_t allocations = 0;
std::map<void *, Extent> owned;
thread_local Device *current = nullptr;

// Null where nobody has allocated it: whatever a test takes for memory.
const Extent *extentOf(const void *pointer) {
  auto after = owned.upper_bound(const_cast<void *>(pointer));
  if (after == owned.begin())
    return nullptr;
  const auto &[begin, extent] = *std::prev(after);
  bool isInside = static_cast<const char *>(pointer) <
                  static_cast<const char *>(begin) + extent.size;
  return isInside ? &extent : nullptr;
}

bool isPinned(void *pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  const Extent *extent = extentOf(pointer);
  return extent && extent->device < 0;
}

// Whether work of a device may touch it.
bool isOn(int device, const void *pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  const Extent *extent = extentOf(pointer);
  return !extent || extent->device < 0 || extent->device == device;
}
bool isOn(int device, DevicePointer pointer) {
  return isOn(device, reinterpret_cast<void *>(pointer));
}

Device &deviceOf(ContextHandle context) {
  return *reinterpret_cast<Device *>(context);
}

Stream &of(StreamHandle handle) {
  return handle    ? *reinterpret_cast<Stream *>(handle)
         : current ? current->defaultStream
                   : devices()[0].defaultStream;
}

// Does a stream's work up to a position; earlier work of others that it waits
// for comes first. False if it would have to wait for another process.
bool advance(Stream &stream, size_t position) {
  while (stream.done < position) {
    if (!stream.work[stream.done]())
      return false;
    stream.work[stream.done++] = nullptr;
  }
  return true;
}

template <typename IsDone> int waitUntil(IsDone isDone) {
  while (true) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (isDone())
        return Success;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

int putSteps(StreamHandle handle, Work work) {
  std::lock_guard<std::mutex> lock(mutex);
  Stream &stream = of(handle);
  (stream.capturing ? stream.captured : stream.work).push_back(std::move(work));
  return Success;
}

template <typename Do> int put(StreamHandle handle, Do work) {
  return putSteps(handle, [work = std::move(work)]() mutable {
    work();
    return true;
  });
}

// target[i] = sum over m of source[m * stride + i]
void sumF32(void **parameters) {
  float *target = *static_cast<float **>(parameters[0]);
  const float *source = *static_cast<float **>(parameters[1]);
  int64_t count = *static_cast<int64_t *>(parameters[2]);
  int64_t stride = *static_cast<int64_t *>(parameters[3]);
  int32_t members = *static_cast<int32_t *>(parameters[4]);
  for (int64_t i = 0; i < count; ++i) {
    float sum = source[i];
    for (int32_t m = 1; m < members; ++m)
      sum += source[m * stride + i];
    target[i] = sum;
  }
}

float fromBf16(uint16_t value) {
  uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// Rounds to the nearest, ties to even; no NaN is expected.
uint16_t toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void sumBf16(void **parameters) {
  uint16_t *target = *static_cast<uint16_t **>(parameters[0]);
  const uint16_t *source = *static_cast<uint16_t **>(parameters[1]);
  int64_t count = *static_cast<int64_t *>(parameters[2]);
  int64_t stride = *static_cast<int64_t *>(parameters[3]);
  int32_t members = *static_cast<int32_t *>(parameters[4]);
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int32_t m = 0; m < members; ++m)
      sum += fromBf16(source[m * stride + i]);
    target[i] = toBf16(sum);
  }
}

// The kernels of cuda_program.c; see there.
void pack(void **parameters) {
  const float *w = *static_cast<float **>(parameters[0]);
  const float *b = *static_cast<float **>(parameters[1]);
  float *sum = *static_cast<float **>(parameters[2]);
  for (int c = 0; c < 4; ++c)
    sum[c] = b[c] + w[c] + w[4 + c];
}

void scale(void **parameters) {
  const float *x = *static_cast<float **>(parameters[0]);
  const float *total =
      static_cast<float *>(reinterpret_cast<Map *>(parameters[1])->base);
  float *y = *static_cast<float **>(parameters[2]);
  int32_t *ids = *static_cast<int32_t **>(parameters[3]);
  float *weights = *static_cast<float **>(parameters[4]);
  int64_t tokens = *static_cast<int64_t *>(parameters[5]);
  int32_t *status = *static_cast<int32_t **>(parameters[6]);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int c = 0; c < 4; ++c)
      y[4 * t + c] = x[4 * t + c] * total[c];
    int32_t id = static_cast<int32_t>(x[4 * t] < 0 ? -x[4 * t] : x[4 * t]);
    if (id >= 5) {
      *status = 1;
      continue;
    }
    ids[2 * t] = id;
    ids[2 * t + 1] = (id + 1) % 5;
    weights[2 * t] = 0.75f;
    weights[2 * t + 1] = 0.25f;
  }
}

struct KernelEntry {
  const char *name;
  void (*run)(void **);
  // Bytes of each parameter; 0 ends.
  int sizes[8];
};
constexpr KernelEntry Kernels[] = {
    {"sum_f32", sumF32, {8, 8, 8, 8, 4}},
    {"sum_bf16", sumBf16, {8, 8, 8, 8, 4}},
    {"pack", pack, {8, 8, 8}},
    {"scale", scale, {8, sizeof(TensorMap), 8, 8, 8, 8, 8}},
};
// Stands for every other kernel where FAKE_CUDA_ANY is set: does nothing.
constexpr KernelEntry AnyKernel = {"", [](void **) {}, {}};

// What FAKE_CUDA_SPOIL names: makes the next result that the host takes wrong.
bool isSpoiled = false;
constexpr KernelEntry Spoiler = {"", [](void **) { isSpoiled = true; }, {}};

// A kernel as one device has it.
struct Function {
  const KernelEntry *kernel = nullptr;
  int device = 0;
};

bool acceptsAny() { return std::getenv("FAKE_CUDA_ANY") != nullptr; }

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT int cuStreamSynchronize(StreamHandle handle);

EXPORT int cuInit(unsigned) { return Success; }
EXPORT int cuDriverGetVersion(int *version) {
  *version = 13000;
  return Success;
}
EXPORT int cuGetErrorName(int code, const char **name) {
  *name = code == OutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : code == InvalidImage ? "CUDA_ERROR_INVALID_IMAGE"
          : code == NotFound     ? "CUDA_ERROR_NOT_FOUND"
                                 : "CUDA_ERROR_INVALID_VALUE";
  return Success;
}
EXPORT int cuGetErrorString(int, const char **text) {
  *text = "said by the fake driver";
  return Success;
}

EXPORT int cuDeviceGetCount(int *count) {
  *count = deviceCount();
  return Success;
}
EXPORT int cuDeviceGet(DeviceHandle *device, int number) {
  *device = number;
  return Success;
}
EXPORT int cuDeviceGetName(char *name, int size, DeviceHandle) {
  std::strncpy(name, "Fake", static_cast<size_t>(size));
  return Success;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, DeviceHandle) {
  *value = attribute == MultiprocessorCount      ? 4
           : attribute == ComputeCapabilityMajor ? 9
           : attribute == MaxSharedBytesOptIn    ? 232448
                                                 : 0;
  return Success;
}
EXPORT int cuDevicePrimaryCtxRetain(ContextHandle *context,
                                    DeviceHandle device) {
  *context =
      reinterpret_cast<ContextHandle>(&devices()[static_cast<size_t>(device)]);
  return Success;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(DeviceHandle) { return Success; }
EXPORT int cuCtxSetCurrent(ContextHandle context) {
  current = &deviceOf(context);
  return Success;
}
EXPORT int cuDeviceCanAccessPeer(int *can, DeviceHandle, DeviceHandle) {
  *can = std::getenv("FAKE_CUDA_APART") ? 0 : 1;
  return Success;
}
EXPORT int cuCtxEnablePeerAccess(ContextHandle context, unsigned flags) {
  Device &peer = deviceOf(context);
  if (!current || flags != 0)
    return current ? InvalidValue : InvalidContext;
  if (&peer == current)
    return InvalidDevice;
  std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(current->reaches[peer.number], true)
             ? PeerAccessAlreadyEnabled
             : Success;
}

EXPORT int cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = *total = size_t(1) << 40;
  return Success;
}
EXPORT int cuMemAlloc_v2(DevicePointer *pointer, size_t size) {
  if (!current)
    return InvalidContext;
  if (size > size_t(1) << 40)
    return OutOfMemory;
  void *memory = std::malloc(size);
  if (!memory)
    return OutOfMemory;
  // What is not written is seen; where kernels do nothing, counts are 0.
  std::memset(memory, acceptsAny() ? 0 : 0xa5, size);
  std::lock_guard<std::mutex> lock(mutex);
  ++allocations;
  owned[memory] = {size, current->number};
  *pointer = address(memory);
  return Success;
}
EXPORT int cuMemFree_v2(DevicePointer pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  // As the driver: what was enqueued before comes before.
  for (Stream *stream : streams)
    (void)advance(*stream, stream->work.size());
  for (Device &device : devices())
    (void)advance(device.defaultStream, device.defaultStream.work.size());
  --allocations;
  owned.erase(reinterpret_cast<void *>(pointer));
  std::free(reinterpret_cast<void *>(pointer));
  return Success;
}
EXPORT int cuMemHostAlloc(void **pointer, size_t size, unsigned) {
  *pointer = std::malloc(size);
  std::lock_guard<std::mutex> lock(mutex);
  owned[*pointer] = {size, -1};
  return *pointer ? Success : OutOfMemory;
}
EXPORT int cuMemFreeHost(void *pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  owned.erase(pointer);
  std::free(pointer);
  return Success;
}
// Pageable memory may change once the call has returned.
EXPORT int cuMemcpyHtoDAsync_v2(DevicePointer target, const void *source,
                                size_t size, StreamHandle stream) {
  if (!isOn(of(stream).device, target))
    return IllegalAddress;
  std::string bytes(static_cast<const char *>(source), size);
  return put(stream, [target, bytes = std::move(bytes)] {
    std::memcpy(reinterpret_cast<void *>(target), bytes.data(), bytes.size());
  });
}
// To pageable memory it returns when all is done.
EXPORT int cuMemcpyDtoHAsync_v2(void *target, DevicePointer source, size_t size,
                                StreamHandle stream) {
  if (!isOn(of(stream).device, source))
    return IllegalAddress;
  put(stream, [=] {
    std::memcpy(target, reinterpret_cast<void *>(source), size);
    constexpr size_t status = 4;
    if (size != status && std::exchange(isSpoiled, false))
      std::memset(target, 0x3f, size);
  });
  return isPinned(target) || of(stream).capturing ? Success
                                                  : cuStreamSynchronize(stream);
}
EXPORT int cuMemcpyDtoDAsync_v2(DevicePointer target, DevicePointer source,
                                size_t size, StreamHandle stream) {
  if (!isOn(of(stream).device, target) || !isOn(of(stream).device, source))
    return IllegalAddress;
  return put(stream, [=] {
    std::memcpy(reinterpret_cast<void *>(target),
                reinterpret_cast<void *>(source), size);
  });
}
EXPORT int cuMemcpyPeerAsync(DevicePointer target, ContextHandle there,
                             DevicePointer source, ContextHandle here,
                             size_t size, StreamHandle stream) {
  if (!isOn(deviceOf(there).number, target) ||
      !isOn(deviceOf(here).number, source))
    return IllegalAddress;
  return put(stream, [=] {
    std::memcpy(reinterpret_cast<void *>(target),
                reinterpret_cast<void *>(source), size);
  });
}
EXPORT int cuMemsetD8Async(DevicePointer target, unsigned char value,
                           size_t size, StreamHandle stream) {
  if (!isOn(of(stream).device, target))
    return IllegalAddress;
  return put(stream, [=] {
    std::memset(reinterpret_cast<void *>(target), value, size);
  });
}

EXPORT int cuStreamCreate(StreamHandle *stream, unsigned) {
  if (!current)
    return InvalidContext;
  std::lock_guard<std::mutex> lock(mutex);
  streams.push_back(new Stream);
  streams.back()->device = current->number;
  *stream = reinterpret_cast<StreamHandle>(streams.back());
  return Success;
}
EXPORT int cuStreamDestroy_v2(StreamHandle) {
  return Success; // events may still name it
}
EXPORT int cuStreamSynchronize(StreamHandle handle) {
  Stream &stream = of(handle);
  if (stream.capturing)
    return CaptureUnsupported;
  return waitUntil([&] { return advance(stream, stream.work.size()); });
}
EXPORT int cuStreamQuery(StreamHandle handle) {
  std::lock_guard<std::mutex> lock(mutex);
  Stream &stream = of(handle);
  if (stream.capturing)
    return CaptureUnsupported;
  return advance(stream, stream.work.size()) ? Success : NotReady;
}
EXPORT int cuStreamIsCapturing(StreamHandle handle, int *state) {
  std::lock_guard<std::mutex> lock(mutex);
  *state = of(handle).capturing ? 1 : 0;
  return Success;
}
EXPORT int cuStreamBeginCapture_v2(StreamHandle handle, int) {
  std::lock_guard<std::mutex> lock(mutex);
  of(handle).capturing = true;
  return Success;
}
EXPORT int cuStreamEndCapture(StreamHandle handle, GraphHandle *graph) {
  std::lock_guard<std::mutex> lock(mutex);
  Stream &stream = of(handle);
  stream.capturing = false;
  *graph = reinterpret_cast<GraphHandle>(
      new Graph{std::exchange(stream.captured, {})});
  return Success;
}
EXPORT int cuEventCreate(EventHandle *event, unsigned) {
  if (!current)
    return InvalidContext;
  *event = reinterpret_cast<EventHandle>(new Event{.device = current->number});
  return Success;
}
EXPORT int cuEventDestroy_v2(EventHandle event) {
  delete reinterpret_cast<Event *>(event);
  return Success;
}
EXPORT int cuEventRecord(EventHandle handle, StreamHandle stream) {
  std::lock_guard<std::mutex> lock(mutex);
  Event &event = *reinterpret_cast<Event *>(handle);
  if (event.device != of(stream).device)
    return InvalidHandle;
  event.stream = &of(stream);
  event.position = event.stream->work.size();
  static int64_t clock = 0;
  event.time = ++clock;
  return Success;
}
// What was recorded last when this is called counts, as with the real one.
EXPORT int cuStreamWaitEvent(StreamHandle stream, EventHandle handle,
                             unsigned) {
  Event event;
  {
    std::lock_guard<std::mutex> lock(mutex);
    event = *reinterpret_cast<Event *>(handle);
  }
  if (!event.stream)
    return Success;
  return putSteps(stream,
                  [event] { return advance(*event.stream, event.position); });
}
EXPORT int cuEventSynchronize(EventHandle handle) {
  Event &event = *reinterpret_cast<Event *>(handle);
  return waitUntil(
      [&] { return !event.stream || advance(*event.stream, event.position); });
}
EXPORT int cuEventQuery(EventHandle handle) {
  std::lock_guard<std::mutex> lock(mutex);
  Event &event = *reinterpret_cast<Event *>(handle);
  bool isDone = !event.stream || advance(*event.stream, event.position);
  return isDone ? Success : NotReady;
}
EXPORT int cuEventElapsedTime(float *milliseconds, EventHandle from,
                              EventHandle to) {
  *milliseconds = static_cast<float>(reinterpret_cast<Event *>(to)->time -
                                     reinterpret_cast<Event *>(from)->time);
  return Success;
}
EXPORT int cuGraphInstantiateWithFlags(GraphExecHandle *exec, GraphHandle graph,
                                       unsigned long long) {
  *exec = reinterpret_cast<GraphExecHandle>(
      new Graph(*reinterpret_cast<Graph *>(graph)));
  return Success;
}
EXPORT int cuGraphLaunch(GraphExecHandle exec, StreamHandle stream) {
  if (std::getenv("FAKE_CUDA_LOSE_GRAPHS"))
    return Success;
  for (const Work &work : reinterpret_cast<Graph *>(exec)->work)
    putSteps(stream, work);
  return Success;
}
EXPORT int cuGraphDestroy(GraphHandle graph) {
  delete reinterpret_cast<Graph *>(graph);
  return Success;
}
EXPORT int cuGraphExecDestroy(GraphExecHandle exec) {
  delete reinterpret_cast<Graph *>(exec);
  return Success;
}

EXPORT int cuModuleLoadDataEx(ModuleHandle *module, const void *image, unsigned,
                              const int *, void **values) {
  if (!current)
    return InvalidContext;
  if (!acceptsAny() &&
      std::strncmp(static_cast<const char *>(image), "fake", 4) != 0) {
    std::strcpy(static_cast<char *>(values[0]), "no fake module");
    return InvalidImage;
  }
  *module = reinterpret_cast<ModuleHandle>(current);
  return Success;
}
EXPORT int cuModuleUnload(ModuleHandle) { return Success; }
EXPORT int cuModuleGetFunction(FunctionHandle *function, ModuleHandle module,
                               const char *name) {
  const KernelEntry *found = nullptr;
  for (const KernelEntry &kernel : Kernels)
    if (std::strcmp(kernel.name, name) == 0)
      found = &kernel;
  if (!found && !acceptsAny())
    return NotFound;
  const char *spoiled = std::getenv("FAKE_CUDA_SPOIL");
  if (!found)
    found = spoiled && std::strstr(name, spoiled) ? &Spoiler : &AnyKernel;
  int device = reinterpret_cast<Device *>(module)->number;
  static std::map<std::pair<const KernelEntry *, int>, Function> functions;
  std::lock_guard<std::mutex> lock(mutex);
  Function &made = functions[{found, device}];
  made = {found, device};
  *function = reinterpret_cast<FunctionHandle>(&made);
  return Success;
}
EXPORT int cuFuncGetAttribute(int *value, int, FunctionHandle) {
  *value = 0;
  return Success;
}
EXPORT int cuFuncSetAttribute(FunctionHandle, int, int) { return Success; }
// Parameters are copied when a kernel is launched.
EXPORT int cuLaunchKernelEx(const LaunchConfig *config, FunctionHandle function,
                            void **parameters, void **) {
  if (config->grid[0] == 0 || config->block[0] == 0)
    return InvalidValue;
  const auto &[kernel, device] = *reinterpret_cast<Function *>(function);
  if (!current || current->number != device ||
      of(config->stream).device != device)
    return current ? InvalidHandle : InvalidContext;
  std::vector<std::string> copies;
  for (int i = 0; i < 8 && kernel->sizes[i]; ++i) {
    copies.emplace_back(static_cast<const char *>(parameters[i]),
                        static_cast<size_t>(kernel->sizes[i]));
    // A count is none of the addresses that there are; maps begin with one.
    if (kernel->sizes[i] >= 8 &&
        !isOn(device, *static_cast<void **>(parameters[i])))
      return IllegalAddress;
  }
  return put(config->stream, [kernel = kernel, copies]() mutable {
    void *pointers[8];
    for (size_t i = 0; i < copies.size(); ++i)
      pointers[i] = copies[i].data();
    kernel->run(pointers);
  });
}
EXPORT int cuTensorMapEncodeTiled(TensorMap *map, int, unsigned, void *base,
                                  const uint64_t *dims, const uint64_t *,
                                  const uint32_t *, const uint32_t *, int, int,
                                  int, int) {
  if (dims[0] == 0 || reinterpret_cast<uintptr_t>(base) % 16)
    return InvalidValue;
  reinterpret_cast<Map *>(map)->base = base;
  return Success;
}

// For fake_nccl.cpp.
EXPORT void fakeCudaPut(StreamHandle stream, const Work *work) {
  putSteps(stream, *work);
}
// The device of a stream; that of the calling thread is that of none.
EXPORT int fakeCudaDevice(StreamHandle stream) {
  return !stream && !current ? -1 : of(stream).device;
}
EXPORT bool fakeCudaIsOn(int device, const void *pointer) {
  return isOn(device, pointer);
}
// For tests: what is allocated and not freed.
EXPORT int64_t fakeCudaAllocations() {
  std::lock_guard<std::mutex> lock(mutex);
  return allocations;
}
