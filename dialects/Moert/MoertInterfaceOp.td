// What a caller must know of a function, from phase `scheduled` on.
#ifndef MOERT_INTERFACE_OP_TD
#define MOERT_INTERFACE_OP_TD
include "dialects/Moert/MoertAttrs.td"
include "mlir/IR/SymbolInterfaces.td"

def Moert_InterfaceOp : Op<Moert_Dialect, "interface", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "what a caller must know of a function";
  let description = [{
    Argument attributes do not survive bufferization and the conversion to llvm: from `scheduled` on, names, shapes, weights and memory
    stand here, and the manifest is written from it. Written where a function's arguments become buffers; stays to the end.

    The function's arguments are, in order: `inputs`, one buffer per weight (before the target packs them) or per entry of `packed`
    (afterwards), `outputs`; then, in any place, those marked `moert.arena`, `moert.tokens`, `moert.max_tokens`.

    `packed` are the bytes of each packed buffer, empty before packing. `slots` is the placement: slot -> expert, -1 empty.

    ```mlir
    moert.interface @layer0 on @ranks layer 0 experts 8 top_k 2 slots [0, 1, 2, 3, 4, 5, 6, 7]
      inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = [0, 1, 2]>]
      outputs [#moert.value<name = "y", type = tensor<?x64xf32>, split = [0, 1, 2]>]
      weights [#moert.weight<name = "gate", type = tensor<8x64xf32>, sources = [#gate]>]
      packed [2048] arena <per_token = 1024>
    ```
    **Constraints**
    - (C1) `function` and `grid` exist
    - (C2) entries are #moert.value and #moert.weight; names of inputs and outputs are distinct, and those of weights
    - (C3) splits and slices name axes of the grid, slices name this grid
    - (C4) `packed` has positive sizes
    - (C5) every expert in [0, experts) stands in exactly one slot; the slots of slices are these
    - (C6) 0 < `top_k` <= `experts`, `layer` >= 0
  }];
  let arguments = (ins FlatSymbolRefAttr:$function, FlatSymbolRefAttr:$grid, I64Attr:$layer, I64Attr:$experts, I64Attr:$top_k,
    DenseI32ArrayAttr:$slots, ArrayAttr:$inputs, ArrayAttr:$outputs, ArrayAttr:$weights, DenseI64ArrayAttr:$packed,
    Moert_ArenaAttr:$arena);
  let assemblyFormat = [{
    $function `on` $grid `layer` $layer `experts` $experts `top_k` $top_k `slots` $slots `inputs` $inputs `outputs` $outputs
    `weights` $weights `packed` $packed `arena` $arena attr-dict
  }];
  let hasVerifier = 1;
}
#endif
