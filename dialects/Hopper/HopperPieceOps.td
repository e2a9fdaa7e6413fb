#ifndef MOE_DIALECTS_HOPPER_HOPPERPIECEOPS_TD
#define MOE_DIALECTS_HOPPER_HOPPERPIECEOPS_TD

include "dialects/Hopper/HopperTileOps.td"

// A fragment column by column on its way to the output, so that what is not live can be passed over: the steps of
// hopper.store_tile on their own.

def Hopper_TakeColumnsOp : Hopper_Op<"take_columns", [Pure]> {
  let summary = "columns of a fragment";
  let description = [{
    result[r, c] = fragment[r, first + c].

    **Constraints**: (C1) as many rows; (C2) `first` is a multiple of 8, and the columns
    are the fragment's.

    ```mlir
    %part = hopper.take_columns %values from 32 : !hopper.fragment<64x96> -> !hopper.fragment<64x16>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, I64Attr:$first);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = "$fragment `from` $first attr-dict `:` qualified(type($fragment)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

def Hopper_JoinColumnsOp : Hopper_Op<"join_columns", [Pure]> {
  let summary = "a fragment of the columns of several";
  let description = [{
    **Constraints**: (C1) as many rows; (C2) as many columns as all parts together.

    ```mlir
    %whole = hopper.join_columns %left, %right
        : !hopper.fragment<64x96>, !hopper.fragment<64x16> -> !hopper.fragment<64x112>
    ```
  }];
  let arguments = (ins Variadic<Hopper_FragmentType>:$parts);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = "$parts attr-dict `:` qualified(type($parts)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

def Hopper_PackOverOp : Hopper_Op<"pack_over", [Pure,
    TypesMatchWith<"a part keeps its type", "part", "result", "$_self">]> {
  let summary = "rounds values to bf16, in registers of what they were made from";
  let description = [{
    The result has the registers of `part`, the first of each few hold the values, two to
    a register, and the others what they held.  Only `hopper.write_staging` reads it;
    otherwise it is a fragment of unspecified values.  So a fragment is never needed
    beside what is made of it, nor undefined where it is made into nothing.

    **Constraints**: (C1) as many columns, as many rows or half of them.

    ```mlir
    %packed = hopper.pack_over %values, %part : !hopper.fragment<32x16> over !hopper.fragment<64x16>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$values, Hopper_FragmentType:$part);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = "$values `,` $part attr-dict `:` qualified(type($values)) `over` qualified(type($part))";
  let hasVerifier = 1;
}

def Hopper_AcquireStagingOp : Hopper_Op<"acquire_staging"> {
  let summary = "waits until the stores of this warpgroup have read their buffers";
  let description = [{
    Run by one warpgroup, whose named barrier (its number in the CTA) it uses.

    ```mlir
    hopper.acquire_staging %out : !hopper.staging<2, <192x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_StagingType:$staging);
  let assemblyFormat = "$staging attr-dict `:` qualified(type($staging))";
}

def Hopper_WriteStagingOp : Hopper_Op<"write_staging"> {
  let summary = "writes packed columns to rows of a buffer";
  let description = [{
    Columns of the fragment, which `hopper.pack_over` has packed, become rows of the box
    from `first` on.

    **Constraints**: (C1) the buffer exists; (C2) the box has the rows, and 64 or 32
    columns, as many as the packed values have rows; (C3) `first` is a multiple of 8.

    ```mlir
    hopper.write_staging %packed, %out[0] from 32 : !hopper.fragment<64x16>, !hopper.staging<2, <192x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$packed, Hopper_StagingType:$staging, I64Attr:$buffer, I64Attr:$first);
  let assemblyFormat = [{
    $packed `,` $staging `[` $buffer `]` `from` $first attr-dict `:` qualified(type($packed)) `,` qualified(type($staging))
  }];
  let hasVerifier = 1;
}

def Hopper_SendStagingOp : Hopper_Op<"send_staging"> {
  let summary = "hands the first buffers to TMA";
  let description = [{
    Stores rows `row .. row + count` of `boxes` boxes that lie side by side in the output,
    the first at `column`, as `hopper.store_tile` does, once the warpgroup has written
    them.

    **Constraints**: (C1) there are so many buffers.

    ```mlir
    hopper.send_staging %out boxes 2, %map[%column, %row] rows %count : !hopper.staging<2, <192x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_StagingType:$staging, I64Attr:$boxes, Hopper_Pointer:$map, I32:$column, I32:$row, I32:$count);
  let assemblyFormat = [{
    $staging `boxes` $boxes `,` $map `[` $column `,` $row `]` `rows` $count attr-dict `:` qualified(type($staging))
  }];
  let hasVerifier = 1;
}

#endif
