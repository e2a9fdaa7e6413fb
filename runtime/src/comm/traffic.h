// What one rank sent in each collective of its program, whatever the
// communicator: the bytes that the call itself says.
#ifndef MOERT_COMM_TRAFFIC_H
#define MOERT_COMM_TRAFFIC_H

#include "comm/communicator.h"

#include <vector>

namespace moert {

// Sums over the runs of a session.
struct Sent {
  CollectiveKind kind = CollectiveKind::AllReduce;
  int64_t calls = 0;
  int64_t bytes = 0;             // to other ranks
  int64_t bytesBetweenNodes = 0; // of these, to ranks of other nodes
};

class Traffic {
public:
  // Ranks that agree on `nodeAxes` of the mesh are on one node; no axes: all of
  // them. `topology` outlives this.
  Traffic(const Topology &topology, int rank, std::vector<int> nodeAxes)
      : topology(topology), rank(rank), nodeAxes(std::move(nodeAxes)) {}

  // A run begins: the next call is the first of the program.
  void begin() { next = 0; }
  // A call that has succeeded; returns the bytes to other ranks.
  int64_t count(const Collective &call);
  // In the order of the program; every run makes the same calls.
  const std::vector<Sent> &sent() const { return calls; }

private:
  const Topology &topology;
  int rank;
  std::vector<int> nodeAxes;
  size_t next = 0;
  std::vector<Sent> calls;
};

} // namespace moert

#endif
