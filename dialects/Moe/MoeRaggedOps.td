// The pieces that a layer expands into: rows sorted by slot, with offsets; no padding to capacity.
#ifndef MOE_RAGGED_OPS_TD
#define MOE_RAGGED_OPS_TD
include "dialects/Moe/MoeLayerOps.td"

def Moe_RouterLogitsOp : Moe_Op<"router_logits", [AttrSizedOperandSegments]> {
  let summary = "logits of every expert for every token";
  let description = [{
    x W^T + bias, summed in f32; rounded to the model's type afterwards when `matmul = model`.

    | operand | shape |
    |---|---|
    | `x` | [T, H] |
    | `weight` | [E, H] |
    | `bias` | [E] |
    | result | [T, E] f32 |

    ```mlir
    %l = moe.router_logits %x, %gate : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
    ```
    **Constraints**: (C1) shapes agree as in the table; (C2) a `packed` weight is a buffer of one dimension, as `#moe.panels` says, with one group and one part
  }];
  let arguments = (ins Moe_Float:$x, Moe_Float:$weight, Optional<Moe_Float>:$bias, Optional<AnyMemRef>:$outs, UnitAttr:$matmul_f32,
    OptionalAttr<Moe_PanelsAttr>:$packed);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $x `,` $weight (`bias` `(` $bias^ `)`)? (`f32` $matmul_f32^)? (`packed` `(` $packed^ `)`)? (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$x, "::mlir::Value":$weight, "::mlir::Value":$bias, "::mlir::Value":$outs,
    "bool":$matmul_f32), "build($_builder, $_state, result, x, weight, bias, outs, matmul_f32, /*packed=*/PanelsAttr());">];
}

def Moe_SelectExpertsOp : Moe_Op<"select_experts", [AttrSizedOperandSegments]> {
  let summary = "from logits to k experts and weights, as the router attribute says";
  let description = [{
    | operand | shape |
    |---|---|
    | `logits` | [T, E] f32 |
    | `selection_bias` | [E] f32 |
    | `weights`, `ids` | [T, k] f32 and i32 |

    ```mlir
    %w, %ids = moe.select_experts %l router(<top_k = 2>) : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
    ```
    **Constraints**: (C2) to (C4) of `moe.route`
  }];
  let arguments = (ins Moe_F32:$logits, Optional<Moe_F32>:$selection_bias, Variadic<AnyMemRef>:$outs, Moe_RouterAttr:$router);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $logits (`selection_bias` `(` $selection_bias^ `)`)? `router` `(` $router `)` (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Moe_SortOp : Moe_Op<"sort", [AttrSizedOperandSegments]> {
  let summary = "sort (token, expert) pairs by slot, keeping token order within a slot";
  let description = [{
    Pair p = t * k + j stands for the j-th expert of token t. `slots[s]` is the expert in slot s (-1: empty). With `first`, only the pairs of the
    `window` slots [first, first + window) are kept (those of one rank); without, all slots: window = all.
    Ids outside [0, `experts`) and an expert named twice by one token end the program with an error.

    Each `group` consecutive slots form one bin of the order (those of one rank, say). Of the pairs of one token that fall into one bin only
    the first is kept, so that a token stands there once; with `group` = 1, the default, every pair is kept. Let M = T * min(k, window / group).

    | operand | shape |
    |---|---|
    | `ids` | [T, k] i32 |
    | `first` | index |
    | `order` | [M] i32: pair of each sorted row; entries from offsets[window] on are undefined |
    | `positions` | [T, k] i32: sorted row of each pair, -1 if not kept |
    | `offsets` | [window / group + 1] i32: first sorted row of each bin |

    ```mlir
    %order, %pos, %off = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8
        : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<9xi32>)
    %first, %row, %o = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 group 2
        : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<5xi32>)
    ```
    **Constraints**
    - (C1) results have the shapes of the table
    - (C2) 0 < window <= number of slots; without `first`, window = number of slots
    - (C3) every expert in [0, experts) stands in exactly one slot
    - (C4) `group` > 0 divides `window`
  }];
  let arguments = (ins Moe_I32:$ids, Optional<Index>:$first, Variadic<AnyMemRef>:$outs,
    I64Attr:$experts, DenseI32ArrayAttr:$slots, I64Attr:$window, DefaultValuedAttr<I64Attr, "1">:$group);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $ids (`first` `(` $first^ `)`)? `experts` $experts `slots` $slots `window` $window (`group` $group^)?
    (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    int64_t getTopK() { return ::llvm::cast<::mlir::ShapedType>(getIds().getType()).getDimSize(1); }
    /// Bins of the order: entries of `offsets` but one.
    int64_t getBins() { return getWindow() / getGroup(); }
  }];
}

def Moe_CountsOp : Moe_Op<"counts"> {
  let summary = "rows for each slot, by owning rank";
  let description = [{
    Differences of consecutive offsets: result[p, s] = offsets[p * S + s + 1] - offsets[p * S + s].

    | operand | shape |
    |---|---|
    | `offsets` | [n * S + 1] i32 |
    | result | [n, S] i32 |

    ```mlir
    %c = moe.counts %off : (tensor<9xi32>) -> tensor<4x2xi32>
    ```
    **Constraints**: (C1) shapes agree as in the table
  }];
  let arguments = (ins Moe_I32:$offsets, Optional<AnyMemRef>:$outs);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = "$offsets (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Moe_TakeOp : Moe_Op<"take", [AttrSizedOperandSegments]> {
  let summary = "gather the token row of each sorted pair";
  let description = [{
    result[i] = x[order[i] / k], times `weights` at pair order[i] when given.

    | operand | shape |
    |---|---|
    | `x` | [T, H] |
    | `order` | [M] i32 pairs |
    | `rows` | index: how many of them are taken (offsets' last entry) |
    | `weights` | [T, k] f32 |
    | result | [rows, H] |

    ```mlir
    %r = moe.take %x, %order rows(%n) top_k 2 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x64xf32>
    ```
    **Constraints**: (C1) shapes agree as in the table; (C2) `top_k` > 0 and equal to k of `weights`; (C3) rows of i32 stay
    i32 and have no `weights`
  }];
  let arguments = (ins Moe_Row:$x, Moe_I32:$order, Index:$rows, Optional<Moe_F32>:$weights, Optional<AnyMemRef>:$outs, I64Attr:$top_k);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $x `,` $order `rows` `(` $rows `)` `top_k` $top_k (`weights` `(` $weights^ `)`)? (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Moe_RegroupOp : Moe_Op<"regroup"> {
  let summary = "from rows ordered by (source, slot) to rows ordered by slot";
  let description = [{
    `counts` says how many rows each (source, slot) brings; sources are all leading dimensions. `order`[i] is the received row that stands
    i-th in slot order (sources in order within a slot); `offsets` bounds the slots.

    | operand | shape |
    |---|---|
    | `counts` | [..., S] i32 |
    | `rows` | index: their sum |
    | `order` | [rows] i32 |
    | `offsets` | [S + 1] i32 |

    ```mlir
    %order, %off = moe.regroup %all rows(%n) : (tensor<2x4x2xi32>, index) -> (tensor<?xi32>, tensor<3xi32>)
    ```
    **Constraints**: (C1) shapes agree as in the table
  }];
  let arguments = (ins Moe_I32:$counts, Index:$rows, Variadic<AnyMemRef>:$outs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "$counts `rows` `(` $rows `)` (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Moe_GroupedMatmulOp : Moe_Op<"grouped_matmul", [AttrSizedOperandSegments]> {
  let summary = "one product per group of consecutive rows, with what comes before and after it";
  let description = [{
    Row i, offsets[g] <= i < offsets[g + 1], belongs to group g:

    ```
    a      = lhs[gather ? gather[i] / gather_divisor : i]   (times row_weights at pair gather[i], when given)
    v[p,n] = sum_k a[k] * rhs[g, p, n, k] + bias[g, p, n]   in f32, ascending k
    out[scatter ? scatter[i] : i, n] = activation ? act(v[0,n], v[1,n]) : v[n]
    ```
    Without `offsets` there is one group, all rows. Rows of the result that no i names are undefined.

    | operand | shape |
    |---|---|
    | `lhs` | [m, K] |
    | `rhs` | [G, P, N, K] with an activation, else [G, N, K] |
    | `rows` | index: rows of the result and number of indices used |
    | `offsets` | [G + 1] i32 |
    | `gather`, `scatter` | [>= rows] i32 |
    | `row_weights` | [T, k] f32, indexed by pair |
    | `bias` | [G, P, N] or [G, N] |
    | `scales` | of `rhs` in f8E4M3FN (128 x 128 blocks): [G, P, ceil(N / 128), ceil(K / 128)] f32; in f4E2M1FN: [G, P, N, K / 32] i8, exponents; P as in `rhs` |
    | result | [rows, N] |

    An element of a quantised `rhs` stands for its value times its block's scale; an exponent e for 2^(e - 127). `scatter` must be a permutation of [0, rows); that is the producer's duty (`moe.regroup`).

    ```mlir
    %h = moe.grouped_matmul %a, %up rows(%n) offsets(%off) gather(%order) activation(<kind = silu>)
        : (tensor<?x64xf32>, tensor<2x2x48x64xf32>, index, tensor<3xi32>, tensor<?xi32>) -> tensor<?x48xf32>
    ```
    **Constraints**
    - (C1) shapes agree as in the table
    - (C2) without `offsets`, G = 1
    - (C3) `gather_divisor` > 0; other than 1, and `row_weights`, only with `gather`
    - (C4) P = 2 exactly when the activation is gated
    - (C5) a `packed` rhs is a buffer of one dimension, as `#moe.panels` says, whose numbers agree with the table
    - (C6) `scales` exactly when `rhs` is quantised
  }];
  let arguments = (ins Moe_Float:$lhs, Moe_Any:$rhs, Index:$rows, Optional<Moe_I32>:$offsets, Optional<Moe_I32>:$gather,
    Optional<Moe_I32>:$scatter, Optional<Moe_F32>:$row_weights, Optional<Moe_Float>:$bias, Optional<Moe_Any>:$scales, Optional<AnyMemRef>:$outs,
    OptionalAttr<Moe_ActivationAttr>:$activation, DefaultValuedAttr<I64Attr, "1">:$gather_divisor,
    OptionalAttr<Moe_PanelsAttr>:$packed);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `rows` `(` $rows `)` (`offsets` `(` $offsets^ `)`)? (`gather` `(` $gather^ `)`)? (`scatter` `(` $scatter^ `)`)?
    (`row_weights` `(` $row_weights^ `)`)? (`bias` `(` $bias^ `)`)? (`scales` `(` $scales^ `)`)?
    (`activation` `(` $activation^ `)`)? (`packed` `(` $packed^ `)`)? (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$lhs, "::mlir::Value":$rhs, "::mlir::Value":$rows, "::mlir::Value":$offsets,
    "::mlir::Value":$gather, "::mlir::Value":$scatter, "::mlir::Value":$row_weights, "::mlir::Value":$bias, "::mlir::Value":$outs,
    "::moe::ActivationAttr":$activation, CArg<"uint64_t", "1">:$gather_divisor, CArg<"::mlir::Value", "::mlir::Value()">:$scales), [{
      build($_builder, $_state, result, lhs, rhs, rows, offsets, gather, scatter, row_weights, bias, scales, outs, activation,
            gather_divisor, /*packed=*/PanelsAttr());
    }]>];
  let extraClassDeclaration = [{
    /// G, of either form of the weight.
    int64_t getGroups();
  }];
}

def Moe_TokenGateOp : Moe_Op<"token_gate"> {
  let summary = "sigmoid of one dot product per token";
  let description = [{
    | operand | shape |
    |---|---|
    | `x` | [T, H] |
    | `weight` | [1, H] |
    | result | [T, 1] f32 |

    ```mlir
    %g = moe.token_gate %x, %w : (tensor<?x64xf32>, tensor<1x64xf32>) -> tensor<?x1xf32>
    ```
    **Constraints**: (C1) shapes agree as in the table
  }];
  let arguments = (ins Moe_Float:$x, Moe_Float:$weight, Optional<AnyMemRef>:$outs);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = "$x `,` $weight (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Moe_CombineOp : Moe_Op<"combine", [AttrSizedOperandSegments]> {
  let summary = "weighted sum of each token's rows, in ascending order of its pairs";
  let description = [{
    result[t] = sum over j, positions[t, j] >= 0, of weights[t, j] * rows[positions[t, j]], plus addend_gate[t] * addend[t]. In f32, j ascending, the addend last;
    rounded once. The transpose of `moe.take`. Without `positions`, row t is the one row of token t (k = 1): how an addend or a weight meets rows
    that stand in token order already.

    | operand | shape |
    |---|---|
    | `rows` | [m, H] |
    | `positions` | [T, k] i32; without it m = T, k = 1 |
    | `weights` | [T, k] f32 |
    | `addend` | [T, H] |
    | `addend_gate` | [T, 1] f32 |
    | result | [T, H] |

    ```mlir
    %y = moe.combine %r, %pos weights(%w) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
    ```
    **Constraints**: (C1) shapes agree as in the table; (C2) `addend_gate` only with `addend`
  }];
  let arguments = (ins Moe_Float:$rows, Optional<Moe_I32>:$positions, Optional<Moe_F32>:$weights, Optional<Moe_Float>:$addend,
    Optional<Moe_F32>:$addend_gate, Optional<AnyMemRef>:$outs);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $rows (`,` $positions^)? (`weights` `(` $weights^ `)`)? (`addend` `(` $addend^ `)`)? (`addend_gate` `(` $addend_gate^ `)`)?
    (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}
#endif
