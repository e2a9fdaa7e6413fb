// Changes to a parsed module that text could say as well: attributes, types,
// operands, ops that come twice, elsewhere or not at all.
#ifndef MOE_TEST_FUZZ_MUTATE_H
#define MOE_TEST_FUZZ_MUTATE_H

#include "../fuzz.h"

#include "mlir/IR/BuiltinOps.h"

namespace fuzz {

/// One change, of a kind that is chosen; the module may be invalid afterwards.
void mutate(mlir::ModuleOp module, Choices &choices);

} // namespace fuzz

#endif
