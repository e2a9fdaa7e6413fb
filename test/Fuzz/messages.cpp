// What arrives over the connections of a job's processes.
#include "fuzz.h"

#include "launch/line.h"

#include <sys/socket.h>

using namespace moert;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int ends[2];
  fuzz::require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) ==
                    0,
                "sockets can be made");
  Socket sender(ends[0]);
  Line line({.rank = 1, .pid = 1, .host = "host", .socket = Socket(ends[1])});
  std::vector<Message> messages;
  while (size > 0) {
    ssize_t sent = ::send(sender.get(), data, size, MSG_NOSIGNAL);
    if (sent <= 0)
      break;
    data += sent;
    size -= static_cast<size_t>(sent);
    if (!line.receive(messages))
      return 0;
  }
  sender.reset();
  while (line.receive(messages)) {
  }
  for (const Message &message : messages)
    fuzz::require(message.kind < Message::Kinds, "a message has a kind");
  return 0;
}
