// What a sharded program will send, collective by collective, for a given
// routing: the op interface (coll::Collective::getSentBytes) evaluated on the
// counts that the program computes from the routing.
#ifndef MOE_ANALYSIS_PAYLOADPREDICTION_H
#define MOE_ANALYSIS_PAYLOADPREDICTION_H

#include "dialects/Coll/CollDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moe {

/// Experts of every token: [tokens, topK].
struct RecordedRouting {
  int64_t tokens = 0, topK = 0;
  std::vector<int32_t> ids;
};

/// Reads `layers.N.expert_ids` of a safetensors file, as `moe-run
/// --record-routing` writes it. `error` says what is wrong.
mlir::FailureOr<RecordedRouting> readRouting(llvm::StringRef file,
                                             int64_t layer, std::string &error);

/// One collective of the program.
struct PredictedCall {
  coll::Collective op;
  std::vector<int64_t> sent;         // bytes that leave each rank
  std::vector<int64_t> betweenNodes; // of these, for ranks of other nodes
};

/// Runs the integer part of `function`, straight-line code of phase `sharded`,
/// on all ranks of its grid at once: ids, counts and numbers of rows; of floats
/// only which token a row belongs to. Reported as errors: ids outside of the
/// experts, another top_k, control flow, operations without a rule here.
mlir::FailureOr<std::vector<PredictedCall>>
predictPayload(mlir::func::FuncOp function, const RecordedRouting &routing);

} // namespace moe
#endif
