// What processes of a job tell each other of themselves before they work
// together.
#ifndef MOERT_LAUNCH_PROCESSES_H
#define MOERT_LAUNCH_PROCESSES_H

#include "launch/rendezvous.h"

namespace moert {

// How many processes, this one included, have the same processors as this one.
// An exchange.
Result<int> countSharers(Rendezvous &meeting);

// Something that must be the same in all processes: a digest of it, and what a
// message calls it.
struct Sameness {
  std::string what;   // "program"
  std::string name;   // "'layer.moe'"
  std::string digest; // any text
};
// An exchange. All processes fail alike, and the message names the first that
// differs from rank 0.
Status checkSame(Rendezvous &meeting, const std::vector<Sameness> &items);

} // namespace moert

#endif
