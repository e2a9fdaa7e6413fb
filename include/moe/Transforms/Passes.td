#ifndef MOE_TRANSFORMS_PASSES_TD
#define MOE_TRANSFORMS_PASSES_TD
include "mlir/Pass/PassBase.td"

def VerifyCollectivesPass : Pass<"moe-verify-collectives", "::mlir::ModuleOp"> {
  let summary = "prove that all ranks of a group issue the same collectives in the same order";
  let description = [{
    Phase: `sharded`, its exit check. Changes nothing.
  }];
}
#endif
