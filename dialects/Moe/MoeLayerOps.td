// The logical layer: what a model says, on one device's global tensors.
#ifndef MOE_LAYER_OPS_TD
#define MOE_LAYER_OPS_TD
include "dialects/Moe/MoeAttrs.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Moe_BufferOf<list<Type> elements, string what> :
    AnyTypeOf<[RankedTensorOf<elements>, MemRefOf<elements>], "tensor or memref of " # what>;
def Moe_Float : Moe_BufferOf<[F32, BF16, F16], "f32, bf16 or f16">;
def Moe_F32 : Moe_BufferOf<[F32], "f32">;
def Moe_I32 : Moe_BufferOf<[I32], "i32">;
def Moe_Row : Moe_BufferOf<[F32, BF16, F16, I32], "f32, bf16, f16 or i32">;
def Moe_Any : AnyTypeOf<[AnyRankedTensor, AnyMemRef], "tensor or memref">;

// Every op has a value form (results) and a buffer form (`outs`, one per result).
class Moe_Op<string mnemonic, list<Trait> traits = []> : Op<Moe_Dialect, mnemonic, traits # [
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let hasVerifier = 1;
}

def Moe_RouteOp : Moe_Op<"route", [AttrSizedOperandSegments]> {
  let summary = "choose k experts and their weights for every token";
  let description = [{
    | operand | shape |
    |---|---|
    | `x` | [T, H] |
    | `weight` | [E, H] |
    | `bias` | [E], added to the logits |
    | `selection_bias` | [E] f32, added for selection only |
    | `weights` | [T, k] f32, in descending order of selection |
    | `ids` | [T, k] i32, distinct, in [0, E) |

    Created by import; expanded by `moe-expand-route` into `moe.router_logits` and `moe.select_experts`. `#moe.router` says what is computed.

    ```mlir
    %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
        : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
    ```
    **Constraints**
    - (C1) H of `x` and `weight` agree
    - (C2) `top_k` <= E, results are [T, k]
    - (C3) `bias` and `selection_bias` have E entries
    - (C4) E is a multiple of `n_group`, and the kept groups hold at least `top_k` experts
  }];
  let arguments = (ins Moe_Float:$x, Moe_Float:$weight, Optional<Moe_Float>:$bias, Optional<Moe_F32>:$selection_bias,
    Variadic<AnyMemRef>:$outs, Moe_RouterAttr:$router);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $x `,` $weight (`bias` `(` $bias^ `)`)? (`selection_bias` `(` $selection_bias^ `)`)? `router` `(` $router `)`
    (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Moe_ExpertsOp : Moe_Op<"experts", [AttrSizedOperandSegments]> {
  let summary = "the routed feed-forward experts of a layer";
  let description = [{
    For token t: sum over j < k of weights[t, j] * FFN_e(x[t]), e = ids[t, j]; with `weight_on_input`, the sum of FFN_e(weights[t, j] * x[t]).
    FFN_e(x) = down_e act(up_e x + up_bias_e) + down_bias_e. Sums run in ascending j, in f32.

    | operand | shape |
    |---|---|
    | `x` | [T, H] |
    | `ids`, `weights` | [T, k] i32 and f32 |
    | `up` | [E, P, I, H], gate before up |
    | `down` | [E, H, I] |
    | `up_bias`, `down_bias` | [E, P, I] and [E, H] |
    | `up_scales`, `down_scales` | fp8_block: one f32 per 128 x 128 block of the last two dimensions; mxfp4: one u8 exponent per 32 elements |
    | result | [T, H] |

    Created by import; `placement` is set by placement passes; expanded and sharded by `moe-shard-layer`.

    ```mlir
    %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
        : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
    ```
    **Constraints**
    - (C1) shapes agree as in the table; P = 2 exactly when the activation is gated
    - (C2) biases agree with E, P, I, H
    - (C3) scales are given exactly when `weight_format` is not `plain`, and have the dimensions of their weights
    - (C4) a placement holds every expert in exactly one slot
  }];
  let arguments = (ins Moe_Float:$x, Moe_I32:$ids, Moe_F32:$weights, Moe_Any:$up, Moe_Any:$down,
    Optional<Moe_Float>:$up_bias, Optional<Moe_Float>:$down_bias, Optional<Moe_Any>:$up_scales, Optional<Moe_Any>:$down_scales,
    Optional<AnyMemRef>:$outs,
    Moe_ActivationAttr:$activation,
    DefaultValuedAttr<Moe_WeightFormatAttr, "::moe::WeightFormat::Plain">:$weight_format,
    UnitAttr:$weight_on_input, OptionalAttr<Moe_PlacementAttr>:$placement);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $x `,` $ids `,` $weights `,` $up `,` $down (`up_bias` `(` $up_bias^ `)`)? (`down_bias` `(` $down_bias^ `)`)?
    (`scales` `(` $up_scales^ `,` $down_scales `)`)? `activation` `(` $activation `)` (`weight_on_input` $weight_on_input^)?
    (`placement` `(` $placement^ `)`)? (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Moe_SharedExpertOp : Moe_Op<"shared_expert", [AttrSizedOperandSegments]> {
  let summary = "the expert that sees every token";
  let description = [{
    down act(up x), times sigmoid(gate . x) per token when `gate` is given.

    | operand | shape |
    |---|---|
    | `x` | [T, H] |
    | `up` | [P, S, H], gate part first |
    | `down` | [H, S] |
    | `gate` | [1, H] |
    | `up_scales`, `down_scales` | as in `moe.experts` |
    | result | [T, H] |

    ```mlir
    %s = moe.shared_expert %x, %up, %down gate(%g) activation(<kind = silu>)
        : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>, tensor<1x64xf32>) -> tensor<?x64xf32>
    ```
    **Constraints**
    - (C1) shapes agree as in the table; P = 2 exactly when the activation is gated
    - (C2) scales are given exactly when `weight_format` is not `plain`, and have the dimensions of their weights
  }];
  let arguments = (ins Moe_Float:$x, Moe_Any:$up, Moe_Any:$down, Optional<Moe_Float>:$gate,
    Optional<Moe_Any>:$up_scales, Optional<Moe_Any>:$down_scales, Optional<AnyMemRef>:$outs,
    Moe_ActivationAttr:$activation,
    DefaultValuedAttr<Moe_WeightFormatAttr, "::moe::WeightFormat::Plain">:$weight_format,
    OptionalAttr<Moe_PlacementAttr>:$placement);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $x `,` $up `,` $down (`gate` `(` $gate^ `)`)? (`scales` `(` $up_scales^ `,` $down_scales `)`)? `activation` `(` $activation `)` (`placement` `(` $placement^ `)`)?
    (`outs` `(` $outs^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}
#endif
