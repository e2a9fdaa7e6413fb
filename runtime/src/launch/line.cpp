#include "launch/line.h"

#include <algorithm>
#include <cstring>
#include <sys/socket.h>

using namespace moert;

static constexpr uint64_t MaxPayload = uint64_t(1) << 40;
static constexpr uint32_t MaxLabel = 4096;

double Line::silentSeconds() const {
  return std::chrono::duration<double>(now() - lastHeard).count();
}

void Line::queue(const Message &message) {
  if (!isOpen())
    return;
  Header head = {message.kind, message.from,
                 message.to,   static_cast<uint32_t>(message.label.size()),
                 message.tag,  message.payload.size()};
  std::string bytes(reinterpret_cast<const char *>(&head), sizeof(head));
  bytes += message.label;
  bytes += message.payload;
  output.push_back(std::move(bytes));
}

void Line::finish() {
  if (isOpen())
    ::shutdown(fd(), SHUT_WR);
}

bool Line::flush() {
  while (isOpen() && !output.empty()) {
    const std::string &first = output.front();
    ssize_t count = ::send(fd(), first.data() + sent, first.size() - sent,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0)
      return wouldBlock();
    sent += static_cast<size_t>(count);
    if (sent == first.size()) {
      output.pop_front();
      sent = 0;
    }
  }
  return isOpen();
}

// False if the bytes are no messages.
bool Line::take(const char *bytes, size_t size,
                std::vector<Message> &messages) {
  while (size > 0) {
    if (headerGot < sizeof(Header)) {
      size_t count = std::min(size, sizeof(Header) - headerGot);
      std::memcpy(reinterpret_cast<char *>(&header) + headerGot, bytes, count);
      headerGot += count;
      bytes += count;
      size -= count;
      if (headerGot < sizeof(Header))
        return true;
      if (header.kind >= Message::Kinds || header.labelSize > MaxLabel ||
          header.size > MaxPayload)
        return false;
    }
    uint64_t whole = header.labelSize + header.size;
    size_t count =
        static_cast<size_t>(std::min<uint64_t>(size, whole - body.size()));
    body.append(bytes, count);
    bytes += count;
    size -= count;
    if (body.size() < whole)
      continue;
    Message message;
    message.kind = static_cast<Message::Kind>(header.kind);
    message.from = header.from;
    message.to = header.to;
    message.tag = header.tag;
    message.label = body.substr(0, header.labelSize);
    message.payload = body.substr(header.labelSize);
    messages.push_back(std::move(message));
    body.clear();
    headerGot = 0;
  }
  return true;
}

bool Line::receive(std::vector<Message> &messages) {
  static constexpr size_t chunk = 1 << 16;
  char buffer[chunk];
  // Some at a time: other lines have a turn as well.
  for (int turn = 0; turn < 16 && isOpen(); ++turn) {
    ssize_t count = ::recv(fd(), buffer, chunk, MSG_DONTWAIT);
    if (count == 0)
      return false;
    if (count < 0)
      return wouldBlock();
    lastHeard = now();
    if (!take(buffer, static_cast<size_t>(count), messages))
      return false;
  }
  return isOpen();
}
