// Changes to a parsed module that text could say as well: attributes, types,
// operands, ops that come twice, elsewhere or not at all.
#ifndef MOE_TEST_FUZZ_MUTATE_H
#define MOE_TEST_FUZZ_MUTATE_H

#include "mlir/IR/BuiltinOps.h"

namespace fuzz {

/// Decisions, taken from the fuzzer's bytes; 0 when they are used up.
class Choices {
public:
  Choices(const uint8_t *data, size_t size) : data(data), left(size) {}
  bool done() const { return left == 0; }
  uint64_t below(uint64_t bound);

private:
  uint8_t byte() { return left ? --left, *data++ : 0; }
  const uint8_t *data;
  size_t left;
};

/// One change, of a kind that is chosen; the module may be invalid afterwards.
void mutate(mlir::ModuleOp module, Choices &choices);

} // namespace fuzz

#endif
