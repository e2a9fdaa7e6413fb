#ifndef MOE_DIALECT_TD
#define MOE_DIALECT_TD
include "mlir/IR/DialectBase.td"
include "mlir/IR/OpBase.td"

def Moe_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::moe";
  let summary = "Mixture-of-Experts layers and the ragged pieces that they expand into";
  let description = [{
    Logical layers (`moe.route`, `moe.experts`, `moe.shared_expert`) on global tensors with single-device meaning, and the
    pieces that sharding expands them into: token sort, ragged gather, grouped matmul, weighted combine. Every op has two forms:

    - the value form, on tensors, with results: phases `input`, `placed`, `sharded`;
    - the buffer form, on memrefs, where each result has become an `outs` operand: phase `scheduled`.

    T is the number of tokens, H the hidden size, I the expert width, E the number of experts, k experts per token, P the parts of the
    first product (2 for gated experts: gate, up; else 1), S slots per rank, G groups of a grouped matmul.

    Discardable attributes of this dialect:

    | attribute | on | meaning | written by | read by |
    |---|---|---|---|---|
    | `moe.phase` | module | the last phase that this module has completed | every phase's exit check | the pipelines |
    | `moe.options` | module | dictionary of the options in force | moe-opt | the artifact writer |
    | `moe.scheduled` | module | the text of the `scheduled` module that this one was lowered from | the pipelines | the artifact writer |
    | `moe.layer` | func | index of the layer in its model (i64) | import | the artifact writer |
    | `moe.name` | argument, result | the name by which a caller passes it | import | interface |
    | `moe.weight` | argument | `#moe.checkpoint`, or an array of alternatives | import | interface |
    | `moe.slice` | argument | `#moe.slice`: this rank's part of the weight | sharding | interface |
    | `moe.part` | `moe.grouped_matmul` | [n, slots of all ranks]: `rows` is a bound, of which n / slots are expected; n: slots here, or choices of a token where these are more | `moe-count-on-host` | kernels |
    | `moe.split` | argument, result | grid axes over which the rows (dimension 0) are split; array<i64> | sharding | interface |
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
  let extraClassDeclaration = [{ void registerAttributes(); }];
}
#endif
