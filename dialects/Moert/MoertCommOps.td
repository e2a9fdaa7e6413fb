// Collectives on buffers, called by one thread of each rank. `group` is a number in the module's `moert.groups`.
#ifndef MOERT_COMM_OPS_TD
#define MOERT_COMM_OPS_TD
include "dialects/Moert/MoertTeamOps.td"

def Moert_Counts : MemRefOf<[I32]>;

class Moert_GroupOp<string mnemonic> : Moert_EntryOp<mnemonic> {
  let hasVerifier = 1;
}

// One block of equal size per member, or one in all.
class Moert_FixedOp<string mnemonic> : Moert_GroupOp<mnemonic> {
  let arguments = (ins AnyStridedMemRef:$send, AnyStridedMemRef:$recv, ConfinedAttr<I32Attr, [IntNonNegative]>:$group);
  let assemblyFormat = "$send `,` $recv `group` $group attr-dict `:` type($send) `,` type($recv)";
}

def Moert_AllReduceOp : Moert_FixedOp<"all_reduce"> {
  let summary = "sum over the group, on every member";
  let description = [{
    In f32, in member order, rounded once.

    ```mlir
    moert.all_reduce %a, %b group 0 : memref<4xf32>, memref<4xf32>
    ```
    **Constraints**: (C1) element types are equal and f32, bf16, f16, i32 or i64; (C2) memory is dense, row-major;
    (C3) `recv` has the shape of `send`
  }];
}
def Moert_AllGatherOp : Moert_FixedOp<"all_gather"> {
  let summary = "stack every member's buffer";
  let description = [{
    ```mlir
    moert.all_gather %a, %b group 0 : memref<4xi32>, memref<2x4xi32>
    ```
    **Constraints**: (C1), (C2) as for all_reduce; (C3) the shape of `recv` is that of `send` behind a dimension for the members
  }];
}
def Moert_ReduceScatterOp : Moert_FixedOp<"reduce_scatter"> {
  let summary = "sum over the group, one block to each member";
  let description = [{
    ```mlir
    moert.reduce_scatter %a, %b group 0 : memref<2x4xf32>, memref<4xf32>
    ```
    **Constraints**: (C1), (C2) as for all_reduce; (C3) the shape of `send` is that of `recv` behind a dimension for the members
  }];
}
def Moert_AllToAllOp : Moert_FixedOp<"all_to_all"> {
  let summary = "block p goes to member p, block p came from member p";
  let description = [{
    ```mlir
    moert.all_to_all %a, %b group 0 : memref<2x4xi32>, memref<2x4xi32>
    ```
    **Constraints**: (C1), (C2) as for all_reduce; (C3) `recv` has the shape of `send`, the first dimension being the members
  }];
}

// Numbers of rows from `counts` [members, ...]: the entries of a member's block are summed.
class Moert_GatheredOp<string mnemonic> : Moert_GroupOp<mnemonic> {
  let arguments = (ins AnyStridedMemRef:$send, AnyStridedMemRef:$recv, Moert_Counts:$counts, ConfinedAttr<I32Attr, [IntNonNegative]>:$group);
  let assemblyFormat = [{
    $send `,` $recv `counts` `(` $counts `)` `group` $group attr-dict `:` type($send) `,` type($recv) `,` type($counts)
  }];
}
def Moert_AllGatherVOp : Moert_GatheredOp<"all_gather_v"> {
  let summary = "every member's rows, in member order";
  let description = [{
    ```mlir
    moert.all_gather_v %a, %b counts(%c) group 0 : memref<?x8xf32>, memref<?x8xf32>, memref<2xi32>
    ```
    **Constraints**: (C1), (C2) as for all_reduce, `counts` is static; (C4) rows of `send` and `recv` have equal, static shapes
  }];
}
def Moert_ReduceScatterVOp : Moert_GatheredOp<"reduce_scatter_v"> {
  let summary = "sum rows over the group; each member keeps its own segment";
  let description = [{
    ```mlir
    moert.reduce_scatter_v %a, %b counts(%c) group 0 : memref<?x8xf32>, memref<?x8xf32>, memref<2xi32>
    ```
    **Constraints**: as for all_gather_v
  }];
}
def Moert_AllToAllVOp : Moert_GroupOp<"all_to_all_v"> {
  let summary = "rows for member p go to member p";
  let description = [{
    ```mlir
    moert.all_to_all_v %a, %b counts(%s, %r) group 0 : memref<?x8xf32>, memref<?x8xf32>, memref<2x2xi32>, memref<2x2xi32>
    ```
    **Constraints**: (C1), (C2), (C4) as for all_gather_v; (C5) the counts have equal shapes
  }];
  let arguments = (ins AnyStridedMemRef:$send, AnyStridedMemRef:$recv, Moert_Counts:$send_counts, Moert_Counts:$recv_counts,
    ConfinedAttr<I32Attr, [IntNonNegative]>:$group);
  let assemblyFormat = [{
    $send `,` $recv `counts` `(` $send_counts `,` $recv_counts `)` `group` $group attr-dict
    `:` type($send) `,` type($recv) `,` type($send_counts) `,` type($recv_counts)
  }];
}

class Moert_PeerOp<string mnemonic, string word> : Moert_GroupOp<mnemonic> {
  let arguments = (ins AnyStridedMemRef:$data, Index:$peer, ConfinedAttr<I32Attr, [IntNonNegative]>:$group);
  let assemblyFormat = "$data `" # word # "` $peer `group` $group attr-dict `:` type($data)";
}
def Moert_SendOp : Moert_PeerOp<"send", "to"> {
  let summary = "hand a buffer to one member of the group";
  let description = [{
    Returns when the data has been taken.

    ```mlir
    moert.send %a to %p group 0 : memref<4xf32>
    ```
    **Constraints**: (C1), (C2) as for all_reduce
  }];
}
def Moert_RecvOp : Moert_PeerOp<"recv", "from"> {
  let summary = "take a buffer from one member of the group";
  let description = [{
    Returns when the data has arrived.

    ```mlir
    moert.recv %a from %p group 0 : memref<4xf32>
    ```
    **Constraints**: (C1), (C2) as for all_reduce
  }];
}
#endif
