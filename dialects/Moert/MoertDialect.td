#ifndef MOERT_DIALECT_TD
#define MOERT_DIALECT_TD
include "mlir/IR/OpBase.td"

def Moert_Dialect : Dialect {
  let name = "moert";
  let cppNamespace = "::moe::moert";
  let summary = "what a compiled program asks of the runtime: one op per entry point";
  let description = [{
    A program runs once on every thread of a rank's team. `moert.thread` and `moert.threads` say which part of an op's work is this
    thread's, `moert.team_barrier` stands behind every op that wrote a buffer, and the other ops are the entry points of
    `moert/entry_points.def`, with the same names and operands. A call that fails ends the function at once with its status; the
    runtime then lets nobody wait for this thread.

    From phase `scheduled` on, `moert.interface` holds what a caller must know of a function.

    Discardable attributes of this dialect:

    | attribute | on | meaning | written by | read by |
    |---|---|---|---|---|
    | `moert.groups` | module | axes of each communication group, by number: array of array<i64> | convert-coll-to-moert | the artifact writer |
    | `moert.collectives` | `moert.interface` | digest of the function's sequence of collectives: 32 hexadecimal digits | the pipelines | the artifact writer |
    | `moert.calls` | `moert.interface` | the function's collectives in order of execution, where there is one order: `collective`, `payload`, `axes` | the pipelines | the artifact writer |
    | `moert.steps` | `moert.interface` | what `moert.mark` numbers: array of strings | moe-insert-marks | the artifact writer |
    | `moert.kernels` | module | what `moert.launch` numbers: array of #moert.kernel | convert-moe-to-kernels | convert-moert-to-llvm, the artifact writer |
    | `moert.sums` | module | kernel that adds what ranks bring, by element type: dictionary of i32 | convert-moe-to-kernels | the artifact writer |
    | `moert.tensor_maps` | `moert.interface` | number of slots: i64 | convert-moe-to-kernels | the artifact writer |
    | `moert.variants` | `moert.interface` | what `moert.variant` numbers: array of dictionaries, of a product (`k`, `n`, `paired`, `fp8`, `experts`, `rows_per_token`, `tiles` as a kernel table says them) or of a layer (`experts`, `top_k`, `hidden`, `inner`, `few`: most tokens of one kernel, 0 for separate ones) | convert-moe-to-kernels | the artifact writer |
    | `moert.arena` | argument | unit: memref<?xi8>, the rank's scratch memory | the arena's planner | moe-lower-interface |
    | `moert.tokens` | argument | unit: index, this rank's tokens in this call | the arena's planner | moe-lower-interface |
    | `moert.max_tokens` | argument | unit: index, the session's maximum of tokens over all ranks | the arena's planner | convert-coll-to-moert, moe-lower-interface |
  }];
  let dependentDialects = ["::moe::MoeDialect"];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let extraClassDeclaration = [{ void registerAttributes(); }];
}
#endif
