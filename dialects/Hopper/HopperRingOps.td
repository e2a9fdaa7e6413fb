#ifndef MOE_DIALECTS_HOPPER_HOPPERRINGOPS_TD
#define MOE_DIALECTS_HOPPER_HOPPERRINGOPS_TD

include "dialects/Hopper/HopperTypes.td"
include "mlir/Dialect/LLVMIR/LLVMOpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Hopper_SharedPointer : LLVM_PointerInAddressSpace<3>;
def Hopper_Pointer : LLVM_PointerInAddressSpace<0>;

// CTAs that load for each other.
def Hopper_Cluster : ConfinedAttr<I64Attr, [IntMinValue<1>, IntMaxValue<16>]>;

// An op at one position of a ring.
class Hopper_RingOp<string mnemonic, list<Trait> traits = []> : Hopper_Op<mnemonic, traits>;

def Hopper_RingDeclOp : Hopper_Op<"ring", [Pure]> {
  let summary = "places a ring in shared memory";
  let description = [{
    Gives the ring that starts `offset` bytes after `base`.

    **Constraints**: (C1) the offset is a multiple of 1024, the period of the swizzle, below 2^31.

    ```mlir
    %ring = hopper.ring %shared at 65536 : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_SharedPointer:$base, I64Attr:$offset);
  let results = (outs Hopper_RingType:$ring);
  let assemblyFormat = "$base `at` $offset attr-dict `:` qualified(type($ring))";
  let hasVerifier = 1;
}

def Hopper_InitRingOp : Hopper_Op<"init_ring"> {
  let summary = "sets up the barriers of a ring";
  let description = [{
    `fill` arrivals complete a stage's `full` barrier (besides the bytes announced by
    `hopper.expect`), `drain` arrivals complete its `empty` barrier.  Run by one
    thread; a CTA barrier must follow before any other use of the ring.

    **Constraints**: (C1) both counts are positive.

    ```mlir
    hopper.init_ring %ring fill 1 drain 8 : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I64Attr:$fill, I64Attr:$drain);
  let assemblyFormat = "$ring `fill` $fill `drain` $drain attr-dict `:` qualified(type($ring))";
  let hasVerifier = 1;
}

def Hopper_AcquireOp : Hopper_RingOp<"acquire"> {
  let summary = "waits until a stage may be filled";
  let description = [{
    The first pass over the ring falls through: nobody has filled it yet.

    ```mlir
    hopper.acquire %ring[%position] : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position);
  let assemblyFormat = "$ring `[` $position `]` attr-dict `:` qualified(type($ring))";
}

def Hopper_ExpectOp : Hopper_RingOp<"expect"> {
  let summary = "announces the bytes that TMA will bring into a stage";
  let description = [{
    One arrival at the stage's `full` barrier, which then also waits for the bytes of
    the tiles listed, and of `rows` rows more; without either it is an arrival alone.
    Run by one thread, before its `hopper.tma_load`s.

    **Constraints**: (C1) tiles are named once each and exist in the ring.

    ```mlir
    hopper.expect %ring[%position] tiles [0, 1] : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, DenseI64ArrayAttr:$tiles, Optional<I32>:$rows);
  let assemblyFormat = "$ring `[` $position `]` `tiles` $tiles (`rows` $rows^)? attr-dict `:` qualified(type($ring))";
  let hasVerifier = 1;
}

def Hopper_TmaLoadOp : Hopper_RingOp<"tma_load"> {
  let summary = "loads one tile of a stage through a tensor map";
  let description = [{
    The map's box is the tile; `column` and `row` are its first element.  What lies
    outside of the map's matrix arrives as zero.  Run by one thread.  With `blocked`
    the map has four dimensions, over a matrix stored in blocks of 8 rows x 64
    columns, and `column` and `row` begin a block.  With `first` the box is a
    part of the tile, from that row of it on, a multiple of 8.  With `cluster` it goes to the stage of as many CTAs, each
    of which must have announced it.

    **Constraints**: (C1) the tile exists in the ring; (C2) a cluster has 1 to 16 CTAs.

    ```mlir
    hopper.tma_load %ring[%position] tile 1, %map[%column, %row]
        : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, I64Attr:$tile,
                       Hopper_Pointer:$map, I32:$column, I32:$row, Optional<I32>:$first,
                       UnitAttr:$blocked,
                       DefaultValuedAttr<Hopper_Cluster, "1">:$cluster);
  let assemblyFormat = [{
    $ring `[` $position `]` `tile` $tile (`first` $first^)? `,` $map `[` $column `,` $row `]`
    (`blocked` $blocked^)? (`cluster` $cluster^)? attr-dict `:` qualified(type($ring))
  }];
  let hasVerifier = 1;
}

def Hopper_GatherRowsOp : Hopper_Op<"gather_rows"> {
  let summary = "finds the source rows of a gathered tile";
  let description = [{
    Row i of the tile is row `index[r] / divisor`, r = min(row + i, end - 1), of the matrix
    at `base` whose rows are `pitch` elements apart; without `index` it is row r.  Run by
    128 threads, which share the tile: eight threads per row, 16 bytes each.

    **Constraints**: (C1) the pitch is a multiple of 16 bytes; (C2) the divisor is positive,
    and 1 without `index`.

    ```mlir
    %rows = hopper.gather_rows %tokens[%index] from %row below %end pitch 4096
        : !hopper.gathered<128x64xbf16>
    ```
  }];
  let arguments = (ins Hopper_Pointer:$base, Optional<Hopper_Pointer>:$index, I32:$row, I32:$end, I64Attr:$pitch,
                       DefaultValuedAttr<I64Attr, "1">:$divisor);
  let results = (outs Hopper_GatheredType:$rows);
  let assemblyFormat = [{
    $base (`[` $index^ `]`)? `from` $row `below` $end `pitch` $pitch attr-dict `:` qualified(type($rows))
  }];
  let hasVerifier = 1;
}

def Hopper_GatherLoadOp : Hopper_RingOp<"gather_load"> {
  let summary = "loads one tile of a stage from gathered rows";
  let description = [{
    Copies columns `column` ... of each row asynchronously; columns from `columns` on
    arrive as zero.  Run by the 128 threads of `hopper.gather_rows`, followed by their
    `hopper.commit`.  With `live` only the blocks of 16 rows that hold the first `live`
    ones are copied.

    **Constraints**: (C1) the tile exists in the ring and is the gathered one.

    ```mlir
    hopper.gather_load %ring[%position] tile 0, %rows[%column] of 4096
        : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, !hopper.gathered<128x64xbf16>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, I64Attr:$tile,
                       Hopper_GatheredType:$rows, I32:$column, Optional<I32>:$live, I64Attr:$columns);
  let assemblyFormat = [{
    $ring `[` $position `]` `tile` $tile `,` $rows `[` $column `]` `of` $columns (`live` $live^)? attr-dict
    `:` qualified(type($ring)) `,` qualified(type($rows))
  }];
  let hasVerifier = 1;
}

def Hopper_CommitOp : Hopper_RingOp<"commit"> {
  let summary = "arrives at a stage when this thread's gathered copies have landed";
  let description = [{
    ```mlir
    hopper.commit %ring[%position] : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position);
  let assemblyFormat = "$ring `[` $position `]` attr-dict `:` qualified(type($ring))";
}

def Hopper_WriteNoteOp : Hopper_RingOp<"write_note"> {
  let summary = "leaves four numbers beside a stage for those who wait for it";
  let description = [{
    Run by one thread between `hopper.acquire` and its own arrival at the stage.

    ```mlir
    hopper.write_note %ring[%position] %row, %live, %column, %expert
        : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, I32:$a, I32:$b, I32:$c, I32:$d);
  let assemblyFormat = "$ring `[` $position `]` $a `,` $b `,` $c `,` $d attr-dict `:` qualified(type($ring))";
}

def Hopper_ReadNoteOp : Hopper_RingOp<"read_note"> {
  let summary = "reads the numbers of `hopper.write_note`";
  let description = [{
    Between `hopper.wait_full` and `hopper.release` of the same stage.  All results are
    the same in all lanes.

    ```mlir
    %row, %live, %column, %expert = hopper.read_note %ring[%position]
        : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position);
  let results = (outs I32:$a, I32:$b, I32:$c, I32:$d);
  let assemblyFormat = "$ring `[` $position `]` attr-dict `:` qualified(type($ring))";
}

def Hopper_WaitFullOp : Hopper_RingOp<"wait_full"> {
  let summary = "waits until a stage is filled";
  let description = [{
    `gathered` says that ordinary copies filled part of it: wgmma reads through another
    proxy, so a fence follows.

    ```mlir
    hopper.wait_full %ring[%position] : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, UnitAttr:$gathered);
  let assemblyFormat = "$ring `[` $position `]` (`gathered` $gathered^)? attr-dict `:` qualified(type($ring))";
}

def Hopper_ReleaseOp : Hopper_RingOp<"release"> {
  let summary = "gives a stage back to the producer";
  let description = [{
    One arrival per warp at the stage's `empty` barrier, after all of its lanes got here.
    Every wgmma that reads the stage must have completed in this warp
    (`hopper.mma_throttle`, `hopper.mma_wait`).  With `cluster` it arrives in as many
    CTAs: their producers fill this stage as well.  With `when` it arrives where that is
    true, for all lanes or none, without a branch.

    **Constraints**: (C1) a cluster has 1 to 16 CTAs.

    ```mlir
    hopper.release %ring[%position] : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
    ```
  }];
  let arguments = (ins Hopper_RingType:$ring, I32:$position, Optional<I1>:$when,
                       DefaultValuedAttr<Hopper_Cluster, "1">:$cluster);
  let assemblyFormat = "$ring `[` $position `]` (`when` $when^)? (`cluster` $cluster^)? attr-dict `:` qualified(type($ring))";
}

#endif
