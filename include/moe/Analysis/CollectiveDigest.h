// A fingerprint of the collectives that a program issues. Ranks compare it when
// they meet: programs that communicate differently must not start.
#ifndef MOE_ANALYSIS_COLLECTIVEDIGEST_H
#define MOE_ANALYSIS_COLLECTIVEDIGEST_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"
#include <string>

namespace moe {

/// The collectives of `function`, in order, one a line: kind, the sizes of the
/// grid's axes and the group's axes (those of one member left out), element
/// type and static shape of what moves (`?` where dynamic), and its depth in
/// loops and branches. Equal for both forms of an op.
std::string describeCollectives(mlir::Operation *function);

/// XXH3-128 of that text as 32 hexadecimal digits.
std::string collectiveDigest(mlir::Operation *function);

/// Writes down at `interface` the digest of the function's collectives, which
/// the runtime compares over the ranks, and their list, by which it says what
/// moved.
void recordCollectives(mlir::Operation *interface, mlir::Operation *function);

} // namespace moe
#endif
