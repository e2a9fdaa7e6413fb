// Bytes of one rank's memory, by what they hold.
#ifndef MOE_ANALYSIS_MEMORYLEDGER_H
#define MOE_ANALYSIS_MEMORYLEDGER_H

#include "moe/Analysis/ModelTerms.h"

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
double leastBytes(const MemoryLedger &ledger);

/// What a rank's weights come to: the slices of the arguments of a `sharded`
/// function, which are the bytes that the runtime loads. `routedScale` turns
/// the program's element type into the experts' format.
struct WeightBytes {
  double routed = 0, other = 0;
};
WeightBytes weightBytes(mlir::func::FuncOp function);

/// Upper bound of the rows and sums that the program holds at one time, at the
/// worst-case receive: the largest sum of two consecutive buffers and what a
/// token keeps. `tokens` is the global maximum.
double bufferBytes(mlir::func::FuncOp function, double tokens);

/// `layer` gives the rows that arrive where buffers need not hold the worst.
MemoryLedger memoryLedger(mlir::func::FuncOp function, const LayerCost &layer,
                          int64_t layers, const ModelConfig *model,
                          const StepShape &step, const ExpertShape &experts);

} // namespace moe
#endif
