#ifndef MOERT_ATTRS_TD
#define MOERT_ATTRS_TD
include "dialects/Moert/MoertDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/EnumAttr.td"

class Moert_Attr<string name, string attrMnemonic> : AttrDef<Moert_Dialect, name> {
  let mnemonic = attrMnemonic;
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

// The numbers are those of moert_failure in moert/abi.h.
def Moert_Failure : I32EnumAttr<"Failure", "why a program ends itself", [
  I32EnumAttrCase<"ExpertId", 1, "expert_id">, I32EnumAttrCase<"DuplicateId", 2, "duplicate_id">,
  I32EnumAttrCase<"Rows", 3, "rows">]> {
  let cppNamespace = "::moe::moert";
  let genSpecializedAttr = 0;
}
def Moert_FailureAttr : EnumAttr<Moert_Dialect, Moert_Failure, "failure">;

def Moert_ValueAttr : Moert_Attr<"Value", "value"> {
  let summary = "an input or output as its caller sees it";
  let description = [{
    `type` is a ranked tensor: the global shape, `?` for the number of tokens. `split` names the grid axes over which the rows are
    split, first slowest; empty: every rank holds all rows.

    ```mlir
    #moert.value<name = "x", type = tensor<?x64xf32>, split = [0, 1, 2]>
    ```
    **Constraints**
    - (C1) `type` is a ranked tensor of f32, bf16, f16, i32 or i64 with rows; only the rows may be dynamic
    - (C2) axes are distinct, `name` is not empty
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "::mlir::TypeAttr":$type, "::mlir::DenseI64ArrayAttr":$split);
}

def Moert_WeightAttr : Moert_Attr<"Weight", "weight"> {
  let summary = "a weight: where a rank's slice of it stands in a checkpoint";
  let description = [{
    `type` is the local shape, that of the slice. `sources` are alternatives (#moe.checkpoint): the first whose tensors exist is read.
    `slice` gives the global shape and the cuts; without it every rank holds all.

    ```mlir
    #moert.weight<name = "gate", type = tensor<8x64xf32>, sources = [#gate]>
    ```
    **Constraints**
    - (C1) `type` is a static tensor of f32, bf16, f16, i32, i64, f8E4M3FN, f4E2M1FN or i8
    - (C2) there is a source, each is #moe.checkpoint and maps as many dimensions as `type` has
    - (C3) `slice`, when given, has the rank of `type`
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "::mlir::TypeAttr":$type, "::mlir::ArrayAttr":$sources,
    OptionalParameter<"::moe::SliceAttr">:$slice);
}

def Moert_ArenaAttr : Moert_Attr<"Arena", "arena"> {
  let summary = "bytes of scratch memory, as a function of the maximum of tokens M";
  let description = [{
    bytes = `constant` + `per_token` * M + `per_share` * ceil(M / `shares`).

    ```mlir
    #moert.arena<per_token = 1024, per_share = 512, shares = 8>
    ```
    **Constraints**: (C1) no term is negative, `shares` is positive
  }];
  let parameters = (ins DefaultValuedParameter<"int64_t", "0">:$constant, DefaultValuedParameter<"int64_t", "0">:$per_token,
    DefaultValuedParameter<"int64_t", "0">:$per_share, DefaultValuedParameter<"int64_t", "1">:$shares);
}

def Moert_KernelAttr : Moert_Attr<"Kernel", "kernel"> {
  let summary = "how a kernel is launched";
  let description = [{
    `name` is that of its `gpu.module`, later `gpu.binary`, and of the kernel's symbol in it. `params` are its parameters: `ptr`, `i32`, `i64`, `f32`, `map`.
    With `early` it is launched before the kernel before it has ended, for which it waits itself. A kernel may stand twice, once without.

    ```mlir
    #moert.kernel<name = "up", threads = 384, shared_bytes = 213088, params = ["ptr", "map", "i32"]>
    ```
    **Constraints**
    - (C1) `name` is not empty; 1 to 1024 threads, 1 to 16 CTAs of a cluster, sizes are not negative, at least one CTA fits
    - (C2) parameters are of the kinds above
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "int64_t":$threads, DefaultValuedParameter<"int64_t", "1">:$cluster,
    DefaultValuedParameter<"int64_t", "0">:$shared_bytes, DefaultValuedParameter<"int64_t", "1">:$ctas_per_sm, DefaultValuedParameter<"bool", "true">:$early,
    "::mlir::ArrayAttr":$params);
}
#endif
