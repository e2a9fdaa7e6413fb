// Messages over one connection, without blocking.
#ifndef MOERT_LAUNCH_LINE_H
#define MOERT_LAUNCH_LINE_H

#include "launch/handshake.h"

#include <cstdint>
#include <deque>

namespace moert {

struct Message {
  enum Kind : uint32_t { Heartbeat, Data, Fail, Ask, Answer, Bye };
  static constexpr uint32_t Kinds = 6;

  Kind kind = Heartbeat;
  int32_t from = 0;
  int32_t to = 0;
  uint64_t tag = 0; // number of the exchange or question; a status of Fail
  std::string label = {};   // what is exchanged
  std::string payload = {}; // the bytes, a failure's reason, an answer
};

class Line {
public:
  explicit Line(Peer peer) : who(std::move(peer)), lastHeard(now()) {}

  const Peer &peer() const { return who; }
  int fd() const { return who.socket.get(); }
  bool isOpen() const { return static_cast<bool>(who.socket); }
  void close() { who.socket.reset(); }
  // Nothing more will be sent.
  void finish();

  void queue(const Message &message);
  bool hasOutput() const { return !output.empty(); }
  // Both return false once the connection is of no use any more; what came
  // before is in `messages`.
  bool flush();
  bool receive(std::vector<Message> &messages);

  double silentSeconds() const;
  void forgive() { lastHeard = now(); }

  bool saidBye = false;

private:
  struct Header {
    uint32_t kind;
    int32_t from;
    int32_t to;
    uint32_t labelSize;
    uint64_t tag;
    uint64_t size;
  };
  static Deadline now() { return std::chrono::steady_clock::now(); }
  bool take(const char *bytes, size_t size, std::vector<Message> &messages);

  Peer who;
  Deadline lastHeard;
  std::deque<std::string> output;
  size_t sent = 0; // of the first
  Header header = {};
  size_t headerGot = 0;
  std::string body;
};

} // namespace moert

#endif
