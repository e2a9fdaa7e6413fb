#ifndef MOE_DIALECTS_HOPPER_HOPPERFACTOROPS_TD
#define MOE_DIALECTS_HOPPER_HOPPERFACTOROPS_TD

include "dialects/Hopper/HopperTileOps.td"

// What brings the sums of quantised operands from the units of one stage to those of the next: made by who has time for it,
// beside the stage.

def Hopper_FactorsOp : Hopper_Op<"factors", [Pure]> {
  let summary = "places the factors of all stages in shared memory";
  let description = [{
    Gives the words that start at `offset` bytes after `base`.

    **Constraints**: (C1) the offset is a multiple of 16 below 2^31.

    ```mlir
    %factors = hopper.factors %shared at 196608 : !hopper.factors<3, 160>
    ```
  }];
  let arguments = (ins Hopper_SharedPointer:$base, I64Attr:$offset);
  let results = (outs Hopper_FactorsType:$factors);
  let assemblyFormat = "$base `at` $offset attr-dict `:` qualified(type($factors))";
  let hasVerifier = 1;
}

def Hopper_WriteFactorOp : Hopper_RingOp<"write_factor"> {
  let summary = "leaves a factor beside a stage";
  let description = [{
    Factor `index` counts those of columns first, then those of weights.  Between
    `hopper.acquire` and this thread's own arrival at the stage.

    ```mlir
    hopper.write_factor %value, %factors[%position] at %index : !hopper.factors<3, 160>
    ```
  }];
  let arguments = (ins F32:$value, Hopper_FactorsType:$factors, I32:$position, I32:$index);
  let assemblyFormat = "$value `,` $factors `[` $position `]` `at` $index attr-dict `:` qualified(type($factors))";
}

def Hopper_ReadFactorOp : Hopper_RingOp<"read_factor"> {
  let summary = "reads a factor of weights";
  let description = [{
    Of weights `index` in a stage, the same in all lanes.  Between `hopper.wait_full` and
    `hopper.release` of the same stage.

    ```mlir
    %gate = hopper.read_factor %factors[%position] of %index : !hopper.factors<3, 160>
    ```
  }];
  let arguments = (ins Hopper_FactorsType:$factors, I32:$position, I32:$index);
  let results = (outs F32:$value);
  let assemblyFormat = "$factors `[` $position `]` `of` $index attr-dict `:` qualified(type($factors))";
}

def Hopper_ApplyFactorsOp : Hopper_RingOp<"apply_factors", [
    TypesMatchWith<"the fragment keeps its type", "fragment", "result", "$_self">]> {
  let summary = "multiplies a fragment by the factors of a stage";
  let description = [{
    result[r, c] = fragment[r, c] * factors[c] * w, where w is the only one of `weights`,
    or the first and the second in turn for blocks of eight rows.  Between
    `hopper.wait_full` and `hopper.release` of the same stage.

    **Constraints**: (C1) one or two weights; (C2) there are factors for all columns.

    ```mlir
    %next = hopper.apply_factors %values, %factors[%position] by %gate, %up
        : !hopper.fragment<64x128>, !hopper.factors<3, 160>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, Hopper_FactorsType:$factors, I32:$position,
                       Variadic<F32>:$weights);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = [{
    $fragment `,` $factors `[` $position `]` `by` $weights attr-dict
    `:` qualified(type($fragment)) `,` qualified(type($factors))
  }];
  let hasVerifier = 1;
}

#endif
