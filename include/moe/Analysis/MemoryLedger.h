// Bytes of one rank's memory, by what they hold.
#ifndef MOE_ANALYSIS_MEMORYLEDGER_H
#define MOE_ANALYSIS_MEMORYLEDGER_H

#include "mlir/IR/BuiltinOps.h"
#include "moe/Analysis/ModelTerms.h"
#include "moe/Analysis/TokenBounds.h"

namespace moe {

struct LedgerEntry {
  std::string name;
  double bytes;
};

struct MemoryLedger {
  std::vector<LedgerEntry> entries; // in a fixed order, none empty
  double total() const {
    double sum = 0;
    for (const LedgerEntry &entry : entries)
      sum += entry.bytes;
    return sum;
  }
};

/// Bytes that no choice of number formats avoids: in training, gradients in 2
/// bytes and an optimizer in 6; activations, an estimate, are left out.
double leastBytes(const LedgerEntry &entry);
double leastBytes(const MemoryLedger &ledger);

/// What the runtime allocates on each rank for a program: the arena, as a
/// function of the tokens, and weights as the target packs them.
struct HeldBytes {
  TokenBytes arena; // of the layer that needs most at many tokens
  int64_t shares = 1;
  std::optional<double> packed; // of all layers of the module
};

/// How many layers a function of a planned module stands for.
inline constexpr llvm::StringLiteral kCopies = "moe.copies";
int64_t copiesOf(mlir::func::FuncOp function);

/// The ledger of a rank with the `sharded` program of a layout. `layer` gives
/// the rows that arrive where buffers need not hold the worst.
MemoryLedger memoryLedger(mlir::ModuleOp program, const HeldBytes &held,
                          const LayerCost &layer, int64_t layers,
                          const ModelConfig *model, const StepShape &step,
                          const ExpertShape &experts);

} // namespace moe
#endif
