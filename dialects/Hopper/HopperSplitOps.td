#ifndef MOE_DIALECTS_HOPPER_HOPPERSPLITOPS_TD
#define MOE_DIALECTS_HOPPER_HOPPERSPLITOPS_TD

include "dialects/Hopper/HopperTileOps.td"

def Hopper_CountTilesOp : Hopper_Op<"count_tiles"> {
  let summary = "counts the output tiles that a schedule has";
  let description = [{
    As many as `hopper.next_tile` finds with the same numbers.  Run by all lanes of a
    warp, which share the experts; the result is the same in each.

    **Constraints**: (C1) all counts are positive.

    ```mlir
    %tiles = hopper.count_tiles %offsets experts 8 columns 4096 tile 32x128
    ```
  }];
  let arguments = (ins Hopper_Pointer:$offsets, I64Attr:$experts, I64Attr:$columns,
                       I64Attr:$tileRows, I64Attr:$tileColumns);
  let results = (outs I32:$tiles);
  let assemblyFormat = [{
    $offsets `experts` $experts `columns` $columns `tile` custom<TileShape>($tileRows, $tileColumns) attr-dict
  }];
  let hasVerifier = 1;
}

def Hopper_DrawTicketOp : Hopper_Op<"draw_ticket"> {
  let summary = "draws a number that no other CTA draws";
  let description = [{
    Numbers are consecutive from what the counter in memory holds.  Run by one thread.

    ```mlir
    %number = hopper.draw_ticket %counter
    ```
  }];
  let arguments = (ins Hopper_Pointer:$counter);
  let results = (outs I32:$number);
  let assemblyFormat = "$counter attr-dict";
}

def Hopper_StorePartOp : Hopper_Op<"store_part"> {
  let summary = "leaves a fragment in memory for another CTA to sum";
  let description = [{
    Parts lie one after the other, in the order of the warpgroup's registers: only
    `hopper.sum_parts` of the same fragment type reads them.  Run by one warpgroup.

    ```mlir
    hopper.store_part %values, %parts[%number] : !hopper.fragment<64x32>
    ```
  }];
  let arguments = (ins Hopper_FragmentType:$fragment, Hopper_Pointer:$parts, I32:$number);
  let assemblyFormat = "$fragment `,` $parts `[` $number `]` attr-dict `:` qualified(type($fragment))";
}

def Hopper_ArrivePartOp : Hopper_Op<"arrive_part"> {
  let summary = "says that a part is stored, and learns whether it was the last";
  let description = [{
    True for the warpgroup that arrives as the last of `count`: what all of them stored
    before is visible to it then, and the counter is zero again.  Run by one warpgroup,
    whose named barrier (its number in the CTA) it uses.

    **Constraints**: (C1) the count is positive.

    ```mlir
    %last = hopper.arrive_part %counters[%number] of 4
    ```
  }];
  let arguments = (ins Hopper_Pointer:$counters, I32:$number, I64Attr:$count);
  let results = (outs I1:$last);
  let assemblyFormat = "$counters `[` $number `]` `of` $count attr-dict";
  let hasVerifier = 1;
}

def Hopper_SumPartsOp : Hopper_Op<"sum_parts"> {
  let summary = "the sum of consecutive parts, in their order";
  let description = [{
    After the `hopper.arrive_part` that was the last.  Run by one warpgroup.

    **Constraints**: (C1) the count is positive.

    ```mlir
    %values = hopper.sum_parts %parts[%first] count 4 : !hopper.fragment<64x32>
    ```
  }];
  let arguments = (ins Hopper_Pointer:$parts, I32:$first, I64Attr:$count);
  let results = (outs Hopper_FragmentType:$fragment);
  let assemblyFormat = "$parts `[` $first `]` `count` $count attr-dict `:` qualified(type($fragment))";
  let hasVerifier = 1;
}

#endif
