// Inputs and weights for timing: random, seeded, of the sizes that real layers
// have.
#ifndef MOE_RUN_BENCH_INPUTS_H
#define MOE_RUN_BENCH_INPUTS_H

#include "session.h"
#include "tensors.h"

namespace moert {

// How often experts are chosen: all alike, or the expert of rank r (in a random
// order) 1 / r times as often as the first. A token's experts are distinct.
enum class Routing { Balanced, Zipf };
const char *routingName(Routing routing);

// x is normal, ids follow the routing, weights are a softmax.
Result<std::vector<OwnedTensor>> makeInputs(const Function &function,
                                            int64_t tokens, Routing routing,
                                            uint64_t seed);

// Weights for all ranks here, where the function has any: normal, of variance 1
// / the last dimension.
Status makeRandomWeights(Session &session, uint64_t seed);

} // namespace moert

#endif
