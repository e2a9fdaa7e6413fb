// How the processes of a job find each other: rank 0 listens, the others knock.
// Ports may belong to other jobs or to other programs; who is who is said
// before anything else.
#ifndef MOERT_LAUNCH_HANDSHAKE_H
#define MOERT_LAUNCH_HANDSHAKE_H

#include "net/socket.h"

#include <vector>

namespace moert {

struct MeetingPoint {
  int rank = 0;
  int world = 1;
  std::vector<std::string> hosts; // of rank 0; each is tried
  std::vector<int> ports;         // rank 0 takes the first that is free
  std::string job;                // the same in all processes of a job only
};

// Another process and the connection to it.
struct Peer {
  int rank = 0;
  int pid = 0;
  std::string host;
  Socket socket;
};

// What rank 0 listens on.
Result<Socket> openMeetingPoint(const MeetingPoint &point);
// At rank 0: all others, by rank. Says who is missing when the time is over.
Result<std::vector<Peer>> meetOthers(const MeetingPoint &point,
                                     const Socket &listener, Deadline deadline);
// Elsewhere: rank 0.
Result<Peer> meetFirst(const MeetingPoint &point, Deadline deadline);

} // namespace moert

#endif
