// What a program's host code asks of a device; all but `read` are enqueued on the rank's stream.
#ifndef MOERT_DEVICE_OPS_TD
#define MOERT_DEVICE_OPS_TD
include "dialects/Moert/MoertTeamOps.td"

def Moert_Argument : AnyTypeOf<[AnyStridedMemRef, I32, I64, F32], "buffer, i32, i64 or f32">;

def Moert_LaunchOp : Moert_EntryOp<"launch"> {
  let summary = "run a kernel of the module's `moert.kernels`";
  let description = [{
    `kernel` is a number in `moert.kernels`. A `grid` of 0 CTAs launches nothing, -1 fills the device. Buffers are passed as the address of their
    first element; an i32 stands for a slot of tensor maps where the kernel's parameter is `map`.

    ```mlir
    moert.launch 2 grid(%n) (%x, %y, %count : memref<?x64xbf16>, memref<?x64xbf16>, i32)
    ```
    **Constraints**: (C1) the module has that kernel; (C2) arguments are as many as its parameters and of their kinds
  }];
  let arguments = (ins ConfinedAttr<I32Attr, [IntNonNegative]>:$kernel, Index:$grid, Variadic<Moert_Argument>:$arguments);
  let assemblyFormat = "$kernel `grid` `(` $grid `)` `(` ($arguments^ `:` type($arguments))? `)` attr-dict";
  let hasVerifier = 1;
}

def Moert_TensorMapOp : Moert_EntryOp<"tensor_map"> {
  let summary = "fill a slot with the map of a row-major matrix";
  let description = [{
    The matrix begins at `buffer` and has `rows` rows of `columns` elements, `pitch` elements apart. A box has `box_rows` x `box_columns` elements and is swizzled by its
    width in bytes. With `ragged` the map has three dimensions (columns, box_rows, rows + box_rows + 1), both outer strides one row, and begins
    `box_rows` rows before the matrix: a box at y = box_rows - n, z = row + n holds rows row .. row + n - 1 and nothing else. With `blocked` the matrix is stored in
    blocks of 8 rows x 64 columns, one block of columns after the other; the map has the dimensions (64, 8, columns / 64, rows / 8).

    ```mlir
    moert.tensor_map 0 %h rows(%m) columns 64 pitch 64 box [128, 64] ragged : memref<?x64xbf16>
    ```
    **Constraints**
    - (C1) elements are bf16 or f32; a pitch is a multiple of 16 bytes, and not below `columns`
    - (C2) a box has 1 to 256 rows, and columns of 32, 64 or 128 bytes
    - (C3) what is blocked is bf16, not ragged, has columns of whole blocks without a gap between rows, and boxes of 64 columns and whole blocks of rows
  }];
  let arguments = (ins ConfinedAttr<I32Attr, [IntNonNegative]>:$slot, AnyStridedMemRef:$buffer, Index:$rows, I64Attr:$columns, I64Attr:$pitch,
    I64Attr:$box_rows, I64Attr:$box_columns, UnitAttr:$ragged, UnitAttr:$blocked);
  let assemblyFormat = [{
    $slot $buffer `rows` `(` $rows `)` `columns` $columns `pitch` $pitch `box` `[` $box_rows `,` $box_columns `]` (`ragged` $ragged^)? (`blocked` $blocked^)? attr-dict
    `:` type($buffer)
  }];
  let hasVerifier = 1;
}

def Moert_CopyOp : Moert_EntryOp<"copy"> {
  let summary = "copy one buffer of the device to another";
  let description = [{
    ```mlir
    moert.copy %a, %b : memref<?x64xbf16>, memref<?x64xbf16>
    ```
    **Constraints**: (C1) both are dense, row-major, of one element type and shape
  }];
  let arguments = (ins AnyStridedMemRef:$source, AnyStridedMemRef:$target);
  let assemblyFormat = "$source `,` $target attr-dict `:` type($source) `,` type($target)";
  let hasVerifier = 1;
}

def Moert_ReadOp : Moert_EntryOp<"read"> {
  let summary = "copy a buffer of the device to the host and wait for it";
  let description = [{
    ```mlir
    moert.read %counts, %host : memref<4x2xi32>, memref<4x2xi32>
    ```
    **Constraints**: (C1) as for copy
  }];
  let arguments = (ins AnyStridedMemRef:$source, AnyStridedMemRef:$target);
  let assemblyFormat = "$source `,` $target attr-dict `:` type($source) `,` type($target)";
  let hasVerifier = 1;
}

def Moert_VariantOp : Moert_EntryOp<"variant"> {
  let summary = "ask the runtime which of several variants of a step is wanted";
  let description = [{
    `choice` is a number in the interface's `moert.variants`; the word on the host becomes the number of the variant: 0 is what the kernel table says, i the i-th of those
    listed. Programs that are timed (`--variants=all`) alone have it.

    ```mlir
    moert.variant 0, %word : memref<1xi32>
    ```
    **Constraints**: (C1) the word is memref<1xi32>
  }];
  let arguments = (ins ConfinedAttr<I32Attr, [IntNonNegative]>:$choice, AnyStridedMemRef:$word);
  let assemblyFormat = "$choice `,` $word attr-dict `:` type($word)";
  let hasVerifier = 1;
}

def Moert_StatusOp : Moert_Op<"status", [Pure]> {
  let summary = "the word of the device where kernels say that the program has to end";
  let description = [{
    A kernel writes a `moert_failure` there; the runtime looks at it when it next waits for the stream.

    ```mlir
    %s = moert.status : memref<1xi32>
    ```
    **Constraints**: (C1) the result is memref<1xi32>
  }];
  let results = (outs MemRefRankOf<[I32], [1]>:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}
#endif
