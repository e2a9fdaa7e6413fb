#include "net/socket.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace moert;

Deadline moert::after(double seconds) {
  using Clock = std::chrono::steady_clock;
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(
             std::chrono::duration<double>(std::min(seconds, 1e8)));
}

static int millisecondsUntil(Deadline deadline) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
}

void Socket::reset() {
  if (fd >= 0)
    ::close(fd);
  fd = -1;
}

template <typename... Args> static Status failed(const Args &...args) {
  int error = errno;
  return Status::error(MOERT_ERROR_IO, args..., ": ", std::strerror(error));
}

static void setOption(int fd, int level, int option, int value) {
  // Refusals do not matter: these options make things better, not right.
  (void)::setsockopt(fd, level, option, &value, sizeof(value));
}

Result<Socket> moert::listenOn(int port, bool onlyThisHost) {
  // One socket for both protocols where the host has IPv6.
  Socket socket(
      ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket && !onlyThisHost) {
    setOption(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    setOption(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_any;
    address.sin6_port = htons(static_cast<uint16_t>(port));
    if (::bind(socket.get(), reinterpret_cast<sockaddr *>(&address),
               sizeof(address)) == 0 &&
        ::listen(socket.get(), SOMAXCONN) == 0)
      return socket;
    if (errno == EADDRINUSE)
      return failed("cannot listen on port ", port);
  }
  socket =
      Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket)
    return failed("cannot make a socket");
  setOption(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(onlyThisHost ? INADDR_LOOPBACK : INADDR_ANY);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::bind(socket.get(), reinterpret_cast<sockaddr *>(&address),
             sizeof(address)) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0)
    return failed("cannot listen on port ", port);
  return socket;
}

int moert::portOf(const Socket &listener) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr *>(&address),
                    &size) != 0)
    return 0;
  // The port stands at the same place in both forms.
  sockaddr_in in;
  std::memcpy(&in, &address, sizeof(in));
  return ntohs(in.sin_port);
}

Socket moert::acceptFrom(const Socket &listener) {
  Socket socket(::accept4(listener.get(), nullptr, nullptr,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket)
    setOption(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return socket;
}

bool moert::waitFor(const Socket &socket, short events, Deadline deadline) {
  while (true) {
    pollfd entry = {socket.get(), events, 0};
    int ready = ::poll(&entry, 1, millisecondsUntil(deadline));
    if (ready > 0)
      return true;
    if (ready == 0 || errno != EINTR)
      return false;
  }
}

static Result<Socket> connectTo(const addrinfo &info, Deadline deadline) {
  Socket socket(
      ::socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket)
    return failed("cannot make a socket");
  int error = 0;
  if (::connect(socket.get(), info.ai_addr, info.ai_addrlen) != 0) {
    if (errno != EINPROGRESS)
      return failed("cannot connect");
    if (!waitFor(socket, POLLOUT, deadline)) {
      errno = ETIMEDOUT;
      return failed("cannot connect");
    }
    socklen_t size = sizeof(error);
    (void)::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error) {
    errno = error;
    return failed("cannot connect");
  }
  setOption(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return socket;
}

Result<Socket> moert::connectTo(const std::string &host, int port,
                                Deadline deadline) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo *found = nullptr;
  int code =
      ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0)
    return Status::error(MOERT_ERROR_IO, "cannot find host '", printable(host),
                         "': ", ::gai_strerror(code));
  Result<Socket> result = Status::error(MOERT_ERROR_IO, "host '",
                                        printable(host), "' has no address");
  for (addrinfo *info = found; info; info = info->ai_next) {
    result = ::connectTo(*info, deadline);
    if (result.ok())
      break;
  }
  ::freeaddrinfo(found);
  if (!result.ok())
    return result.status().in(concat(printable(host), " port ", port));
  return result;
}

bool moert::wouldBlock() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

Status moert::sendAll(const Socket &socket, const void *data, size_t size,
                      Deadline deadline) {
  const char *from = static_cast<const char *>(data);
  while (size > 0) {
    ssize_t sent = ::send(socket.get(), from, size, MSG_NOSIGNAL);
    if (sent >= 0) {
      from += sent;
      size -= static_cast<size_t>(sent);
    } else if (!wouldBlock()) {
      return failed("cannot send");
    } else if (!waitFor(socket, POLLOUT, deadline)) {
      return Status::error(MOERT_ERROR_TIMEOUT, "cannot send in time");
    }
  }
  return {};
}

Status moert::receiveAll(const Socket &socket, void *data, size_t size,
                         Deadline deadline) {
  char *to = static_cast<char *>(data);
  while (size > 0) {
    ssize_t got = ::recv(socket.get(), to, size, 0);
    if (got > 0) {
      to += got;
      size -= static_cast<size_t>(got);
    } else if (got == 0) {
      return Status::error(MOERT_ERROR_IO, "the connection was closed");
    } else if (!wouldBlock()) {
      return failed("cannot receive");
    } else if (!waitFor(socket, POLLIN, deadline)) {
      return Status::error(MOERT_ERROR_TIMEOUT, "nothing came in time");
    }
  }
  return {};
}

std::vector<std::string> moert::addressesOfThisHost() {
  std::vector<std::string> result;
  ifaddrs *all = nullptr;
  if (::getifaddrs(&all) != 0)
    return result;
  for (ifaddrs *item = all; item; item = item->ifa_next) {
    if (!item->ifa_addr || (item->ifa_flags & IFF_LOOPBACK) ||
        !(item->ifa_flags & IFF_UP))
      continue;
    int family = item->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6)
      continue;
    char text[NI_MAXHOST];
    socklen_t size =
        family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    // Link-local addresses name this host's interface: no use elsewhere.
    if (::getnameinfo(item->ifa_addr, size, text, sizeof(text), nullptr, 0,
                      NI_NUMERICHOST) == 0 &&
        !std::strchr(text, '%'))
      result.push_back(text);
  }
  ::freeifaddrs(all);
  return result;
}

std::string moert::nameOfThisHost() {
  char name[HOST_NAME_MAX + 1] = {};
  if (::gethostname(name, sizeof(name) - 1) != 0)
    return "unknown host";
  return name;
}
