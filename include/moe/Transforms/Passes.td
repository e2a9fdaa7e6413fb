#ifndef MOE_TRANSFORMS_PASSES_TD
#define MOE_TRANSFORMS_PASSES_TD
include "mlir/Pass/PassBase.td"

def DumpCollectivesPass : Pass<"moe-dump-collectives", "::mlir::ModuleOp"> {
  let summary = "show the sequence of collectives of each function, and its digest";
  let description = [{
    Phases: `sharded`, `scheduled`. Changes nothing. One remark for each collective, in order, as it enters the digest that the manifest carries
    and ranks compare at start; one on the function with the digest. For two programs whose digests differ, a `diff` of the remarks says why.
  }];
}

def DumpPayloadPass : Pass<"moe-dump-payload", "::mlir::ModuleOp"> {
  let summary = "show what a program will send for a recorded routing";
  let description = [{
    Phase: `sharded`. Changes nothing. Writes to standard output, as JSON (give `-o` for the module), for each function the list of its collectives in order: what moves
    (`rows`, `ids`, `weights` or `counts`), and the bytes that leave each rank, as `moe-run --json` counts them in one run. The bytes are the
    interface of the collectives (`getSentBytes`), evaluated on the counts that the program computes from the routing.
  }];
  let options = [
    Option<"routing", "routing", "std::string", "", "safetensors file as `moe-run --record-routing` writes it, with `layers.N.expert_ids`">
  ];
}

def DumpVaryingAxesPass : Pass<"moe-dump-varying-axes", "::mlir::ModuleOp"> {
  let summary = "show over which mesh axes each value may differ between ranks";
  let description = [{
    Phase: `sharded`. Changes nothing. One remark for each value that may differ between ranks, as `moe-verify-collectives` sees it.
  }];
}

def VerifyCollectivesPass : Pass<"moe-verify-collectives", "::mlir::ModuleOp"> {
  let summary = "prove that all ranks of a group issue the same collectives in the same order";
  let description = [{
    Phase: `sharded`, its exit check. Changes nothing.

    Guarantees that no execution of the program waits for ever in a collective, under the assumptions in docs/Collectives.md. Refuses, for a
    collective over the axes G:

    - (a) a decision above it (branch, loop bound) that may differ over an axis of G;
    - (b) a dimension of what a fixed-size collective sends, or of the rows of a ragged one, that may differ over an axis of G;
    - (c) an `all_to_all_v` whose counts are not exchanges of each other over G;
    - (d) an `all_gather_v` or `reduce_scatter_v` whose counts are not the `all_gather` of local counts over G;
    - (e) a capacity that each rank computes from its own data: (b) with its own words;
    - (f) a place without one order on all ranks: parallel bodies, branches between blocks, operations whose control flow is unknown, grids of
      different sets of ranks, `send` and `recv`, and upstream `shard` collectives, which have no effects and may be moved;
    - (g) a token of `coll.start` that is not awaited exactly once, in the block where it was made;
    - (h) a function result that differs over axes which its `moe.split` does not name.
  }];
}

def PlaceExpertsPass : Pass<"moe-place-experts", "::mlir::ModuleOp"> {
  let summary = "pin the layout of every layer: which ranks hold which experts";
  let description = [{
    Phase: `input`; its result satisfies `moe-verify-placed`, which completes `placed`.

    Requires `moe.experts` or `moe.shared_expert`, none of them placed. Guarantees one grid `@ranks` with the axes edp, ep, etp (first slowest;
    size 1 included), and a `placement` on every layer. Experts lie in slots, S = ceil(E / ep) per rank, slot s holding expert s; the slots
    that are left over hold none (-1), so ep need not divide E. The words, with their defaults filled in, are recorded in `moe.options`.
    Without `place`, a module whose layers are placed by hand stays as it is.

    Refuses words that contradict each other, and layouts that a layer cannot have, with the nearest legal choice: an etp that does not divide the
    experts' width or cuts a quantisation block, more ep than experts, a split shared expert whose width the ranks do not divide.

    ```mlir
    %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) : ...
    // with place="ranks=8 ep=4 etp=2" becomes
    shard.grid @ranks(shape = 1x4x2) {coll.axes = ["edp", "ep", "etp"]}
    %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0],
        slots = [0, 1, 2, 3, 4, 5, 6, 7]>) : ...
    ```
    Remarks: the pinned layout, once for layers that are alike; that memory is not checked, which a plan does (`machine`).
  }];
  let options = [
    Option<"place", "place", "std::string", /*default=*/"",
           "key=value words: ranks (required), ep, etp, edp, nodes, dispatcher (all_to_all, all_gather or two_level), "
           "dedup (false or true), boundary (split or replicated), shared (replicated or split), attn_tp, attn_dp, cp (attention's mesh over "
           "the same ranks), tokens (global, per step), phase (prefill, decode or train)">,
    Option<"planned", "planned", "bool", /*default=*/"false", "the words come from a plan, which has said what it chose and why">
  ];
  let dependentDialects = ["::moe::MoeDialect", "::mlir::shard::ShardDialect"];
}

def DumpExplanationPass : Pass<"moe-dump-explanation", "::mlir::ModuleOp"> {
  let summary = "answer one of four questions about a layer and a machine, with numbers";
  let description = [{
    Phase: `input`. Changes nothing. Prints, for the first layer of experts, to standard output: `load-jitter` (how much the busiest rank exceeds
    the mean), `padding` (what a capacity and tiles of rows cost), `decode` (weight reads per rank against latency), `token-sort` (one-hot einsums
    against sorted rows). Each states its method. docs/Placement.md shows them.
  }];
  let options = [
    Option<"question", "question", "std::string", /*default=*/"", "load-jitter, padding, decode or token-sort">,
    Option<"place", "place", "std::string", /*default=*/"", "words that name the machine, and ranks, tokens, routing, gemm where they matter">
  ];
}

def VerifyPlacedPass : Pass<"moe-verify-placed", "::mlir::ModuleOp"> {
  let summary = "check that every layer has one legal placement, and complete phase `placed`";
  let description = [{
    Phase: exit check of `placed`; sets `moe.phase`. Refuses a function without a layer, a layer without placement, axes that are not the grid's,
    degrees that do not suit the layer (as `moe-place-experts`), layers of one function that differ in grid or boundary, and a second grid.
  }];
}

def ShardLayerPass : Pass<"moe-shard-layer", "::mlir::ModuleOp"> {
  let summary = "from the single-device program to one rank's program with its collectives";
  let description = [{
    Phase: from `placed` to `sharded`; `moe-verify-sharded` and `moe-verify-collectives` complete it.

    Requires legal placements and functions of one block. Guarantees that no `moe.experts` and no `moe.shared_expert` remain; that a tensor with one
    row per token holds this rank's rows (share r of n on rank r); that weights have their local shapes, with `moe.slice` to say of what; that arguments
    and results with rows carry `moe.split`. `moe.route` stays, on the rank's own tokens. Collectives over groups of one rank are not made.

    | dispatcher | out | back |
    |---|---|---|
    | `all_to_all` | rows to the ranks of their slots over ep; then to all partners over etp | partial sums added over etp; rows to their tokens' ranks over ep |
    | `all_to_all`, `dedup` | each token once to each rank with some of its experts, with its ids and weights | the sum of its experts there |
    | `two_level` | each token once to each node with some of its experts; from there as `all_to_all`, with or without `dedup`, within the node | the same ways back, summed at each stop |
    | `all_gather` | all tokens of the replica (ep x etp) to all its ranks; from those alone that do not hold the same anyway | partial sums of tokens added over ep x etp |
    | any, ep = etp = 1 | nothing moves | |

    A shared expert is computed for the rank's own tokens, or with `shared = split` for all tokens with a part of the width, partial sums added. Its sum with the
    routed experts (`arith.addf`) becomes an addend of `moe.combine`. With a replicated boundary each rank works on its share of what it and its
    neighbours (`attn_tp`; all ranks without) hold, and results are gathered; where `all_gather` would gather the shares at once, they are not taken. docs/Dispatch.md draws each dispatcher.

    ```
    rank (ep 0, etp 0)        rank (ep 1, etp 0)            all_to_all, ep = 2, two slots per rank
    tokens: a b               tokens: c
    rows:   a0 b1 | a3        rows:   c0 | c2 c3            sorted by slot; | between destinations
    gets:   a0 b1 c0          gets:   a3 c2 c3              by source; regrouped by slot for the products
    ```
    Refuses operations that mix rows of tokens, weights that are computed, and weights that two layers need in different slices.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect", "::moe::coll::CollDialect", "::moe::MoeDialect"];
}

def VerifyShardedPass : Pass<"moe-verify-sharded", "::mlir::ModuleOp"> {
  let summary = "check that only one rank's program is left, and complete phase `sharded`";
  let description = [{
    Phase: exit check of `sharded`, beside `moe-verify-collectives`; sets `moe.phase`. Refuses layers that are not expanded, upstream `shard`
    operations, inputs and results without `moe.split`, weights without `moe.slice` or with another shape than their slice's.
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

def ExpandCopiesPass : Pass<"moe-expand-copies", "::mlir::ModuleOp"> {
  let summary = "turn copies between buffers into loops that a team of threads shares";
  let description = [{
    Phase: `scheduled`, on memrefs; a step of the way to `lowered` on a CPU. Afterwards no `memref.copy` remains, which would become
    a call of `memcpy`.

    The outermost dimension is cut into one consecutive part per thread, the innermost is moved by vectors where its elements are
    consecutive; `moert.team_barrier` follows.

    ```mlir
    memref.copy %a, %b : memref<?x4xf32> to memref<?x4xf32>
    ```
    becomes
    ```mlir
    %thread = moert.thread : index
    %threads = moert.threads : index
    ...
    scf.for %i = %begin to %end step %c1 {
      scf.for %j = %c0 to %c4 step %c1 {
        %v = memref.load %a[%i, %j] : memref<?x4xf32>
        memref.store %v, %b[%i, %j] : memref<?x4xf32>
      }
    }
    moert.team_barrier
    ```
    Requires that all threads of a team reach each copy. Refuses copies between buffers without a rank.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::moe::moert::MoertDialect"];
}

def VerifyScheduledPass : Pass<"moe-verify-scheduled", "::mlir::ModuleOp"> {
  let summary = "exit check of the phase `scheduled`";
  let description = [{
    Changes nothing. Refuses what is left of the levels above: values of tensor type, layer ops, buffers outside the arena, functions
    without `moert.interface`.
  }];
}

def InsertMarksPass : Pass<"moe-insert-marks", "::mlir::ModuleOp"> {
  let summary = "tell the runtime which op a thread works on";
  let description = [{
    Phase: on the way from `scheduled` to `lowered` on a CPU. A `moert.mark` with a number stands before every op of a run that computes, one without
    before every collective behind them; `moert.steps` of the interface names the numbers. The runtime asks for the time at marks where it is told to
    trace, and does nothing else. Programs for a device need none: their launches are seen.

    ```mlir
    moe.router_logits %x, %gate outs(%logits) : (memref<?x64xf32>, memref<8x64xf32>, memref<?x8xf32>) -> ()
    coll.all_to_all %send on @ranks axes [1] outs(%recv) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
    // becomes
    moert.mark 0
    moe.router_logits %x, %gate outs(%logits) : (memref<?x64xf32>, memref<8x64xf32>, memref<?x8xf32>) -> ()
    moert.mark
    coll.all_to_all %send on @ranks axes [1] outs(%recv) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
    ```
  }];
  let dependentDialects = ["::moe::moert::MoertDialect"];
}

def InsertTeamGuardsPass : Pass<"moe-insert-team-guards", "::mlir::ModuleOp"> {
  let summary = "let one thread of the team do the dense leftovers";
  let description = [{
    Phase: on the way from `scheduled` to `lowered`. Every linalg op becomes loops that thread 0 runs, with a team barrier behind
    them. Our own ops share their work out by themselves.

    ```mlir
    linalg.add ins(%a, %b : memref<?x64xf32>, memref<?x64xf32>) outs(%y : memref<?x64xf32>)
    // becomes
    scf.if %first { scf.for ... }
    moert.team_barrier
    ```
    Refuses linalg ops on tensors.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect", "::moe::moert::MoertDialect"];
}

def CountOnHostPass : Pass<"moe-count-on-host", "::mlir::ModuleOp"> {
  let summary = "let the host count what it knows";
  let description = [{
    Phase: on the way from `scheduled` to `lowered` on a device; before ops become kernels. What is left is read from the device (`moe-insert-count-reads`), which
    keeps a stream from being captured.

    - A gather of each member's number of tokens becomes arithmetic on the host: shares of a split follow from all tokens.
    - Rows that a sort keeps, where no collective moves them, get their bound instead of their number: tokens times choices, or times slots here where these are fewer. Kernels go by the
      offsets on the device; a product's tile is chosen by the part of the bound that is expected, `moe.part` = [slots here or choices, whichever is more, slots of all ranks].

    ```mlir
    memref.store %tokens, %word[%c0] : memref<1xi32>
    coll.all_gather %word on @ranks axes [0] outs(%counts) : (memref<1xi32>, memref<4x1xi32>) -> ()
    ```
    becomes, for each member, a store into memory of the host
    ```mlir
    %all = moert.total_tokens : index
    %least = arith.divui %all, %c4 : index
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::moe::coll::CollDialect", "::moe::moert::MoertDialect"];
}

def InsertCountReadsPass : Pass<"moe-insert-count-reads", "::mlir::ModuleOp"> {
  let summary = "bring counts of rows to the host where it needs them";
  let description = [{
    Phase: on the way from `scheduled` to `lowered` on a device, where buffers are the device's. The counts of `coll.rows` and of the `_v` collectives are read by the
    host: behind the collective that makes them they are copied into memory of the host, once, by `moert.read`, and used from there.

    ```mlir
    coll.all_to_all %send on @ranks axes [1] outs(%recv) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
    %n = coll.rows %recv bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<4x2xi32>
    ```
    becomes
    ```mlir
    %host = memref.alloca() : memref<4x2xi32>
    coll.all_to_all %send on @ranks axes [1] outs(%recv) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
    moert.read %recv, %host : memref<4x2xi32>, memref<4x2xi32>
    %n = coll.rows %host bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<4x2xi32>
    ```
    Refuses counts that no op of the function writes.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::moe::moert::MoertDialect"];
}

def VerifyLoweredPass : Pass<"moe-verify-lowered", "::mlir::ModuleOp"> {
  let summary = "exit check of the phase `lowered`";
  let description = [{
    Changes nothing. At the top of the module stand only functions and globals of the llvm dialect, the grid, `moert.interface` and device code (`gpu.binary`); every function
    is defined, because a program calls nothing but entry points.
  }];
}
#endif
