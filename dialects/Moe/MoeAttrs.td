#ifndef MOE_ATTRS_TD
#define MOE_ATTRS_TD
include "dialects/Moe/MoeDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

class Moe_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::moe";
  let genSpecializedAttr = 0;
}
class Moe_Attr<string name, string attrMnemonic> : AttrDef<Moe_Dialect, name> {
  let mnemonic = attrMnemonic;
}
// A decimal number, printed with the fewest digits that read back as the same double.
class DoubleParameter<string value> : AttrOrTypeParameter<"::moe::Decimal", "", "double"> {
  let parser = "::moe::parseDouble($_parser)";
  let printer = "::moe::printDouble($_printer, $_self)";
  let defaultValue = value;
}

def Moe_Score : Moe_Enum<"Score", "how logits become scores", [
  I32EnumAttrCase<"Softmax", 0, "softmax">, I32EnumAttrCase<"Sigmoid", 1, "sigmoid">,
  I32EnumAttrCase<"SparseMixer", 2, "sparsemixer">]>;
def Moe_GroupScore : Moe_Enum<"GroupScore", "how a group of experts is scored", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Max", 1, "max">, I32EnumAttrCase<"Top2Sum", 2, "top2_sum">]>;
def Moe_MaskedFill : Moe_Enum<"MaskedFill", "score of an expert outside the kept groups", [
  I32EnumAttrCase<"Zero", 0, "zero">, I32EnumAttrCase<"NegInf", 1, "neg_inf">]>;
def Moe_Normalize : Moe_Enum<"Normalize", "renormalisation of the selected scores", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Sum", 1, "sum">, I32EnumAttrCase<"PNorm", 2, "p_norm">,
  I32EnumAttrCase<"AfterDrop", 3, "after_drop">]>;
def Moe_WeightOn : Moe_Enum<"WeightOn", "what the routing weight multiplies", [
  I32EnumAttrCase<"Output", 0, "output">, I32EnumAttrCase<"Input", 1, "input">]>;
def Moe_MatmulType : Moe_Enum<"MatmulType", "element type of the router's product", [
  I32EnumAttrCase<"Model", 0, "model">, I32EnumAttrCase<"F32", 1, "f32">]>;
def Moe_Capacity : Moe_Enum<"Capacity", "rule that drops tokens over an expert's capacity", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"PerSequence", 1, "per_sequence">,
  I32EnumAttrCase<"PerBatch", 2, "per_batch">, I32EnumAttrCase<"TwoChoice", 3, "two_choice">]>;
def Moe_ActivationKind : Moe_Enum<"ActivationKind", "nonlinearity of an expert", [
  I32EnumAttrCase<"Silu", 0, "silu">, I32EnumAttrCase<"Relu", 1, "relu">, I32EnumAttrCase<"Gelu", 2, "gelu">,
  I32EnumAttrCase<"GeluTanh", 3, "gelu_tanh">]>;
def Moe_WeightFormat : Moe_Enum<"WeightFormat", "how expert weights are stored", [
  I32EnumAttrCase<"Plain", 0, "plain">, I32EnumAttrCase<"Fp8Block", 1, "fp8_block">, I32EnumAttrCase<"Mxfp4", 2, "mxfp4">]>;
def Moe_WeightFormatAttr : EnumAttr<Moe_Dialect, Moe_WeightFormat, "weight_format">;
def Moe_Dispatcher : Moe_Enum<"Dispatcher", "how tokens reach the ranks of their experts", [
  I32EnumAttrCase<"AllToAll", 0, "all_to_all">, I32EnumAttrCase<"AllGather", 1, "all_gather">,
  I32EnumAttrCase<"TwoLevel", 2, "two_level">]>;
def Moe_Boundary : Moe_Enum<"Boundary", "how tokens lie over the ranks at the layer's boundary", [
  I32EnumAttrCase<"Split", 0, "split">, I32EnumAttrCase<"Replicated", 1, "replicated">]>;
def Moe_Shared : Moe_Enum<"SharedLayout", "how the shared expert lies over the ranks", [
  I32EnumAttrCase<"Replicated", 0, "replicated">, I32EnumAttrCase<"Split", 1, "split">]>;
def Moe_SplitKind : Moe_Enum<"SplitKind", "how a dimension is cut over mesh axes", [
  I32EnumAttrCase<"Blocks", 0, "blocks">, I32EnumAttrCase<"Slots", 1, "slots">]>;

def Moe_RouterAttr : Moe_Attr<"Router", "router"> {
  let summary = "everything that distinguishes one family's router from another's";
  let description = [{
    Logits l = x W^T (+ bias) in `matmul` (the model's type, or f32), then in f32, per token:

    1. scores s = `score`(l) over all experts; with `score_after_top_k` the selection runs on l and `score` over the k selected logits only;
    2. selection values c = s (or l) + selection bias, used for selection alone;
    3. with `group_score` other than `none`: experts form `n_group` equal consecutive groups, a group scores the largest (`max`) or the sum
       of the two largest (`top2_sum`) c in it, the `topk_group` best groups are kept, c elsewhere becomes 0 (`masked_fill = zero`) or
       minus infinity (`neg_inf`);
    4. the `top_k` largest c are selected, ties going to the lowest expert id, NaN above every number;
    5. weights w = s at the selected experts, in descending order of c; `normalize = sum` divides by (sum w + `normalize_epsilon`), `p_norm` by the p-norm (p = 1);
    6. w is multiplied by `scale`.

    `weight_on = input` multiplies the expert's input by w instead of its output. `sparsemixer` (k = 2) follows PhiMoE with `jitter` as epsilon.
    `capacity` other than `none` drops pairs by the family's rule: over ceil(`capacity_factor` x tokens / experts) of an expert, or
    over `capacity_factor` tokens of an expert and sequence with `per_sequence`.

    | family | spelling (defaults left out) |
    |---|---|
    | mixtral, qwen3_moe | `top_k = 2, normalize = sum` |
    | qwen2_moe, olmoe | `top_k = 4` |
    | deepseek_v3, glm4_moe | `top_k = 8, score = sigmoid, n_group = 8, topk_group = 4, group_score = top2_sum, normalize = sum, normalize_epsilon = 1.0e-20, scale = 2.5, matmul = f32` |
    | gpt_oss | `top_k = 4, score_after_top_k = true` |
    | llama4 | `top_k = 1, score = sigmoid, score_after_top_k = true, weight_on = input` |
    | dbrx | `top_k = 4, normalize = p_norm` |
    | switch_transformers | `top_k = 1, matmul = f32, capacity = per_sequence, capacity_factor = 64.0` |
    | nllb_moe | `top_k = 2, normalize = sum, scale = 0.8, matmul = f32` |
    | phimoe | `top_k = 2, score = sparsemixer, jitter = 0.01` |

    **Constraints**
    - (C1) 0 < `top_k`
    - (C2) `n_group` > 0, 0 < `topk_group` <= `n_group`
    - (C3) `group_score = none` exactly when `n_group` = 1
    - (C4) `sparsemixer` has `top_k` = 2
    - (C5) `capacity_factor` > 0 with a capacity rule, else 0
  }];
  let parameters = (ins
    "int64_t":$top_k,
    DefaultValuedParameter<"::moe::Score", "::moe::Score::Softmax">:$score,
    DefaultValuedParameter<"bool", "false">:$score_after_top_k,
    DefaultValuedParameter<"int64_t", "1">:$n_group,
    DefaultValuedParameter<"int64_t", "1">:$topk_group,
    DefaultValuedParameter<"::moe::GroupScore", "::moe::GroupScore::None">:$group_score,
    DefaultValuedParameter<"::moe::MaskedFill", "::moe::MaskedFill::Zero">:$masked_fill,
    DefaultValuedParameter<"::moe::Normalize", "::moe::Normalize::None">:$normalize,
    DoubleParameter<"0.0">:$normalize_epsilon,
    DoubleParameter<"1.0">:$scale,
    DefaultValuedParameter<"::moe::WeightOn", "::moe::WeightOn::Output">:$weight_on,
    DefaultValuedParameter<"::moe::MatmulType", "::moe::MatmulType::Model">:$matmul,
    DoubleParameter<"0.0">:$jitter,
    DefaultValuedParameter<"::moe::Capacity", "::moe::Capacity::None">:$capacity,
    DoubleParameter<"0.0">:$capacity_factor
  );
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_ActivationAttr : Moe_Attr<"Activation", "activation"> {
  let summary = "what an expert does between its two products";
  let description = [{
    Gated (P = 2, parts gate g and up u): h = (u' + `up_offset`) * f(g'), with g' = min(g, `limit`), u' = clamp(u, -`limit`, `limit`)
    when `limit` is not 0. Ungated (P = 1): h = f(u). f is `silu` (x * sigmoid(`alpha` x)), `relu`, `gelu` or `gelu_tanh`.
    SwiGLU is `#moe.activation<kind = silu>`; gpt_oss is `<kind = silu, alpha = 1.702, limit = 7.0, up_offset = 1.0>`.

    **Constraints**: (C1) `limit` >= 0; (C2) `limit`, `up_offset` and `alpha` other than the default only when gated
  }];
  let parameters = (ins
    "::moe::ActivationKind":$kind,
    DefaultValuedParameter<"bool", "true">:$gated,
    DoubleParameter<"1.0">:$alpha,
    DoubleParameter<"0.0">:$limit,
    DoubleParameter<"0.0">:$up_offset
  );
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_CheckpointAttr : Moe_Attr<"Checkpoint", "checkpoint"> {
  let summary = "where a weight's elements stand in a checkpoint";
  let description = [{
    `map` takes the logical index of the weight to the index in a tensor of `file_shape`. Which tensor: `names`, chosen by the index on
    `part_dim` (-1: there is one name), with `{e}` replaced by the index on `expert_dim` (-1: no `{e}`). Elements smaller than a byte
    are stored as bytes, the first element in the low bits; `file_shape` counts elements.

    Mixtral's gate and up, logical [E, 2, I, H]:
    ```mlir
    #moe.checkpoint<names = ["l.experts.{e}.w1.weight", "l.experts.{e}.w3.weight"], file_shape = [96, 64],
                    map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
    ```
    gpt_oss, one input-major tensor with gate and up interleaved:
    ```mlir
    #moe.checkpoint<names = ["l.experts.gate_up_proj"], file_shape = [16, 64, 128],
                    map = affine_map<(e, p, i, h) -> (e, h, i * 2 + p)>>
    ```
    **Constraints**
    - (C1) `map` has as many results as `file_shape` has dimensions, and every result is linear in the indices
    - (C2) one name, or `part_dim` is set
    - (C3) every name holds `{e}` exactly when `expert_dim` is set
  }];
  let parameters = (ins
    "::mlir::ArrayAttr":$names,
    "::mlir::DenseI64ArrayAttr":$file_shape,
    "::mlir::AffineMapAttr":$map,
    DefaultValuedParameter<"int64_t", "-1">:$expert_dim,
    DefaultValuedParameter<"int64_t", "-1">:$part_dim
  );
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_SplitAttr : Moe_Attr<"Split", "split"> {
  let summary = "one dimension cut over grid axes";
  let description = [{
    `blocks`: equal consecutive blocks. `slots`: the placement's slots, S to a coordinate; the dimension then counts slots.
  }];
  let parameters = (ins "int64_t":$dim, "::mlir::DenseI64ArrayAttr":$axes,
    DefaultValuedParameter<"::moe::SplitKind", "::moe::SplitKind::Blocks">:$by);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_SliceAttr : Moe_Attr<"Slice", "slice"> {
  let summary = "which part of a weight one rank holds";
  let description = [{
    `shape` is the weight's global logical shape, `splits` the dimensions that are cut, `slots` the map slot -> expert (-1: empty) of splits by slots.
    On ranks whose coordinate on an axis of `first_only` is not 0, the slice is zero (a bias that is added once).
  }];
  let parameters = (ins
    "::mlir::FlatSymbolRefAttr":$grid,
    "::mlir::DenseI64ArrayAttr":$shape,
    "::mlir::ArrayAttr":$splits,
    OptionalParameter<"::mlir::DenseI32ArrayAttr">:$slots,
    OptionalParameter<"::mlir::DenseI64ArrayAttr">:$first_only);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_PlacementAttr : Moe_Attr<"Placement", "placement"> {
  let summary = "how a layer lies over the ranks of a grid";
  let description = [{
    `ep`, `etp`, `edp`: grid axes over which experts are split, an expert's width is split, and groups of experts are replicated; together all
    axes of the grid, each once. `slots`: slot -> expert, EP x S entries, -1 empty; S = slots / EP.

    `dispatcher`: how tokens reach their experts (docs/Dispatch.md). `dedup`: a token with several experts on one rank travels there once.
    `two_level` sends one copy of a token to each node that holds some of its experts, over the grid axis called `node` (the first of `ep`), and
    fans out inside it.

    `boundary`: where tokens lie before and after the layer. `split`: over all ranks. `replicated`: equal on all ranks that differ on the axes
    `attn_tp` alone, which are the fastest axes of the grid, and split over the others; without `attn_tp`, equal on all ranks.

    **Constraints**: (C1) every expert id appears at most once in `slots`; (C2) no axis twice
  }];
  let parameters = (ins
    "::mlir::FlatSymbolRefAttr":$grid,
    "::mlir::DenseI64ArrayAttr":$ep,
    "::mlir::DenseI64ArrayAttr":$etp,
    "::mlir::DenseI64ArrayAttr":$edp,
    "::mlir::DenseI32ArrayAttr":$slots,
    DefaultValuedParameter<"::moe::Dispatcher", "::moe::Dispatcher::AllToAll">:$dispatcher,
    DefaultValuedParameter<"bool", "false">:$dedup,
    DefaultValuedParameter<"::moe::Boundary", "::moe::Boundary::Split">:$boundary,
    DefaultValuedParameter<"::moe::SharedLayout", "::moe::SharedLayout::Replicated">:$shared,
    OptionalParameter<"::mlir::DenseI64ArrayAttr">:$attn_tp);
  let builders = [AttrBuilder<(ins "::mlir::FlatSymbolRefAttr":$grid, "::mlir::DenseI64ArrayAttr":$ep, "::mlir::DenseI64ArrayAttr":$etp,
    "::mlir::DenseI64ArrayAttr":$edp, "::mlir::DenseI32ArrayAttr":$slots, "::moe::Dispatcher":$dispatcher, "bool":$dedup,
    "::moe::Boundary":$boundary, "::moe::SharedLayout":$shared), [{
      return $_get($_ctxt, grid, ep, etp, edp, slots, dispatcher, dedup, boundary, shared, ::mlir::DenseI64ArrayAttr());
    }]>];
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_PanelsAttr : Moe_Attr<"Panels", "panels"> {
  let summary = "layout of a weight that is packed for a vector unit";
  let description = [{
    A weight of `groups` x `parts` x `columns` x `depth` elements (G, P, N, K) becomes, for each group, panels of `width` columns that are
    consecutive in memory: C = `width` / `parts` columns of part 0, then the same columns of part 1, so that both parts of a gated product meet in
    one set of accumulators. Within a panel, `interleave` values of K stand together for each column: a step. Steps go round `streams` pieces of the
    panel, one behind the other, in each of which K ascends: read by turns, a processor fetches more of them ahead than of one.

    ```
    steps = ceil(K / interleave), s = k / interleave, at = s % streams * (steps / streams) + s / streams
    element (g, p, n, k) -> (((g * ceil(N / C) + n / C) * steps + at) * width + p * C + n % C) * interleave + k % interleave
    ```
    Places of columns beyond N and of k beyond K hold zero.

    **Constraints**
    - (C1) all numbers are positive
    - (C2) `width` is a multiple of `parts`
    - (C3) more than one stream: `depth` is a multiple of `interleave` x `streams`
  }];
  let parameters = (ins "int64_t":$groups, "int64_t":$parts, "int64_t":$columns, "int64_t":$depth, "int64_t":$width,
    DefaultValuedParameter<"int64_t", "1">:$interleave, DefaultValuedParameter<"int64_t", "1">:$streams);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Columns of one part in a panel: C.
    int64_t getPartWidth() const;
    /// Panels of one group.
    int64_t getPanelsPerGroup() const;
    /// Steps of one panel.
    int64_t getSteps() const;
    /// Elements of one panel, padding included.
    int64_t getPanelElements() const;
    /// Elements of the whole packed weight.
    int64_t getElements() const;
  }];
}
#endif
