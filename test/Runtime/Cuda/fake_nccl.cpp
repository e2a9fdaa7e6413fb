// A stand-in for NCCL between ranks on one host, processes or threads of them,
// whose driver is fake_cuda.cpp: sends and receives are work of a stream, done
// bit by bit over sockets, so that a stream waits for other processes as with
// the real one. What it cannot show: speed, and NCCL's own faults.
#include "cuda/nccl_library.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace moert::cuda;

namespace {

constexpr int InvalidUsage = 5;

struct Communicator {
  int ranks = 0, rank = 0, device = 0;
  std::string folder;
  std::vector<int> sockets; // by rank
  std::atomic<bool> hasMet = false, isAborted = false;
  std::thread meeting;

  void meet();
};

struct Transfer {
  std::shared_ptr<Communicator> communicator;
  bool isSend = false;
  char *data = nullptr;
  size_t left = 0;
  int peer = 0;
};

// What of the driver is asked for.
struct FakeDriver {
  void (*put)(StreamHandle, const std::function<bool()> *) = nullptr;
  int (*device)(StreamHandle) = nullptr;
  bool (*isOn)(int, const void *) = nullptr;

  static const FakeDriver &get() {
    static const FakeDriver driver = [] {
      const char *name = std::getenv("MOERT_CUDA_LIB");
      void *library = ::dlopen(name ? name : "", RTLD_NOW | RTLD_LOCAL);
      FakeDriver made;
      auto find = [&](auto &function, const char *symbol) {
        function = reinterpret_cast<std::decay_t<decltype(function)>>(
            ::dlsym(library, symbol));
      };
      find(made.put, "fakeCudaPut");
      find(made.device, "fakeCudaDevice");
      find(made.isOn, "fakeCudaIsOn");
      return made;
    }();
    return driver;
  }
};

// Two ranks of one process must not have one device.
std::mutex mutex;
std::map<std::string, std::set<int>> devicesOf; // by id

struct Group {
  int depth = 0;
  StreamHandle stream = nullptr;
  std::vector<Transfer> transfers;
};
thread_local Group group;

sockaddr_un addressOf(const std::string &folder, int rank) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string path = folder + "/" + std::to_string(rank);
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// Calls lower ranks, then is called by higher ones.
void Communicator::meet() {
  sockaddr_un mine = addressOf(folder, rank);
  int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  (void)::bind(listener, reinterpret_cast<sockaddr *>(&mine), sizeof(mine));
  (void)::listen(listener, ranks);
  for (int peer = 0; peer < rank; ++peer) {
    sockaddr_un theirs = addressOf(folder, peer);
    int line = ::socket(AF_UNIX, SOCK_STREAM, 0);
    while (::connect(line, reinterpret_cast<sockaddr *>(&theirs),
                     sizeof(theirs)) != 0) {
      if (isAborted)
        return;
      ::usleep(1000);
    }
    (void)::send(line, &rank, sizeof(rank), MSG_NOSIGNAL);
    sockets[static_cast<size_t>(peer)] = line;
  }
  for (int count = rank + 1; count < ranks;) {
    int line = ::accept(listener, nullptr, nullptr);
    int peer = 0;
    if (line >= 0 &&
        ::recv(line, &peer, sizeof(peer), MSG_WAITALL) == sizeof(peer)) {
      sockets[static_cast<size_t>(peer)] = line;
      ++count;
    } else {
      ::usleep(1000);
    }
    if (isAborted)
      return;
  }
  ::close(listener);
  ::unlink(mine.sun_path);
  hasMet = true;
}

// Does what can be done now; true when all is done. What goes to or comes from
// one peer stays in order.
bool step(std::vector<Transfer> &transfers) {
  std::set<std::pair<int, bool>> busy;
  for (Transfer &transfer : transfers) {
    if (transfer.communicator->isAborted)
      return true;
    if (transfer.left == 0 || busy.contains({transfer.peer, transfer.isSend}))
      continue;
    int line =
        transfer.communicator->sockets[static_cast<size_t>(transfer.peer)];
    ssize_t moved = transfer.isSend ? ::send(line, transfer.data, transfer.left,
                                             MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : ::recv(line, transfer.data, transfer.left,
                                             MSG_DONTWAIT);
    if (moved > 0) {
      transfer.data += moved;
      transfer.left -= static_cast<size_t>(moved);
    }
    if (transfer.left > 0)
      busy.insert({transfer.peer, transfer.isSend});
  }
  return busy.empty();
}

void putGroup() {
  std::vector<Transfer> transfers = std::exchange(group.transfers, {});
  if (transfers.empty())
    return;
  std::function<bool()> work = [transfers = std::move(transfers)]() mutable {
    return step(transfers);
  };
  FakeDriver::get().put(group.stream, &work);
}

std::shared_ptr<Communicator> &of(NcclHandle handle) {
  return *reinterpret_cast<std::shared_ptr<Communicator> *>(handle);
}

int transfer(bool isSend, void *data, size_t size, int peer, NcclHandle handle,
             StreamHandle stream) {
  const std::shared_ptr<Communicator> &communicator = of(handle);
  if (!communicator->hasMet || peer == communicator->rank ||
      peer >= communicator->ranks ||
      FakeDriver::get().device(stream) != communicator->device ||
      !FakeDriver::get().isOn(communicator->device, data))
    return InvalidUsage;
  group.stream = stream;
  group.transfers.push_back(
      {communicator, isSend, static_cast<char *>(data), size, peer});
  if (group.depth == 0)
    putGroup();
  return NcclSuccess;
}

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int ncclGetVersion(int *version) {
  *version = 29999;
  return NcclSuccess;
}
EXPORT const char *ncclGetErrorString(int) { return "said by the fake NCCL"; }
EXPORT const char *ncclGetLastError(NcclHandle) { return ""; }
EXPORT int ncclGetUniqueId(NcclId *id) {
  // mkdtemp replaces the last six letters.
  std::string folder = "/tmp/fake-nccl-" + std::string(6, 'X');
  std::strcpy(id->bytes, folder.c_str());
  return ::mkdtemp(id->bytes) ? NcclSuccess : InvalidUsage;
}
// In the background, as the real one where it must not block.
EXPORT int ncclCommInitRankConfig(NcclHandle *handle, int ranks, NcclId id,
                                  int rank, NcclConfig *config) {
  int device = FakeDriver::get().device(nullptr);
  if (config->blocking != 0 || device < 0)
    return InvalidUsage;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (!devicesOf[id.bytes].insert(device).second)
      return InvalidUsage;
  }
  auto *made = new std::shared_ptr<Communicator>(new Communicator);
  Communicator &communicator = **made;
  communicator.ranks = ranks;
  communicator.rank = rank;
  communicator.device = device;
  communicator.folder = id.bytes;
  communicator.sockets.resize(static_cast<size_t>(ranks), -1);
  communicator.meeting = std::thread([&communicator] { communicator.meet(); });
  *handle = reinterpret_cast<NcclHandle>(made);
  return NcclInProgress;
}
EXPORT int ncclCommGetAsyncError(NcclHandle handle, int *state) {
  *state = of(handle)->hasMet ? NcclSuccess : NcclInProgress;
  return NcclSuccess;
}
EXPORT int ncclCommFinalize(NcclHandle) { return NcclSuccess; }
EXPORT int ncclCommAbort(NcclHandle handle) {
  Communicator &communicator = *of(handle);
  communicator.isAborted = true;
  communicator.meeting.join();
  // Work of streams may still hold it: the sockets close with the process.
  (void)::rmdir(communicator.folder.c_str());
  delete &of(handle);
  return NcclSuccess;
}
EXPORT int ncclCommDestroy(NcclHandle handle) {
  Communicator &communicator = *of(handle);
  communicator.meeting.join();
  for (int line : communicator.sockets)
    if (line >= 0)
      ::close(line);
  (void)::rmdir(communicator.folder.c_str());
  delete &of(handle);
  return NcclSuccess;
}
EXPORT int ncclGroupStart() {
  ++group.depth;
  return NcclSuccess;
}
EXPORT int ncclGroupEnd() {
  if (--group.depth == 0)
    putGroup();
  return NcclSuccess;
}
EXPORT int ncclSend(const void *data, size_t size, int, int peer,
                    NcclHandle handle, StreamHandle stream) {
  return transfer(true, const_cast<void *>(data), size, peer, handle, stream);
}
EXPORT int ncclRecv(void *data, size_t size, int, int peer, NcclHandle handle,
                    StreamHandle stream) {
  return transfer(false, data, size, peer, handle, stream);
}
