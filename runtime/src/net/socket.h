// TCP connections between the processes of a job.
#ifndef MOERT_NET_SOCKET_H
#define MOERT_NET_SOCKET_H

#include "status.h"

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

namespace moert {

using Deadline = std::chrono::steady_clock::time_point;
// That many seconds from now; far away if the number is huge.
Deadline after(double seconds);

// Owns a file descriptor.
class Socket {
public:
  Socket() = default;
  explicit Socket(int fd) : fd(fd) {}
  ~Socket() { reset(); }
  Socket(Socket &&other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Socket &operator=(Socket &&other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }

  explicit operator bool() const { return fd >= 0; }
  int get() const { return fd; }
  void reset();

private:
  int fd = -1;
};

// Waits for connections on all addresses, or on this host's own (127.0.0.1 and
// ::1) alone. Port 0 takes any that is free.
Result<Socket> listenOn(int port, bool onlyThisHost);
int portOf(const Socket &listener);
// An accepted connection, or none if there is none now. Does not block.
Socket acceptFrom(const Socket &listener);
Result<Socket> connectTo(const std::string &host, int port, Deadline deadline);

// Whether the last call failed only because the socket was not ready, or was
// interrupted.
bool wouldBlock();
// Both work on sockets that do not block, until all is done.
Status sendAll(const Socket &socket, const void *data, size_t size,
               Deadline deadline);
Status receiveAll(const Socket &socket, void *data, size_t size,
                  Deadline deadline);
// False if the time is over before the socket is ready for `events` of poll.
bool waitFor(const Socket &socket, short events, Deadline deadline);

// The addresses under which other hosts may reach this one.
std::vector<std::string> addressesOfThisHost();
std::string nameOfThisHost();

} // namespace moert

#endif
