// A rank's team of threads, its place in the grid, and how a program ends itself.
#ifndef MOERT_TEAM_OPS_TD
#define MOERT_TEAM_OPS_TD
include "dialects/Moert/MoertAttrs.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Moert_Op<string mnemonic, list<Trait> traits = []> : Op<Moert_Dialect, mnemonic, traits>;
// Entry points are opaque: no access to memory moves across one.
class Moert_EntryOp<string mnemonic, list<Trait> traits = []> :
    Moert_Op<mnemonic, traits # [MemoryEffects<[MemRead, MemWrite]>]>;

def Moert_ThreadOp : Moert_Op<"thread", [Pure]> {
  let summary = "this thread's number in its rank's team";
  let description = [{
    0 <= result < `moert.threads`. Created by conversions to moert and to vector; removed by `convert-moert-to-llvm`.

    ```mlir
    %me = moert.thread : index
    ```
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Moert_ThreadsOp : Moert_Op<"threads", [Pure]> {
  let summary = "size of the rank's team of threads";
  let description = [{
    At least 1. No bit of a result may depend on it.

    ```mlir
    %n = moert.threads : index
    ```
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Moert_CoordinateOp : Moert_Op<"coordinate", [Pure]> {
  let summary = "this rank's coordinate on an axis of the grid";
  let description = [{
    ```mlir
    %ep = moert.coordinate 1 : index
    ```
    **Constraints**: (C1) `axis` is not negative
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative]>:$axis);
  let results = (outs Index:$result);
  let assemblyFormat = "$axis attr-dict `:` type($result)";
}

def Moert_TotalTokensOp : Moert_Op<"total_tokens", [Pure]> {
  let summary = "tokens of this call over all ranks";
  let description = [{
    ```mlir
    %all = moert.total_tokens : index
    ```
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Moert_TeamBarrierOp : Moert_EntryOp<"team_barrier"> {
  let summary = "all threads of the rank meet";
  let description = [{
    What any of them wrote before is seen by all behind it. Ends the function where the rank has failed.

    ```mlir
    moert.team_barrier
    ```
    **Constraints**: (C1) all threads of the rank reach the same barriers in the same order; this is the producer's duty
  }];
  let assemblyFormat = "attr-dict";
}

def Moert_MarkOp : Moert_EntryOp<"mark"> {
  let summary = "this thread begins a step of the function";
  let description = [{
    Says what the thread does from here on, up to its next mark: step `step` of the interface's `moert.steps`, or without a number nothing that has a
    name. It is for traces alone. Created by `moe-insert-marks`; removed by `convert-moert-to-llvm`.

    ```mlir
    moert.mark 3
    moert.mark
    ```
    **Constraints**: (C1) `step` is not negative
  }];
  let arguments = (ins OptionalAttr<ConfinedAttr<I64Attr, [IntNonNegative]>>:$step);
  let assemblyFormat = "($step^)? attr-dict";
}

def Moert_FailOp : Moert_EntryOp<"fail"> {
  let summary = "the program ends itself";
  let description = [{
    | `reason` | `found` | `limit` |
    |---|---|---|
    | `expert_id` | an id outside [0, experts) | experts |
    | `duplicate_id` | an expert that a token names twice | the token |
    | `rows` | rows that are announced | rows that fit |

    ```mlir
    moert.fail rows(%found, %limit)
    ```
  }];
  let arguments = (ins Moert_FailureAttr:$reason, Index:$found, Index:$limit);
  let assemblyFormat = "$reason `(` $found `,` $limit `)` attr-dict";
}
#endif
