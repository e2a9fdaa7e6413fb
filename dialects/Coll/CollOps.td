#ifndef COLL_OPS_TD
#define COLL_OPS_TD
include "dialects/Coll/CollDialect.td"
include "dialects/Coll/CollInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Coll_Buffer : AnyTypeOf<[AnyRankedTensor, AnyStridedMemRef], "tensor or memref">;
def Coll_Counts : AnyTypeOf<[RankedTensorOf<[I32]>, MemRefOf<[I32]>], "tensor or memref of i32">;

class Coll_Op<string mnemonic, list<Trait> traits = []> : Op<Coll_Dialect, mnemonic, traits # [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]>;

// Arguments shared by all collectives: grid and axes; and the two forms.
class Coll_Collective<string mnemonic, list<Trait> traits = []> : Coll_Op<mnemonic, traits # [
    Coll_CollectiveInterface,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let results = (outs Optional<AnyRankedTensor>:$result);
  let hasVerifier = 1;
}

def Coll_IndexOp : Coll_Op<"index", [Pure]> {
  let summary = "this rank's number within its group";
  let description = [{
    The rank's coordinates on `axes` read as digits, first axis slowest: 0 <= result < size of the group.
    Varies over `axes`.

    ```mlir
    %me = coll.index on @ranks axes [0] : index
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$grid, DenseI64ArrayAttr:$axes);
  let results = (outs Index:$result);
  let assemblyFormat = "`on` $grid `axes` $axes attr-dict `:` type($result)";
}

def Coll_RowsOp : Coll_Op<"rows", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "number of rows that counts announce";
  let description = [{
    The sum of all entries of `counts`. `bound` gives the largest value it can take, as a function of the session's maximum of tokens
    over all ranks (s0): buffers are planned with it, and the program ends with an error if the sum is larger.

    ```mlir
    %n = coll.rows %recv bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : tensor<4x2xi32>
    ```
  }];
  let arguments = (ins Coll_Counts:$counts, AffineMapAttr:$bound, FlatSymbolRefAttr:$grid);
  let results = (outs Index:$result);
  let assemblyFormat = "$counts `bound` `(` $bound `)` `on` $grid attr-dict `:` type($counts)";
  let hasVerifier = 1;
}

def Coll_ShareOp : Coll_Op<"share", [DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "this rank's consecutive share of replicated rows";
  let description = [{
    Share i of n holds floor(T / n) + (i < T mod n ? 1 : 0) consecutive rows of `source`, i the rank's number over `axes`. No communication.

    | operand | shape |
    |---|---|
    | `source` | [T, ...] |
    | result | [T_i, ...] |

    ```mlir
    %mine = coll.share %x on @ranks axes [0, 1] : (tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Coll_Buffer:$source, FlatSymbolRefAttr:$grid, DenseI64ArrayAttr:$axes,
    Optional<AnyStridedMemRef>:$outs);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = "$source `on` $grid `axes` $axes (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

class Coll_Fixed<string mnemonic> : Coll_Collective<mnemonic> {
  let extraClassDeclaration = "bool isFixedSize() { return true; }";
  let arguments = (ins Coll_Buffer:$source, FlatSymbolRefAttr:$grid, DenseI64ArrayAttr:$axes,
    Optional<AnyStridedMemRef>:$outs);
  let assemblyFormat = "$source `on` $grid `axes` $axes (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
  let hasCanonicalizeMethod = 1;
}

def Coll_AllReduceOp : Coll_Fixed<"all_reduce"> {
  let summary = "sum over the group, on every member";
  let description = [{
    Sums are made in f32 in member order and rounded once.

    ```
    before   rank 0: a    rank 1: b         after   both: a + b
    ```
    ```mlir
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
    ```
    **Constraints**: (C1) result type = source type; (C2) element type is a float or integer; (C3) axes are axes of the grid, each once
  }];
}
def Coll_AllGatherOp : Coll_Fixed<"all_gather"> {
  let summary = "stack every member's tensor";
  let description = [{
    | operand | shape |
    |---|---|
    | `source` | [...] |
    | result | [n, ...] |

    ```
    before   rank 0: a    rank 1: b         after   both: [a, b]
    ```
    ```mlir
    %all = coll.all_gather %c on @ranks axes [1] : (tensor<4x2xi32>) -> tensor<2x4x2xi32>
    ```
    **Constraints**: (C1) result shape = [n] + source shape; (C3) axes as for all_reduce
  }];
}
def Coll_ReduceScatterOp : Coll_Fixed<"reduce_scatter"> {
  let summary = "sum over the group, one block to each member";
  let description = [{
    | operand | shape |
    |---|---|
    | `source` | [n, ...] |
    | result | [...] |

    ```mlir
    %s = coll.reduce_scatter %x on @ranks axes [0] : (tensor<4x8xf32>) -> tensor<8xf32>
    ```
    **Constraints**: (C1) source shape = [n] + result shape; (C3) axes as for all_reduce
  }];
}
def Coll_AllToAllOp : Coll_Fixed<"all_to_all"> {
  let summary = "block p goes to member p";
  let description = [{
    | operand | shape |
    |---|---|
    | `source` | [n, ...] |
    | result | [n, ...], block p from member p |

    ```
    before   rank 0: [a0, a1]   rank 1: [b0, b1]     after   rank 0: [a0, b0]   rank 1: [a1, b1]
    ```
    ```mlir
    %recv = coll.all_to_all %send on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
    ```
    **Constraints**: (C1) result type = source type, first dimension n; (C3) axes as for all_reduce
  }];
}

def Coll_AllGatherVOp : Coll_Collective<"all_gather_v"> {
  let summary = "concatenate every member's rows";
  let description = [{
    | operand | shape |
    |---|---|
    | `source` | [m, ...], m = sum of my block of `counts` |
    | `counts` | [n, ...] i32: `coll.all_gather` of the local counts |
    | `rows` | index: sum of `counts` (`coll.rows`) |
    | result | [rows, ...], members in order |

    ```mlir
    %a = coll.all_gather_v %in counts(%all) rows(%n) on @ranks axes [1]
        : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
    ```
    **Constraints**: (C1) row shapes agree; (C2) counts' first dimension is n; (C3) axes as for all_reduce; (C4) `payload` is
    rows, ids or weights: what is moved, for those who count bytes
  }];
  let arguments = (ins Coll_Buffer:$source, Coll_Counts:$counts, Index:$rows, FlatSymbolRefAttr:$grid,
    DenseI64ArrayAttr:$axes, Optional<AnyStridedMemRef>:$outs,
    DefaultValuedAttr<StrAttr, "\"rows\"">:$payload);
  let assemblyFormat = "$source `counts` `(` $counts `)` `rows` `(` $rows `)` `on` $grid `axes` $axes (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = "::mlir::Value getBlockCounts() { return getCounts(); }";
  let hasCanonicalizeMethod = 1;
}
def Coll_ReduceScatterVOp : Coll_Collective<"reduce_scatter_v"> {
  let summary = "sum rows over the group; each member keeps its own segment";
  let description = [{
    The transpose of `all_gather_v` with the same counts: `source` holds every member's segment in member order.

    | operand | shape |
    |---|---|
    | `source` | [sum of counts, ...] |
    | `counts` | [n, ...] i32: `coll.all_gather` of the local counts |
    | `rows` | index: sum of my block of `counts` |
    | result | [rows, ...] |

    ```mlir
    %q = coll.reduce_scatter_v %p counts(%all) rows(%m) on @ranks axes [1]
        : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
    ```
    **Constraints**: (C1) row shapes agree; (C2) counts' first dimension is n; (C3) axes as for all_reduce; (C4) `payload` is
    rows, ids or weights: what is moved, for those who count bytes
  }];
  let arguments = (ins Coll_Buffer:$source, Coll_Counts:$counts, Index:$rows, FlatSymbolRefAttr:$grid,
    DenseI64ArrayAttr:$axes, Optional<AnyStridedMemRef>:$outs,
    DefaultValuedAttr<StrAttr, "\"rows\"">:$payload);
  let assemblyFormat = "$source `counts` `(` $counts `)` `rows` `(` $rows `)` `on` $grid `axes` $axes (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = "::mlir::Value getBlockCounts() { return getCounts(); }";
  let hasCanonicalizeMethod = 1;
}
def Coll_AllToAllVOp : Coll_Collective<"all_to_all_v"> {
  let summary = "rows for member p go to member p";
  let description = [{
    | operand | shape |
    |---|---|
    | `source` | [sum of send_counts, ...], rows by destination |
    | `send_counts` | [n, ...] i32: rows for each member |
    | `recv_counts` | [n, ...] i32: rows from each member; one of the two is `coll.all_to_all` of the other over the same axes |
    | `rows` | index: sum of `recv_counts` |
    | result | [rows, ...], rows by source |

    ```mlir
    %in = coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0]
        : (tensor<?x64xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x64xf32>
    ```
    **Constraints**: (C1) row shapes agree; (C2) counts have equal types, first dimension n; (C3) axes as for all_reduce; (C4) `payload` is
    rows, ids or weights: what is moved, for those who count bytes
  }];
  let arguments = (ins Coll_Buffer:$source, Coll_Counts:$send_counts, Coll_Counts:$recv_counts, Index:$rows,
    FlatSymbolRefAttr:$grid, DenseI64ArrayAttr:$axes, Optional<AnyStridedMemRef>:$outs,
    DefaultValuedAttr<StrAttr, "\"rows\"">:$payload);
  let assemblyFormat = "$source `counts` `(` $send_counts `,` $recv_counts `)` `rows` `(` $rows `)` `on` $grid `axes` $axes (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = "::mlir::Value getBlockCounts() { return getSendCounts(); }";
  let hasCanonicalizeMethod = 1;
}

def Coll_SendOp : Coll_Op<"send", [Coll_CollectiveInterface, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "hand a tensor to one member of the group";
  let description = [{
    ```mlir
    coll.send %x to %peer on @ranks axes [0] : tensor<4xf32>
    ```
  }];
  let arguments = (ins Coll_Buffer:$source, Index:$peer, FlatSymbolRefAttr:$grid, DenseI64ArrayAttr:$axes);
  let assemblyFormat = "$source `to` $peer `on` $grid `axes` $axes attr-dict `:` type($source)";
}
def Coll_RecvOp : Coll_Op<"recv", [AttrSizedOperandSegments, Coll_CollectiveInterface,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "take a tensor from one member of the group";
  let description = [{
    `rows` gives the first dimension where it is dynamic.
    ```mlir
    %x = coll.recv from %peer on @ranks axes [0] : (index) -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Index:$peer, Optional<Index>:$rows, FlatSymbolRefAttr:$grid, DenseI64ArrayAttr:$axes,
    Optional<AnyStridedMemRef>:$outs);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = "`from` $peer (`rows` `(` $rows^ `)`)? `on` $grid `axes` $axes (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let extraClassDeclaration = "::mlir::Value getSent() { return {}; }";
}
#endif
