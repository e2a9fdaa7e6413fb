// Collectives that go on while other work is done: phase `scheduled` only.
#ifndef COLL_ASYNC_OPS_TD
#define COLL_ASYNC_OPS_TD
include "dialects/Coll/CollOps.td"
include "dialects/Coll/CollTypes.td"

def Coll_StartOp : Op<Coll_Dialect, "start", [SingleBlock, NoRegionArguments, RecursiveMemoryEffects, NoTerminator]> {
  let summary = "start a collective and go on";
  let description = [{
    The one collective in the body is issued here and completes at the `coll.wait` of the token. One form serves all collectives, which keep their
    own operands, verifiers and effects.

    Until then the buffers that it reads must not be written, and the buffer that it writes must be neither read nor written. Collectives run in
    the order in which they are started, whatever their groups: each rank has one communication stream.

    Made by scheduling, from the buffer form; a target that has no streams runs the collective where it is started.

    ```mlir
    %t = coll.start {
      coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<4xf32>, memref<4xf32>) -> ()
    }
    coll.wait %t
    ```
    **Constraints**: (C1) the body is one collective in buffer form
  }];
  let regions = (region SizedRegion<1>:$body);
  let results = (outs Coll_TokenType:$token);
  let assemblyFormat = "$body attr-dict";
  let hasVerifier = 1;
}

def Coll_WaitOp : Op<Coll_Dialect, "wait", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "wait until a started collective has completed";
  let description = [{
    Afterwards the buffers of the collective may be used again. As the token does not say which they are, the operation counts as reading and writing
    all memory: no access moves over it. That each token is awaited exactly once, in the block where it was made, is what `moe-verify-collectives` proves.

    ```mlir
    coll.wait %t
    ```
  }];
  let arguments = (ins Coll_TokenType:$token);
  let assemblyFormat = "$token attr-dict";
}
#endif
