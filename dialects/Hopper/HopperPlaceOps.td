#ifndef MOE_DIALECTS_HOPPER_HOPPERPLACEOPS_TD
#define MOE_DIALECTS_HOPPER_HOPPERPLACEOPS_TD

include "dialects/Hopper/HopperTileOps.td"

// Rows of a tile that belong to other rows of the output: where each goes, asked for while the tile is multiplied, and
// stores of a box row by row.

def Hopper_PlacesOp : Hopper_Op<"places", [Pure]> {
  let summary = "places the rows' numbers of one consumer warpgroup";
  let description = [{
    Gives the words that start at `offset` bytes after `base` plus those of the
    `consumer` warpgroups before this one.

    **Constraints**: (C1) the offset is a multiple of 16 below 2^31.

    ```mlir
    %places = hopper.places %shared at 65536 of %consumer : !hopper.places<192>
    ```
  }];
  let arguments = (ins Hopper_SharedPointer:$base, I64Attr:$offset, I32:$consumer);
  let results = (outs Hopper_PlacesType:$places);
  let assemblyFormat = "$base `at` $offset `of` $consumer attr-dict `:` qualified(type($places))";
  let hasVerifier = 1;
}

def Hopper_AskPlacesOp : Hopper_Op<"ask_places"> {
  let summary = "asks for the output rows of a tile's rows";
  let description = [{
    Row i of the tile, of `count` (cut at the type's rows), goes to row `index[row + i]`
    of the output.  Does not wait for them, but for the warpgroup, whose named barrier
    (its number in the CTA) it uses: all of it is done with the tile before.

    ```mlir
    hopper.ask_places %places, %index[%row] rows %count : !hopper.places<192>
    ```
  }];
  let arguments = (ins Hopper_PlacesType:$places, Hopper_Pointer:$index, I32:$row, I32:$count);
  let assemblyFormat = "$places `,` $index `[` $row `]` `rows` $count attr-dict `:` qualified(type($places))";
}

def Hopper_AskFactorsOp : Hopper_Op<"ask_factors"> {
  let summary = "asks for the factors of a tile's rows";
  let description = [{
    The row that goes to row r of the output is multiplied by `factors[r]`, f32.  Waits
    for what this thread has asked for by `hopper.ask_places`, with the same `count`, but
    not for the factors.

    ```mlir
    hopper.ask_factors %places, %factors rows %count : !hopper.places<192>
    ```
  }];
  let arguments = (ins Hopper_PlacesType:$places, Hopper_Pointer:$factors, I32:$count);
  let assemblyFormat = "$places `,` $factors `rows` $count attr-dict `:` qualified(type($places))";
}

// What both stores say of the output.
defvar scatterArguments = (ins Hopper_PlacesType:$places, Hopper_Pointer:$output, I32:$column, I32:$count,
                               I64Attr:$columns, UnitAttr:$scaled);

def Hopper_ScatterTileOp : Hopper_Op<"scatter_tile"> {
  let summary = "rounds a fragment to bf16 and stores its live rows where they belong";
  let description = [{
    As `hopper.store_tile`, but each row goes where `places` says, from `column` on, in
    an output of rows of `columns` elements; elements from there on are dropped.  With
    `scaled` a rounded row is multiplied by its factor and rounded again, as if another
    kernel did it.  Boxes take the buffers in turn.

    **Constraints**: (C1) the fragment is a whole number of boxes, the boxes a multiple
    of the buffers; (C2) a box has 64 columns, and rows of places; (C3) `columns` is a
    positive multiple of 8.

    ```mlir
    hopper.scatter_tile %values, %out, %places, %y[%column] rows %count of 4096 scaled
        : !hopper.fragment<64x256>, !hopper.staging<4, <64x64xbf16>>, !hopper.places<64>
    ```
  }];
  let arguments = !con((ins Hopper_FragmentType:$fragment, Hopper_StagingType:$staging), scatterArguments,
                       (ins UnitAttr:$transposed));
  let assemblyFormat = [{
    $fragment `,` $staging `,` $places `,` $output `[` $column `]` `rows` $count `of` $columns (`scaled` $scaled^)?
    (`transposed` $transposed^)? attr-dict
    `:` qualified(type($fragment)) `,` qualified(type($staging)) `,` qualified(type($places))
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Boxes that a fragment is cut into.
    int64_t getBoxes();
  }];
}

def Hopper_ScatterStagingOp : Hopper_Op<"scatter_staging"> {
  let summary = "stores the rows of the first buffers where they belong";
  let description = [{
    For `boxes` boxes that lie side by side in the output, once the warpgroup has written
    them: what `hopper.send_staging` is to `hopper.store_tile`.

    **Constraints**: (C1) there are so many buffers; (C2), (C3) as for
    `hopper.scatter_tile`.

    ```mlir
    hopper.scatter_staging %out boxes 2, %places, %y[%column] rows %count of 4096
        : !hopper.staging<2, <192x64xbf16>>, !hopper.places<192>
    ```
  }];
  let arguments = !con((ins Hopper_StagingType:$staging, I64Attr:$boxes), scatterArguments);
  let assemblyFormat = [{
    $staging `boxes` $boxes `,` $places `,` $output `[` $column `]` `rows` $count `of` $columns (`scaled` $scaled^)?
    attr-dict `:` qualified(type($staging)) `,` qualified(type($places))
  }];
  let hasVerifier = 1;
}

#endif
