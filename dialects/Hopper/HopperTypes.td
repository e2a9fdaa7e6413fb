#ifndef MOE_DIALECTS_HOPPER_HOPPERTYPES_TD
#define MOE_DIALECTS_HOPPER_HOPPERTYPES_TD

include "dialects/Hopper/HopperDialect.td"
include "mlir/IR/AttrTypeBase.td"

class Hopper_Type<string name, string typeMnemonic> : TypeDef<Hopper_Dialect, name> {
  let mnemonic = typeMnemonic;
}

// A type that stands for rows x columns of f32 spread over one warpgroup.
class Hopper_ShapedType<string name, string typeMnemonic> : Hopper_Type<name, typeMnemonic> {
  let parameters = (ins "int64_t":$rows, "int64_t":$columns);
  let assemblyFormat = "`<` custom<Shape>($rows, $columns) `>`";
  let genVerifyDecl = 1;
}

def Hopper_TileType : Hopper_Type<"Tile", "tile"> {
  let summary = "a matrix in shared memory, swizzled as TMA and wgmma expect it";
  let description = [{
    Rows of 128 or 64 bytes, stored with the swizzle of that width.

    **Constraints**: (C1) a row has 128 or 64 bytes; (C2) rows are a multiple of 8.

    Example: `!hopper.tile<128x64xbf16>`.
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Bytes of one row: the width of the swizzle.
    int64_t getRowBytes() const;
    /// Bytes of the whole tile.
    int64_t getBytes() const;
  }];
}

def Hopper_RingType : Hopper_Type<"Ring", "ring"> {
  let summary = "stages of shared memory, each holding one tile per operand";
  let description = [{
    The tiles of one operand follow each other for all stages, then come those of
    the next operand, then one `full` and one `empty` barrier per stage, and 16 bytes
    for a note beside each stage.

    **Constraints**: (C1) at least one stage and one tile; (C2) every tile has
    128-byte rows and a whole number of 1024-byte swizzle atoms.

    Example: `!hopper.ring<3, <128x64xbf16>, <256x64xbf16>>`.
  }];
  let parameters = (ins "int64_t":$stages, ArrayRefParameter<"TileType">:$tiles);
  let assemblyFormat = "`<` $stages `,` $tiles `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Offset of the first stage of a tile from the ring's base, in bytes.
    int64_t getTileOffset(int64_t tile) const;
    /// Offset of the `full` barriers from the ring's base, in bytes; the `empty` ones follow.
    int64_t getBarrierOffset() const;
    /// Offset of the notes from the ring's base, in bytes, a multiple of 16.
    int64_t getNoteOffset() const;
    /// Bytes of the whole ring, barriers and notes included.
    int64_t getBytes() const;
  }];
}

def Hopper_StagingType : Hopper_Type<"Staging", "staging"> {
  let summary = "buffers in which one warpgroup hands boxes of its output to TMA";
  let description = [{
    **Constraints**: (C1) at least one buffer; (C2) the element type is bf16.

    Example: `!hopper.staging<4, <64x64xbf16>>`.
  }];
  let parameters = (ins "int64_t":$buffers, "TileType":$box);
  let assemblyFormat = "`<` $buffers `,` $box `>`";
  let genVerifyDecl = 1;
}

def Hopper_PlacesType : Hopper_Type<"Places", "places"> {
  let summary = "where in the output each row of a tile goes";
  let description = [{
    Shared memory of one warpgroup: a word per row with the number of its row of the
    output, then one per row with its factor.

    **Constraints**: (C1) rows are a multiple of 16, at most 256.

    Example: `!hopper.places<192>`.
  }];
  let parameters = (ins "int64_t":$rows);
  let assemblyFormat = "`<` $rows `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Offset of the factors, in bytes.
    int64_t getFactorOffset() const { return 4 * getRows(); }
    /// Bytes of one warpgroup.
    int64_t getBytes() const { return 8 * getRows(); }
  }];
}

def Hopper_FactorsType : Hopper_Type<"Factors", "factors"> {
  let summary = "what the sums of each stage of a ring are to be multiplied by";
  let description = [{
    Shared memory: for each stage an f32 per column of a product, then two of weights and
    two words of padding.

    **Constraints**: (C1) 1 to 32767 stages; (C2) columns are a multiple of 8, at most
    256.

    Example: `!hopper.factors<3, 160>`.
  }];
  let parameters = (ins "int64_t":$stages, "int64_t":$columns);
  let assemblyFormat = "`<` $stages `,` $columns `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Bytes of one stage.
    int64_t getStageBytes() const { return 4 * (getColumns() + 4); }
    /// Bytes of all stages.
    int64_t getBytes() const { return getStages() * getStageBytes(); }
  }];
}

def Hopper_AccumulatorType : Hopper_ShapedType<"Accumulator", "acc"> {
  let summary = "f32 accumulators of one warpgroup that wgmma may still be writing";
  let description = [{
    Nothing can read it; `hopper.mma_wait` turns it into a fragment.

    **Constraints**: (C1) 64 rows; (C2) columns are a multiple of 8, at most 256.

    Example: `!hopper.acc<64x256>`.
  }];
}

def Hopper_FragmentType : Hopper_ShapedType<"Fragment", "fragment"> {
  let summary = "rows x columns of f32 in the registers of one warpgroup";
  let description = [{
    `FragmentLayout` says which thread holds which element in which register.

    **Constraints**: (C1) 64 rows, or 32 after pairing rows; (C2) columns are a
    multiple of 8, at most 256.

    Example: `!hopper.fragment<64x128>`.
  }];
}

def Hopper_SliceType : Hopper_Type<"Slice", "slice"> {
  let summary = "one f32 per row (or per column) of a fragment, spread as its elements are";
  let description = [{
    Example: `!hopper.slice<rows, 64x128>`: one value per row.
  }];
  let parameters = (ins EnumParameter<Hopper_Axis>:$axis, "int64_t":$rows, "int64_t":$columns);
  let assemblyFormat = "`<` $axis `,` custom<Shape>($rows, $columns) `>`";
}

def Hopper_GatheredType : Hopper_Type<"Gathered", "gathered"> {
  let summary = "addresses of the rows of one gathered tile, spread over 128 threads";
  let description = [{
    **Constraints**: (C1) the tile's rows are a multiple of 16.

    Example: `!hopper.gathered<128x64xbf16>`.
  }];
  let parameters = (ins "TileType":$tile);
  let assemblyFormat = "`` $tile";
  let genVerifyDecl = 1;
}

#endif
