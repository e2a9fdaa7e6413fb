#ifndef MOE_DIALECTS_HOPPER_HOPPERTILEOPS_TD
#define MOE_DIALECTS_HOPPER_HOPPERTILEOPS_TD

include "dialects/Hopper/HopperRingOps.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Hopper_NextTileOp : Hopper_Op<"next_tile"> {
  let summary = "finds the output tile of one schedule step";
  let description = [{
    Rows of expert e are `offsets[e] .. offsets[e + 1]`, on the device.  Tiles are
    numbered expert by expert; inside one, passes of equal height (at most `pass` row
    tiles) go over all columns, columns outermost, and `rotate` shifts the row order
    per column so that a short last row tile meets every CTA.  `expert` and `first`
    (the number of that expert's first tile) only move forward: start with 0, 0 and
    feed the results back with a larger `tile`.  With `equal` the row tiles of an expert
    are as few as before, but of equal height, rounded up to that multiple; row tiles
    end where the next begins.

    | result | meaning |
    | --- | --- |
    | valid | there is such a tile; else the others are unspecified |
    | nextExpert, nextFirst | state for the following step |
    | row, end | first row of the tile; row where the expert (`equal`: the tile) ends |
    | column | first column of the tile |

    **Constraints**: (C1) all counts are positive; (C2) the tile's rows are a multiple of
    `equal`.

    ```mlir
    %valid, %e, %f, %row, %end, %column = hopper.next_tile %offsets, %tile from %expert, %first
        experts 8 columns 4096 tile 128x256 pass 16 rotate
    ```
  }];
  let arguments = (ins Hopper_Pointer:$offsets, I32:$tile, I32:$expert, I32:$first,
                       I64Attr:$experts, I64Attr:$columns, I64Attr:$tileRows,
                       I64Attr:$tileColumns, I64Attr:$passTiles, UnitAttr:$rotate,
                       OptionalAttr<I64Attr>:$equal);
  let results = (outs I1:$valid, I32:$nextExpert, I32:$nextFirst, I32:$row, I32:$end, I32:$column);
  let assemblyFormat = [{
    $offsets `,` $tile `from` $expert `,` $first `experts` $experts `columns` $columns
    `tile` custom<TileShape>($tileRows, $tileColumns) `pass` $passTiles (`rotate` $rotate^)?
    (`equal` $equal^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Hopper_MmaOp : Hopper_RingOp<"mma", [AttrSizedOperandSegments,
    OptionalTypesMatchWith<"the accumulator keeps its type", "result", "acc", "$_self">]> {
  let summary = "multiplies two tiles of a stage into the accumulators of one warpgroup";
  let description = [{
    result[m, n] = acc[m, n] + sum over k of lhs[row + m, k] * rhs[n, k], in f32;
    without `into`, acc counts as zero.  Asynchronous: issues one wgmma group.  With
    `first` the rows of rhs count from that one on.  With `zero unless`, acc counts as zero
    where that is false: then the result takes the registers of acc, so that what reads
    their values comes before.  With `columns` only the first ones, so many, are summed; the
    others keep what they hold.  A row of the tiles is a few steps of wgmma, of 32 bytes
    each: with `step` the product has `group` of them, and that is the number of the group.

    **Constraints**: (C1) both tiles exist and have the same columns and element type;
    (C2) lhs has at least as many rows as the accumulator, rhs from `first` on at least
    as many as are summed; (C3) `first` is a multiple of 8; (C4) `zero unless` and `columns`
    only with `into`; (C5) `columns` is a multiple of 8, at most those of the accumulator;
    (C6) `group` divides the steps of a row; (C7) it stands exactly beside `step`.

    ```mlir
    %next = hopper.mma %ring[%position] lhs 0 from %row rhs 1 into %acc
        : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x256>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, I64Attr:$lhs, I32:$row,
                       I64Attr:$rhs, Optional<Hopper_AccumulatorType>:$acc, Optional<I1>:$unless,
                       Optional<I32>:$step, DefaultValuedAttr<I64Attr, "0">:$first,
                       OptionalAttr<I64Attr>:$columns, OptionalAttr<I64Attr>:$group);
  let results = (outs Hopper_AccumulatorType:$result);
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$ring, "::mlir::Value":$position, "int64_t":$lhs,
    "::mlir::Value":$row, "int64_t":$rhs, "::mlir::Value":$acc, CArg<"::mlir::Value", "{}">:$unless, CArg<"int64_t", "0">:$first), [{
      // All columns, and a whole row of the tiles.
      build($_builder, $_state, type, ring, position, lhs, row, rhs, acc, unless, /*step=*/::mlir::Value(), first,
            /*columns=*/::mlir::IntegerAttr(), /*group=*/::mlir::IntegerAttr());
    }]>];
  let assemblyFormat = [{
    $ring `[` $position `]` `lhs` $lhs `from` $row `rhs` $rhs (`first` $first^)? (`columns` $columns^)? (`step` $step^ `group` $group)?
    (`into` $acc^)? (`zero` `unless` $unless^)? attr-dict
    `:` qualified(type($ring)) `->` qualified(type($result))
  }];
  let hasVerifier = 1;
}

def Hopper_MmaThrottleOp : Hopper_Op<"mma_throttle"> {
  let summary = "waits until at most so many wgmma groups are in flight";
  let description = [{
    Frees the stages that older groups read; the accumulators stay unreadable.

    **Constraints**: (C1) between 0 and 7 groups.

    ```mlir
    hopper.mma_throttle 1
    ```
  }];
  let arguments = (ins I64Attr:$pending);
  let assemblyFormat = "$pending attr-dict";
  let hasVerifier = 1;
}

def Hopper_MmaWaitOp : Hopper_Op<"mma_wait"> {
  let summary = "waits for all wgmma groups and gives the accumulators out";
  let description = [{
    The only way from accumulators to values: no read can move above the wait.  Those of
    one loop are given out together: ptxas takes a second wait for a beginning of products.

    **Constraints**: (C1) each fragment has its accumulators' shape.

    ```mlir
    %values = hopper.mma_wait %acc : !hopper.acc<64x256> -> !hopper.fragment<64x256>
    ```
  }];
  let arguments = (ins Variadic<Hopper_AccumulatorType>:$acc);
  let results = (outs Variadic<Hopper_FragmentType>:$fragment);
  // Fragments of the accumulators' shapes.
  let builders = [OpBuilder<(ins "::mlir::ValueRange":$acc)>];
  let assemblyFormat = "$acc attr-dict `:` qualified(type($acc)) `->` qualified(type($fragment))";
  let hasVerifier = 1;
}

def Hopper_MmaResumeOp : Hopper_Op<"mma_resume", [Pure]> {
  let summary = "gives a fragment back to wgmma as accumulators";
  let description = [{
    **Constraints**: (C1) fragment and accumulator have the same shape.

    ```mlir
    %acc = hopper.mma_resume %values : !hopper.fragment<64x128> -> !hopper.acc<64x128>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment);
  let results = (outs Hopper_AccumulatorType:$acc);
  let assemblyFormat = "$fragment attr-dict `:` qualified(type($fragment)) `->` qualified(type($acc))";
  let hasVerifier = 1;
}

def Hopper_LoadSliceOp : Hopper_Op<"load_slice"> {
  let summary = "loads one f32 per row or per column of a fragment";
  let description = [{
    Value i is `base[first + min(i, count - 1)]`: rows and columns past the end read
    the last one, and are not stored.

    ```mlir
    %weights = hopper.load_slice %scale[%first] below %count : !hopper.slice<rows, 64x256>
    ```
  }];
  let arguments = (ins Hopper_Pointer:$base, I32:$first, I32:$count);
  let results = (outs Hopper_SliceType:$slice);
  let assemblyFormat = "$base `[` $first `]` `below` $count attr-dict `:` qualified(type($slice))";
}

def Hopper_EpilogueOp : Hopper_Op<"epilogue", [
    SingleBlockImplicitTerminator<"YieldOp">, RecursiveMemoryEffects]> {
  let summary = "applies a function of f32 scalars to every element of a fragment";
  let description = [{
    The region sees the element and one value per slice.  With `pair`, it sees two
    elements, eight apart along that axis, and the result has half as many: blocks of
    eight alternate (first, second, first, ...), which places both elements of a pair
    in one thread in either orientation.

    | | fragment | region arguments | result |
    | --- | --- | --- | --- |
    | elementwise | R x C | element, slices | R x C |
    | `pair columns` | R x C | first, second, slices along rows | R x C/2 |
    | `pair rows` | 64 x C | first, second, slices along columns | 32 x C |

    **Constraints**: (C1) slices have the fragment's shape, and with `pair` the other
    axis; (C2) the result has the shape above; (C3) the region takes and yields f32 as
    above.

    ```mlir
    %scaled = hopper.epilogue %values, %weights {
    ^bb0(%x: f32, %w: f32):
      %y = arith.mulf %x, %w : f32
      hopper.yield %y
    } : (!hopper.fragment<64x256>, !hopper.slice<rows, 64x256>) -> !hopper.fragment<64x256>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, Variadic<Hopper_SliceType>:$slices,
                       OptionalAttr<Hopper_Axis>:$pair);
  let regions = (region SizedRegion<1>:$body);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = [{
    $fragment (`,` $slices^)? (`pair` $pair^)? $body attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Hopper_ZeroFragmentOp : Hopper_Op<"zero_fragment", [Pure]> {
  let summary = "a fragment of zeros";
  let description = [{
    ```mlir
    %zero = hopper.zero_fragment : !hopper.fragment<64x256>
    ```
  }];
  let results = (outs Hopper_FragmentType:$fragment);
  let assemblyFormat = "attr-dict `:` qualified(type($fragment))";
}

def Hopper_ScaleSliceOp : Hopper_Op<"scale_slice", [Pure,
    TypesMatchWith<"the slice keeps its type", "slice", "result", "$_self">]> {
  let summary = "multiplies the values of a slice";
  let description = [{
    ```mlir
    %units = hopper.scale_slice %tokens by %weight : !hopper.slice<rows, 64x128>
    ```
  }];
  let arguments = (ins Hopper_SliceType:$slice, F32:$factor);
  let results = (outs Hopper_SliceType:$result);
  let assemblyFormat = "$slice `by` $factor attr-dict `:` qualified(type($slice))";
}

def Hopper_PromoteOp : Hopper_Op<"promote", [Pure, TypesMatchWith<"the sum keeps its type", "sum", "result", "$_self">]> {
  let summary = "adds a scaled fragment to columns of a sum";
  let description = [{
    sum[r, first + c] += partial[r, c] * u, where u is a slice's value for the row or
    column: of the only slice; with `alternate` of the first and the second of two in
    turn for blocks of eight along that axis; or of one for each 128 columns.

    **Constraints**: (C1) slices have one type, of the shape of `partial`; (C2) two
    slices with `alternate`, else one, or one for each 128 columns; (C3) `sum` has the
    rows of `partial` and at least `first` plus its columns; (C4) `first` is a multiple
    of 16.

    ```mlir
    %next = hopper.promote %partial by %gate, %up alternate columns into %sum first 128
        : !hopper.fragment<64x128>, !hopper.slice<rows, 64x128>, !hopper.slice<rows, 64x128>
          into !hopper.fragment<64x256>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$partial, Variadic<Hopper_SliceType>:$units,
                       Hopper_FragmentType:$sum, OptionalAttr<Hopper_Axis>:$alternate,
                       DefaultValuedAttr<I64Attr, "0">:$first);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = [{
    $partial `by` $units (`alternate` $alternate^)? `into` $sum (`first` $first^)? attr-dict
    `:` qualified(type($partial)) `,` qualified(type($units)) `into` qualified(type($sum))
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$partial, "::mlir::ValueRange":$units, "::mlir::Value":$sum,
    "::moe::hopper::AxisAttr":$alternate, "int64_t":$first), [{
      build($_builder, $_state, sum.getType(), partial, units, sum, alternate, first);
    }]>];
  let hasVerifier = 1;
}

def Hopper_RescaleOp : Hopper_Op<"rescale", [Pure, AttrSizedOperandSegments,
    TypesMatchWith<"the fragment keeps its type", "fragment", "result", "$_self">]> {
  let summary = "expresses a fragment in other units";
  let description = [{
    result[r, c] = fragment[r, c] * from / to, units chosen as by `hopper.promote` and at
    least 1e-20.  Without `to` the new unit is 1.

    **Constraints**: (C1) slices have one type, of the shape of the fragment; (C2) as
    many slices on both sides, as many as for `hopper.promote`.

    ```mlir
    %next = hopper.rescale %values from %old to %new
        : !hopper.fragment<64x128>, !hopper.slice<rows, 64x128> to !hopper.slice<rows, 64x128>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, Variadic<Hopper_SliceType>:$from,
                       Variadic<Hopper_SliceType>:$to, OptionalAttr<Hopper_Axis>:$alternate);
  let results = (outs Hopper_FragmentType:$result);
  let assemblyFormat = [{
    $fragment `from` $from (`to` $to^)? (`alternate` $alternate^)? attr-dict
    `:` qualified(type($fragment)) `,` qualified(type($from)) (`to` qualified(type($to))^)?
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$fragment, "::mlir::ValueRange":$from, "::mlir::ValueRange":$to,
    "::moe::hopper::AxisAttr":$alternate), [{
      build($_builder, $_state, fragment.getType(), fragment, from, to, alternate);
    }]>];
  let hasVerifier = 1;
}

def Hopper_YieldOp : Hopper_Op<"yield", [Pure, Terminator, HasParent<"EpilogueOp">]> {
  let summary = "the value of one element of an epilogue";
  let description = [{
    ```mlir
    hopper.yield %y
    ```
  }];
  let arguments = (ins F32:$value);
  let assemblyFormat = "$value attr-dict";
  // Asked for by the implicit terminator; an op without value does not verify.
  let builders = [OpBuilder<(ins)>];
}

def Hopper_StagingOp : Hopper_Op<"staging", [Pure]> {
  let summary = "places the output buffers of one consumer warpgroup";
  let description = [{
    Gives the buffers that start at `offset` bytes after `base` plus those of the
    `consumer` warpgroups before this one.

    **Constraints**: (C1) the offset is a multiple of 1024 below 2^31.

    ```mlir
    %out = hopper.staging %shared at 0 of %consumer : !hopper.staging<4, <64x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_SharedPointer:$base, I64Attr:$offset, I32:$consumer);
  let results = (outs Hopper_StagingType:$staging);
  let assemblyFormat = "$base `at` $offset `of` $consumer attr-dict `:` qualified(type($staging))";
  let hasVerifier = 1;
}

def Hopper_StoreTileOp : Hopper_Op<"store_tile"> {
  let summary = "rounds a fragment to bf16 and stores its live rows";
  let description = [{
    Writes rows `row .. row + count` of the output, `count` cut at the fragment's rows
    and at zero; columns outside of the output are dropped by the map.  `transposed`
    fragments hold the output's columns as their rows.  Run by one warpgroup, whose
    named barrier (its number in the CTA) it uses.

    The output is seen through a map of three dimensions, (columns, B, rows + B + 1)
    for a box of B rows, both outer strides one row, its base B rows before the output:
    element (x, y, z) is row y + z - B, so a box at y = B - n, z = row + n holds
    exactly n rows and full tiles and tails are the same instruction.

    Boxes take the buffers in turn and wait for the buffer's last store.  That counts
    stores, so a tile is whole rounds of buffers.

    **Constraints**: (C1) the fragment is a whole number of boxes; (C2) the boxes are a
    multiple of the buffers.

    ```mlir
    hopper.store_tile %values, %out, %map[%column, %row] rows %count
        : !hopper.fragment<64x256>, !hopper.staging<4, <64x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, Hopper_StagingType:$staging,
                       Hopper_Pointer:$map, I32:$column, I32:$row, I32:$count, UnitAttr:$transposed);
  let assemblyFormat = [{
    $fragment `,` $staging `,` $map `[` $column `,` $row `]` `rows` $count
    (`transposed` $transposed^)? attr-dict `:` qualified(type($fragment)) `,` qualified(type($staging))
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Boxes that a fragment is cut into.
    int64_t getBoxes();
  }];
}

def Hopper_StoreQuantizedOp : Hopper_Op<"store_quantized"> {
  let summary = "rounds a fragment to e4m3 with a scale per row and stores its live rows";
  let description = [{
    The scale of a row is its largest magnitude / 448 (that of columns below `columns`,
    as `column` counts them), and goes to `scales[column / 128 * pitch + row]`; what is
    stored is the element divided by it.  Otherwise as `hopper.store_tile` with one box:
    map and box count pairs of e4m3 as one element of two bytes.

    **Constraints**: (C1) the fragment has 64 rows and 128 columns, the box 64 and 64;
    (C2) there is one buffer; (C3) `columns` is positive.

    ```mlir
    hopper.store_quantized %values, %out, %map[%column, %row] rows %count of 2048 scales %scales pitch %pitch
        : !hopper.fragment<64x128>, !hopper.staging<1, <64x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, Hopper_StagingType:$staging,
                       Hopper_Pointer:$map, I32:$column, I32:$row, I32:$count, I64Attr:$columns,
                       Hopper_Pointer:$scales, I32:$pitch);
  let assemblyFormat = [{
    $fragment `,` $staging `,` $map `[` $column `,` $row `]` `rows` $count `of` $columns `scales` $scales
    `pitch` $pitch attr-dict `:` qualified(type($fragment)) `,` qualified(type($staging))
  }];
  let hasVerifier = 1;
}

def Hopper_DrainStoresOp : Hopper_Op<"drain_stores"> {
  let summary = "waits until all stores of this warpgroup are complete";
  let description = [{
    ```mlir
    hopper.drain_stores
    ```
  }];
  let assemblyFormat = "attr-dict";
}

#endif
