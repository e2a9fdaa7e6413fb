// Time of one operation's work on a machine.
#ifndef MOE_ANALYSIS_MATMULCOST_H
#define MOE_ANALYSIS_MATMULCOST_H

#include "moe/Analysis/Machine.h"
#include "moe/Analysis/Work.h"

namespace moe {

/// us of a dense product of `rows` x `depth` x `columns` in `type`.
double denseUs(const Machine &machine, GemmType type, double rows,
               double columns, double depth);

/// us of moving bytes through memory, no launch counted.
double memoryUs(const Machine &machine, double bytes);

/// What products multiply whose weights have elements of so many bits.
GemmType gemmOfBits(int bits);

/// us of `work`, its launch included. `gemm` is what weights are multiplied in,
/// if not what they are stored in; `hidden` the width of a token's row.
double workUs(const Machine &machine, const Work &work,
              std::optional<GemmType> gemm, int64_t hidden);

} // namespace moe
#endif
