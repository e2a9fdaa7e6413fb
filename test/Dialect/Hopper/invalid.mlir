// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{tile has rows of 256 bytes, but a swizzled row has 128 or 64}}
func.func private @wide_row(!hopper.tile<128x128xbf16>)

// -----

// expected-error @+1 {{tile has 12 rows, expected a positive multiple of 8}}
func.func private @ragged_tile(!hopper.tile<12x64xbf16>)

// -----

// expected-error @+1 {{tile of 'f32', but only bf16 and f8E4M3FN are supported}}
func.func private @f32_tile(!hopper.tile<128x32xf32>)

// -----

// expected-error @+1 {{expected rows x columns, but found 3 dimensions}}
func.func private @three_dimensions(!hopper.tile<2x128x64xbf16>)

// -----

// expected-error @+1 {{ring tile '!hopper.tile<128x32xbf16>' has rows of 64 bytes, expected 128}}
func.func private @narrow_ring(!hopper.ring<3, <128x32xbf16>>)

// -----

// expected-error @+1 {{ring has 0 stages of 1 tiles, expected at least one of each}}
func.func private @no_stage(!hopper.ring<0, <128x64xbf16>>)

// -----

// expected-error @+1 {{staging has 0 buffers, expected at least 1}}
func.func private @no_buffer(!hopper.staging<0, <64x64xbf16>>)

// -----

// expected-error @+1 {{staging of 'f8E4M3FN', but only bf16 is stored}}
func.func private @fp8_staging(!hopper.staging<1, <64x128xf8E4M3FN>>)

// -----

// expected-error @+1 {{gathered tile has 8 rows, expected a multiple of 16}}
func.func private @few_gathered_rows(!hopper.gathered<8x64xbf16>)

// -----

// expected-error @+1 {{accumulator has 128 rows, but wgmma always has 64}}
func.func private @tall_accumulator(!hopper.acc<128x64>)

// -----

// expected-error @+1 {{fragment has 260 columns, expected a multiple of 8 up to 256}}
func.func private @odd_fragment(!hopper.fragment<64x260>)

// -----

// expected-error @+1 {{fragment has 16 rows, expected 64 or 32}}
func.func private @short_fragment(!hopper.fragment<16x64>)

// -----

func.func @misplaced_ring(%shared: !llvm.ptr<3>) {
  // expected-error @+1 {{starts at byte 512, expected a multiple of 1024 such as 1024}}
  %ring = hopper.ring %shared at 512 : !hopper.ring<3, <128x64xbf16>>
  return
}

// -----

func.func @ring_beyond_all_memory(%shared: !llvm.ptr<3>) {
  // expected-error @+1 {{starts at byte 9223372036854775807, expected a multiple of 1024 such as 2147482624}}
  %ring = hopper.ring %shared at 9223372036854775807 : !hopper.ring<3, <128x64xbf16>>
  return
}

// -----

func.func @staging_beyond_all_memory(%shared: !llvm.ptr<3>, %i: i32) {
  // expected-error @+1 {{starts at byte 2147483648, expected a multiple of 1024 such as 2147482624}}
  %out = hopper.staging %shared at 2147483648 of %i : !hopper.staging<4, <64x64xbf16>>
  return
}

// -----

func.func @no_arrivals(%ring: !hopper.ring<3, <128x64xbf16>>) {
  // expected-error @+1 {{has 0 fill and 8 drain arrivals, expected at least 1 of each}}
  hopper.init_ring %ring fill 0 drain 8 : !hopper.ring<3, <128x64xbf16>>
  return
}

// -----

func.func @unknown_tile(%ring: !hopper.ring<3, <128x64xbf16>>, %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{names tile 1, but the ring has 1}}
  hopper.tma_load %ring[%i] tile 1, %map[%i, %i] : !hopper.ring<3, <128x64xbf16>>
  return
}

// -----

func.func @cluster_without_end(%ring: !hopper.ring<3, <128x64xbf16>>, %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{attribute 'cluster' failed to satisfy constraint: 64-bit signless integer attribute whose minimum value is 1 whose maximum value is 16}}
  hopper.tma_load %ring[%i] tile 0, %map[%i, %i] cluster 9223372036854775807 : !hopper.ring<3, <128x64xbf16>>
  return
}

// -----

func.func @pitch_below_all(%tokens: !llvm.ptr, %index: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{has rows -9223372036854775808 elements apart, expected 1 to 2147483647}}
  %rows = hopper.gather_rows %tokens[%index] from %i below %i pitch -9223372036854775808 : !hopper.gathered<128x64xbf16>
  return
}

// -----

func.func @pitch_without_end(%tokens: !llvm.ptr, %index: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{has rows 4611686018427387904 elements apart, expected 1 to 2147483647}}
  %rows = hopper.gather_rows %tokens[%index] from %i below %i pitch 4611686018427387904 : !hopper.gathered<128x64xbf16>
  return
}

// -----

func.func @tile_expected_twice(%ring: !hopper.ring<3, <128x64xbf16>>, %i: i32) {
  // expected-error @+1 {{names tile 0 twice}}
  hopper.expect %ring[%i] tiles [0, 0] : !hopper.ring<3, <128x64xbf16>>
  return
}

// -----

func.func @odd_pitch(%tokens: !llvm.ptr, %index: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{has rows 200 bytes apart, expected a positive multiple of 16}}
  %rows = hopper.gather_rows %tokens[%index] from %i below %i pitch 100 : !hopper.gathered<128x64xbf16>
  return
}

// -----

func.func @other_gathered_tile(%ring: !hopper.ring<3, <128x64xbf16>>,
                               %rows: !hopper.gathered<64x64xbf16>, %i: i32) {
  // expected-error @+1 {{loads rows of '!hopper.tile<64x64xbf16>' into '!hopper.tile<128x64xbf16>'}}
  hopper.gather_load %ring[%i] tile 0, %rows[%i] of 4096
      : !hopper.ring<3, <128x64xbf16>>, !hopper.gathered<64x64xbf16>
  return
}

// -----

func.func @mixed_operands(%ring: !hopper.ring<3, <128x64xbf16>, <256x128xf8E4M3FN>>, %i: i32) {
  // expected-error @+1 {{expected equal columns and element types}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1
      : !hopper.ring<3, <128x64xbf16>, <256x128xf8E4M3FN>> -> !hopper.acc<64x256>
  return
}

// -----

func.func @operand_too_small(%ring: !hopper.ring<3, <128x64xbf16>, <128x64xbf16>>, %i: i32) {
  // expected-error @+1 {{needs 64 rows of lhs and 256 of rhs, but they have 128 and 128}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1
      : !hopper.ring<3, <128x64xbf16>, <128x64xbf16>> -> !hopper.acc<64x256>
  return
}

// -----

func.func @too_many_groups() {
  // expected-error @+1 {{keeps 8 groups in flight, expected 0 to 7}}
  hopper.mma_throttle 8
  return
}

// -----

func.func @other_shape(%acc: !hopper.acc<64x256>) {
  // expected-error @+1 {{expected the same shape}}
  %values = hopper.mma_wait %acc : !hopper.acc<64x256> -> !hopper.fragment<64x128>
  return
}

// -----

func.func @slice_of_another_shape(%x: !hopper.fragment<64x64>, %s: !hopper.slice<rows, 64x128>) {
  // expected-error @+1 {{expected the shape of '!hopper.fragment<64x64>'}}
  %y = hopper.epilogue %x, %s {
  ^bb0(%a: f32, %b: f32):
    hopper.yield %a
  } : (!hopper.fragment<64x64>, !hopper.slice<rows, 64x128>) -> !hopper.fragment<64x64>
  return
}

// -----

func.func @slice_along_the_pairs(%x: !hopper.fragment<64x64>, %s: !hopper.slice<columns, 64x64>) {
  // expected-error @+1 {{pairs columns, so a slice along them has two values per result, expected the other axis}}
  %y = hopper.epilogue %x, %s pair columns {
  ^bb0(%a: f32, %b: f32, %c: f32):
    hopper.yield %a
  } : (!hopper.fragment<64x64>, !hopper.slice<columns, 64x64>) -> !hopper.fragment<64x32>
  return
}

// -----

func.func @unhalved_result(%x: !hopper.fragment<64x64>) {
  // expected-error @+1 {{gives '!hopper.fragment<64x64>', expected 64x32}}
  %y = hopper.epilogue %x pair columns {
  ^bb0(%a: f32, %b: f32):
    hopper.yield %a
  } : (!hopper.fragment<64x64>) -> !hopper.fragment<64x64>
  return
}

// -----

func.func @missing_argument(%x: !hopper.fragment<64x64>) {
  // expected-error @+1 {{has a region of 1 arguments, expected 2 f32}}
  %y = hopper.epilogue %x pair columns {
  ^bb0(%a: f32):
    hopper.yield %a
  } : (!hopper.fragment<64x64>) -> !hopper.fragment<64x32>
  return
}

// -----

func.func @uneven_boxes(%x: !hopper.fragment<64x96>, %out: !hopper.staging<1, <64x64xbf16>>,
                        %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{expected a whole number of them}}
  hopper.store_tile %x, %out, %map[%i, %i] rows %i
      : !hopper.fragment<64x96>, !hopper.staging<1, <64x64xbf16>>
  return
}

// -----

func.func @uneven_buffers(%x: !hopper.fragment<64x64>, %out: !hopper.staging<2, <64x64xbf16>>,
                          %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{stores 1 boxes through 2 buffers, expected a multiple}}
  hopper.store_tile %x, %out, %map[%i, %i] rows %i
      : !hopper.fragment<64x64>, !hopper.staging<2, <64x64xbf16>>
  return
}

// -----

func.func @no_experts(%offsets: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{has 0 experts, expected at least 1}}
  %valid, %e, %f, %row, %end, %column = hopper.next_tile %offsets, %i from %i, %i
      experts 0 columns 4096 tile 128x256 pass 16
  return
}

// -----

func.func @equal_height(%offsets: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{rounds the height of row tiles of 128 to 48, expected a divisor}}
  %valid, %e, %f, %row, %end, %column = hopper.next_tile %offsets, %i from %i, %i
      experts 8 columns 4096 tile 128x256 pass 16 equal 48
  return
}

// -----

func.func @columns_from_the_middle(%x: !hopper.fragment<64x96>) {
  // expected-error @+1 {{takes '!hopper.fragment<64x16>' from column 12 of '!hopper.fragment<64x96>' on, expected a multiple of 8 up to 80}}
  %y = hopper.take_columns %x from 12 : !hopper.fragment<64x96> -> !hopper.fragment<64x16>
  return
}

// -----

func.func @columns_behind_the_end(%x: !hopper.fragment<64x96>) {
  // expected-error @+1 {{from column 88 of '!hopper.fragment<64x96>' on, expected a multiple of 8 up to 80}}
  %y = hopper.take_columns %x from 88 : !hopper.fragment<64x96> -> !hopper.fragment<64x16>
  return
}

// -----

func.func @rows_of_columns(%x: !hopper.fragment<64x96>) {
  // expected-error @+1 {{expected as many rows}}
  %y = hopper.take_columns %x from 0 : !hopper.fragment<64x96> -> !hopper.fragment<32x16>
  return
}

// -----

func.func @joined_rows(%x: !hopper.fragment<64x96>, %y: !hopper.fragment<32x16>) {
  // expected-error @+1 {{makes '!hopper.fragment<64x112>' of '!hopper.fragment<32x16>', expected as many rows}}
  %z = hopper.join_columns %x, %y : !hopper.fragment<64x96>, !hopper.fragment<32x16> -> !hopper.fragment<64x112>
  return
}

// -----

func.func @joined_columns(%x: !hopper.fragment<64x96>) {
  // expected-error @+1 {{makes '!hopper.fragment<64x112>' of 192 columns, expected as many}}
  %z = hopper.join_columns %x, %x : !hopper.fragment<64x96>, !hopper.fragment<64x96> -> !hopper.fragment<64x112>
  return
}

// -----

func.func @packed_columns(%x: !hopper.fragment<64x8>, %part: !hopper.fragment<64x16>) {
  // expected-error @+1 {{packs '!hopper.fragment<64x8>' over '!hopper.fragment<64x16>', expected as many columns}}
  %y = hopper.pack_over %x, %part : !hopper.fragment<64x8> over !hopper.fragment<64x16>
  return
}

// -----

func.func @third_buffer(%x: !hopper.fragment<64x16>, %out: !hopper.staging<2, <192x64xbf16>>) {
  // expected-error @+1 {{writes buffer 2 of 2, expected 0 to 1}}
  hopper.write_staging %x, %out[2] from 0 : !hopper.fragment<64x16>, !hopper.staging<2, <192x64xbf16>>
  return
}

// -----

func.func @wide_box(%x: !hopper.fragment<32x16>, %out: !hopper.staging<1, <192x64xbf16>>) {
  // expected-error @+1 {{expected boxes of 32 or 16 columns}}
  hopper.write_staging %x, %out[0] from 0 : !hopper.fragment<32x16>, !hopper.staging<1, <192x64xbf16>>
  return
}

// -----

func.func @rows_behind_the_box(%x: !hopper.fragment<64x16>, %out: !hopper.staging<1, <192x64xbf16>>) {
  // expected-error @+1 {{writes 16 rows of a box of '!hopper.tile<192x64xbf16>' from 184 on, expected a multiple of 8 up to 176}}
  hopper.write_staging %x, %out[0] from 184 : !hopper.fragment<64x16>, !hopper.staging<1, <192x64xbf16>>
  return
}

// -----

func.func @boxes_without_buffers(%out: !hopper.staging<1, <192x64xbf16>>, %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{sends 2 of 1 buffers, expected 1 to 1}}
  hopper.send_staging %out boxes 2, %map[%i, %i] rows %i : !hopper.staging<1, <192x64xbf16>>
  return
}

// -----

func.func @unknown_accumulators(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32, %keep: i1) {
  // expected-error @+1 {{drops accumulators that it does not have}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 zero unless %keep
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x256>
  return
}

// -----

func.func @keeps_columns_of_nothing(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{keeps accumulators that it does not have}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 columns 64
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x256>
  return
}

// -----

func.func @more_columns_than_accumulators(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32, %acc: !hopper.acc<64x64>) {
  // expected-error @+1 {{sums 72 columns of '!hopper.acc<64x64>', expected a multiple of 8 up to all of them}}
  %next = hopper.mma %ring[%i] lhs 0 from %i rhs 1 columns 72 into %acc
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x64>
  return
}

// -----

func.func @steps_that_do_not_fill_a_row(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{has 3 of 4 steps in a group, expected a divisor}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 step %i group 3
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x256>
  return
}

// -----

// As only the generic form can say: the other one prints both.
func.func @step_without_group(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{has `step` alone, expected both `step` and `group`, or neither}}
  %acc = "hopper.mma"(%ring, %i, %i, %i) <{lhs = 0 : i64, rhs = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 1>}>
      : (!hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, i32, i32, i32) -> !hopper.acc<64x256>
  return
}

// -----

func.func @group_without_step(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{has `group` alone, expected both `step` and `group`, or neither}}
  %acc = "hopper.mma"(%ring, %i, %i) <{lhs = 0 : i64, rhs = 1 : i64, group = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>}>
      : (!hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, i32, i32) -> !hopper.acc<64x256>
  return
}

// -----

func.func @one_fragment_of_two(%acc: !hopper.acc<64x256>) {
  // expected-error @+1 {{gives 1 fragments out of 2 accumulators, expected as many}}
  %values = hopper.mma_wait %acc, %acc : !hopper.acc<64x256>, !hopper.acc<64x256> -> !hopper.fragment<64x256>
  return
}

// -----

func.func @half_behind_the_end(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{needs 64 rows of lhs and 320 of rhs, but they have 128 and 256}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 first 192
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x128>
  return
}

// -----

func.func @half_without_end(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{begins at row 9223372036854775800 of rhs, expected a multiple of 8}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 first 9223372036854775800
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x128>
  return
}

// -----

func.func @half_between_groups(%ring: !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>, %i: i32) {
  // expected-error @+1 {{begins at row 4 of rhs, expected a multiple of 8}}
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 first 4
      : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>> -> !hopper.acc<64x128>
  return
}

// -----

func.func @resumed_in_another_shape(%x: !hopper.fragment<64x64>) {
  // expected-error @+1 {{makes '!hopper.acc<64x128>' of '!hopper.fragment<64x64>', expected the same shape}}
  %acc = hopper.mma_resume %x : !hopper.fragment<64x64> -> !hopper.acc<64x128>
  return
}

// -----

func.func @lonely_alternation(%x: !hopper.fragment<64x64>, %u: !hopper.slice<rows, 64x64>) {
  // expected-error @+1 {{has 1 slices for '!hopper.fragment<64x64>', expected 2 that alternate}}
  %y = hopper.promote %x by %u alternate columns into %x : !hopper.fragment<64x64>, !hopper.slice<rows, 64x64> into !hopper.fragment<64x64>
  return
}

// -----

func.func @units_of_another_shape(%x: !hopper.fragment<64x64>, %u: !hopper.slice<rows, 64x128>) {
  // expected-error @+1 {{expected slices of one type and of the shape of '!hopper.fragment<64x64>'}}
  %y = hopper.promote %x by %u into %x : !hopper.fragment<64x64>, !hopper.slice<rows, 64x128> into !hopper.fragment<64x64>
  return
}

// -----

func.func @part_behind_the_sum(%x: !hopper.fragment<64x64>, %u: !hopper.slice<rows, 64x64>) {
  // expected-error @+1 {{from column 16 on to '!hopper.fragment<64x64>', expected it to fit}}
  %y = hopper.promote %x by %u into %x first 16 : !hopper.fragment<64x64>, !hopper.slice<rows, 64x64> into !hopper.fragment<64x64>
  return
}

// -----

func.func @other_units(%x: !hopper.fragment<64x256>, %u: !hopper.slice<rows, 64x256>) {
  // expected-error @+1 {{goes from 1 slices to 2, expected the same types}}
  %y = hopper.rescale %x from %u to %u, %u : !hopper.fragment<64x256>, !hopper.slice<rows, 64x256>
      to !hopper.slice<rows, 64x256>, !hopper.slice<rows, 64x256>
  return
}

// -----

func.func @part_of_a_block(%x: !hopper.fragment<64x64>, %out: !hopper.staging<1, <64x64xbf16>>, %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{expected 64x128 in 64x64}}
  hopper.store_quantized %x, %out, %map[%i, %i] rows %i of 64 scales %map pitch %i
      : !hopper.fragment<64x64>, !hopper.staging<1, <64x64xbf16>>
  return
}

// -----

func.func @several_buffers(%x: !hopper.fragment<64x128>, %out: !hopper.staging<2, <64x64xbf16>>, %map: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{has 2 buffers, expected 1}}
  hopper.store_quantized %x, %out, %map[%i, %i] rows %i of 128 scales %map pitch %i
      : !hopper.fragment<64x128>, !hopper.staging<2, <64x64xbf16>>
  return
}

// -----

func.func @tiles_of_nothing(%offsets: !llvm.ptr) {
  // expected-error @+1 {{'hopper.count_tiles' op has 0 experts, expected at least 1}}
  %tiles = hopper.count_tiles %offsets experts 0 columns 4096 tile 32x128
  return
}

// -----

func.func @no_part(%counters: !llvm.ptr, %number: i32) {
  // expected-error @+1 {{'hopper.arrive_part' op has 0 parts, expected at least 1}}
  %last = hopper.arrive_part %counters[%number] of 0
  return
}

// -----

func.func @sum_of_nothing(%parts: !llvm.ptr, %first: i32) {
  // expected-error @+1 {{'hopper.sum_parts' op has 0 parts, expected at least 1}}
  %values = hopper.sum_parts %parts[%first] count 0 : !hopper.fragment<64x32>
  return
}

// -----

// expected-error @+1 {{ring has 9223372036854775807 stages, but at most 32767 are expected}}
func.func private @stages_without_end(!hopper.ring<9223372036854775807, <128x64xbf16>>)

// -----

// expected-error @+2 {{failed to parse Hopper_RingType parameter 'tiles'}}
// expected-error @+1 {{tile is 128 x 4611686018427387904, but at most 2147483647 of each are expected}}
func.func private @columns_without_end(!hopper.ring<3, <128x4611686018427387904xbf16>>)

// -----

// expected-error @+1 {{places of 24 rows, expected a positive multiple of 16 up to 256}}
func.func private @ragged_places(!hopper.places<24>)

// -----

func.func @places_off_their_alignment(%shared: !llvm.ptr<3>, %i: i32) {
  // expected-error @+1 {{starts at byte 40, expected a multiple of 16 below 2147483648}}
  %places = hopper.places %shared at 40 of %i : !hopper.places<64>
  return
}

// -----

func.func @scatter_of_half_a_box(%values: !hopper.fragment<64x32>, %out: !hopper.staging<1, <64x64xbf16>>, %places: !hopper.places<64>, %y: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{expected a whole number of them}}
  hopper.scatter_tile %values, %out, %places, %y[%i] rows %i of 4096 : !hopper.fragment<64x32>, !hopper.staging<1, <64x64xbf16>>, !hopper.places<64>
  return
}

// -----

func.func @scatter_of_more_rows_than_places(%values: !hopper.fragment<64x128>, %out: !hopper.staging<2, <64x64xbf16>>, %places: !hopper.places<64>, %y: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{places of 64 rows, expected 64 columns and at least 128 rows}}
  hopper.scatter_tile %values, %out, %places, %y[%i] rows %i of 4096 transposed : !hopper.fragment<64x128>, !hopper.staging<2, <64x64xbf16>>, !hopper.places<64>
  return
}

// -----

func.func @scatter_of_narrow_boxes(%out: !hopper.staging<1, <64x32xbf16>>, %places: !hopper.places<64>, %y: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{expected 64 columns and at least 64 rows}}
  hopper.scatter_staging %out boxes 1, %places, %y[%i] rows %i of 4096 : !hopper.staging<1, <64x32xbf16>>, !hopper.places<64>
  return
}

// -----

func.func @scatter_without_buffers(%out: !hopper.staging<1, <64x64xbf16>>, %places: !hopper.places<64>, %y: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{sends 2 of 1 buffers, expected 1 to 1}}
  hopper.scatter_staging %out boxes 2, %places, %y[%i] rows %i of 4096 : !hopper.staging<1, <64x64xbf16>>, !hopper.places<64>
  return
}

// -----

func.func @scatter_to_ragged_columns(%out: !hopper.staging<1, <64x64xbf16>>, %places: !hopper.places<64>, %y: !llvm.ptr, %i: i32) {
  // expected-error @+1 {{has an output of 100 columns, expected a positive multiple of 8}}
  hopper.scatter_staging %out boxes 1, %places, %y[%i] rows %i of 100 : !hopper.staging<1, <64x64xbf16>>, !hopper.places<64>
  return
}

// -----

// expected-error @+1 {{a stage of factors has 12 columns, expected a multiple of 8 up to 256}}
func.func private @ragged_factors(!hopper.factors<3, 12>)

// -----

// expected-error @+1 {{factors of 0 stages, expected 1 to 32767}}
func.func private @factors_of_nothing(!hopper.factors<0, 64>)

// -----

func.func @factors_off_their_alignment(%shared: !llvm.ptr<3>) {
  // expected-error @+1 {{starts at byte 40, expected a multiple of 16 below 2147483648}}
  %factors = hopper.factors %shared at 40 : !hopper.factors<3, 64>
  return
}

// -----

func.func @more_columns_than_factors(%values: !hopper.fragment<64x128>, %factors: !hopper.factors<3, 64>, %i: i32, %w: f32) {
  // expected-error @+1 {{multiplies 128 columns by factors of 64}}
  %next = hopper.apply_factors %values, %factors[%i] by %w : !hopper.fragment<64x128>, !hopper.factors<3, 64>
  return
}

// -----

func.func @three_weights(%values: !hopper.fragment<64x64>, %factors: !hopper.factors<3, 64>, %i: i32, %w: f32) {
  // expected-error @+1 {{has 3 factors of weights, expected 1, or 2 in turn}}
  %next = hopper.apply_factors %values, %factors[%i] by %w, %w, %w : !hopper.fragment<64x64>, !hopper.factors<3, 64>
  return
}
