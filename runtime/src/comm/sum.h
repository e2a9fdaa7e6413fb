// The one routine that adds on CPUs.
#ifndef MOERT_COMM_SUM_H
#define MOERT_COMM_SUM_H

#include "moert/abi.h"

#include <cstdint>
#include <span>

namespace moert {

// target[i] = sources[0][i] + sources[1][i] + ..., in this order: floats in
// f32, rounded once at the end; integers wrap. `target` may be one of the
// sources.
void sumInOrder(moert_dtype dtype, std::span<const void *const> sources,
                void *target, int64_t count);

} // namespace moert

#endif
