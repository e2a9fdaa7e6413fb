#ifndef MOE_TRANSFORMS_PASSES_TD
#define MOE_TRANSFORMS_PASSES_TD
include "mlir/Pass/PassBase.td"

def VerifyCollectivesPass : Pass<"moe-verify-collectives", "::mlir::ModuleOp"> {
  let summary = "prove that all ranks of a group issue the same collectives in the same order";
  let description = [{
    Phase: `sharded`, its exit check. Changes nothing.
  }];
}

def ExpandRoutePass : Pass<"moe-expand-route", "::mlir::func::FuncOp"> {
  let summary = "split `moe.route` into its product and its selection";
  let description = [{
    Phase: first step of `scheduled`. Requires nothing; guarantees that no `moe.route` remains.

    ```mlir
    %w, %ids = moe.route %x, %gate router(<top_k = 2>) : ...
    // becomes
    %l = moe.router_logits %x, %gate : ...
    %w, %ids = moe.select_experts %l router(<top_k = 2>) : ...
    ```
  }];
  let dependentDialects = ["::moe::MoeDialect"];
}

def BufferizeLayerPass : Pass<"moe-bufferize-layer", "::mlir::ModuleOp"> {
  let summary = "from tensors to memrefs; results become arguments";
  let description = [{
    Phase: second step of `scheduled`. Runs one-shot bufferization over the functions and their boundaries. Afterwards each layer's function has, in
    this order, its inputs, weights and outputs as memrefs, and returns nothing; what a caller must know about them moves from
    argument and result attributes to `moert.interface`, which the pass creates.

    Refuses functions that are called by others, and values that are neither ours nor bufferizable.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect", "::moe::moert::MoertDialect"];
}

def PlanArenaPass : Pass<"moe-plan-arena", "::mlir::ModuleOp"> {
  let summary = "place every buffer of a layer in one arena";
  let description = [{
    Phase: third step of `scheduled`. Each `memref.alloc` of a layer's function becomes a `memref.view` into one argument. Buffers whose lives do not overlap share memory. Offsets and the total are
    linear in M, the maximum of tokens over all ranks, and in ceil(M / ranks); both are written into `moert.interface`.

    A dynamic size must be bounded: by a token count of an argument, by the bound of `coll.rows`, or by arithmetic on those.
    Remark `moe-plan-arena`: bytes of the arena, and what it would be without sharing.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::memref::MemRefDialect"];
}

#endif
