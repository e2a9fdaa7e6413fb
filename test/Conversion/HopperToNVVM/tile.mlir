// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize --cse --split-input-file | FileCheck %s

!ring = !hopper.ring<4, <128x64xbf16>, <16x64xbf16>>

// 128-byte rows of bf16 are four steps of k = 16; descriptors advance by 32 bytes.
// CHECK-LABEL: func.func @first_block_starts_the_sums
func.func @first_block_starts_the_sums(%ring: !ring, %position: i32, %row: i32) {
  // CHECK-DAG: %[[FIXED:.*]] = arith.constant 4611686293305360384 : i64
  // CHECK: nvvm.wgmma.fence.aligned
  // CHECK-NEXT: llvm.inline_asm has_side_effects "{\0A.reg .pred first, more;\0Asetp.ne.b32 more, 1, 0;\0Asetp.ne.b32 first, 0, 0;\0A
  // CHECK-SAME: wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {$0, $1, $2, $3, $4, $5, $6, $7}, $16, $17, first, 1, 1, 0, 0;\0A
  // CHECK-SAME: wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {$0, $1, $2, $3, $4, $5, $6, $7}, $18, $19, more, 1, 1, 0, 0;\0A
  // CHECK-SAME-COUNT-2: wgmma.mma_async{{[^;]*}} more, 1, 1, 0, 0;\0A
  // CHECK-SAME: }", "=f,=f,=f,=f,=f,=f,=f,=f,0,1,2,3,4,5,6,7,l,l,l,l,l,l,l,l"
  // CHECK-COUNT-8: llvm.extractvalue
  // CHECK-NEXT: nvvm.wgmma.commit.group.sync.aligned
  %first = hopper.mma %ring[%position] lhs 0 from %row rhs 1 : !ring -> !hopper.acc<64x16>
  // CHECK: llvm.inline_asm has_side_effects "{{.*}}setp.ne.b32 first, 1, 0;
  %next = hopper.mma %ring[%position] lhs 0 from %row rhs 1 into %first : !ring -> !hopper.acc<64x16>
  // CHECK: nvvm.wgmma.wait.group.sync.aligned 1
  hopper.mma_throttle 1
  // The wait redefines all eight registers.
  // CHECK: llvm.inline_asm has_side_effects "wgmma.wait_group.sync.aligned 0;", "=f,=f,=f,=f,=f,=f,=f,=f,0,1,2,3,4,5,6,7"
  %values = hopper.mma_wait %next : !hopper.acc<64x16> -> !hopper.fragment<64x16>
  return
}

// -----

// A loop carries a value per register.
!ring = !hopper.ring<4, <128x64xbf16>, <16x64xbf16>>

// CHECK-LABEL: func.func @accumulators_in_a_loop
func.func @accumulators_in_a_loop(%ring: !ring, %acc: !hopper.acc<64x16>, %n: i32, %row: i32) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  // CHECK: scf.for {{.*}} -> (f32, f32, f32, f32, f32, f32, f32, f32)
  %sum = scf.for %i = %c0 to %n step %c1 iter_args(%x = %acc) -> (!hopper.acc<64x16>) : i32 {
    %y = hopper.mma %ring[%i] lhs 0 from %row rhs 1 into %x : !ring -> !hopper.acc<64x16>
    scf.yield %y : !hopper.acc<64x16>
  }
  %values = hopper.mma_wait %sum : !hopper.acc<64x16> -> !hopper.fragment<64x16>
  return
}

// -----

// A group of two steps, which the step's number tells, of half of the columns: registers of the others pass by. Two sums are given out by one wait.
!ring = !hopper.ring<4, <128x64xbf16>, <16x64xbf16>>

// CHECK-LABEL: func.func @some_columns_and_steps
func.func @some_columns_and_steps(%ring: !ring, %i: i32, %row: i32, %step: i32, %acc: !hopper.acc<64x16>, %other: !hopper.acc<64x16>)
    -> (!hopper.fragment<64x16>, !hopper.fragment<64x16>) {
  // CHECK: llvm.inline_asm has_side_effects "{{.*}}wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0, $1, $2, $3}, $8, $9, first, 1, 1, 0, 0;\0A
  // CHECK-SAME: wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0, $1, $2, $3}, $10, $11, more, 1, 1, 0, 0;\0A}", "=f,=f,=f,=f,0,1,2,3,l,l,l,l"
  %sum = hopper.mma %ring[%i] lhs 0 from %row rhs 1 columns 8 step %step group 2 into %acc : !ring -> !hopper.acc<64x16>
  // CHECK: llvm.inline_asm has_side_effects "wgmma.wait_group.sync.aligned 0;", "=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15" %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}},
  %x, %y = hopper.mma_wait %sum, %other : !hopper.acc<64x16>, !hopper.acc<64x16> -> !hopper.fragment<64x16>, !hopper.fragment<64x16>
  return %x, %y : !hopper.fragment<64x16>, !hopper.fragment<64x16>
}

// -----

// Register 4 c + 2 h + p holds row 16 warp + 8 h + lane / 4, column 8 c + 2 (lane % 4) + p; pairing
// columns joins registers i and i + 4.
// CHECK-LABEL: func.func @columns_eight_apart_are_in_one_thread
func.func @columns_eight_apart_are_in_one_thread(%x: !hopper.fragment<64x16>) -> !hopper.fragment<64x8> {
  // CHECK-DAG: arith.subf %arg0, %arg4
  // CHECK-DAG: arith.subf %arg3, %arg7
  %y = hopper.epilogue %x pair columns {
  ^bb0(%a: f32, %b: f32):
    %c = arith.subf %a, %b : f32
    hopper.yield %c
  } : (!hopper.fragment<64x16>) -> !hopper.fragment<64x8>
  return %y : !hopper.fragment<64x8>
}

// -----

// Pairing rows joins registers i and i + 2 of each four.
// CHECK-LABEL: func.func @rows_eight_apart_are_in_one_thread
func.func @rows_eight_apart_are_in_one_thread(%x: !hopper.fragment<64x16>) -> !hopper.fragment<32x16> {
  // CHECK-DAG: arith.subf %arg1, %arg3
  // CHECK-DAG: arith.subf %arg4, %arg6
  %y = hopper.epilogue %x pair rows {
  ^bb0(%a: f32, %b: f32):
    %c = arith.subf %a, %b : f32
    hopper.yield %c
  } : (!hopper.fragment<64x16>) -> !hopper.fragment<32x16>
  return %y : !hopper.fragment<32x16>
}

// -----

// A row slice has two values a thread, a column slice two per eight columns.
// CHECK-LABEL: func.func @slices_meet_their_elements
func.func @slices_meet_their_elements(%x: !hopper.fragment<64x8>, %base: !llvm.ptr, %first: i32,
                                      %count: i32) -> !hopper.fragment<64x8> {
  // CHECK-COUNT-4: llvm.load %{{.*}} : !llvm.ptr<1> -> f32
  // CHECK-NOT: llvm.load
  %rows = hopper.load_slice %base[%first] below %count : !hopper.slice<rows, 64x8>
  %columns = hopper.load_slice %base[%first] below %count : !hopper.slice<columns, 64x8>
  // CHECK-COUNT-4: arith.mulf
  %y = hopper.epilogue %x, %rows, %columns {
  ^bb0(%a: f32, %r: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    %e = arith.mulf %d, %r : f32
    hopper.yield %e
  } : (!hopper.fragment<64x8>, !hopper.slice<rows, 64x8>, !hopper.slice<columns, 64x8>) -> !hopper.fragment<64x8>
  return %y : !hopper.fragment<64x8>
}

// -----

// CHECK-LABEL: func.func @a_box_is_staged_fenced_and_sent
// CHECK-SAME: %[[MAP:[a-z0-9]*]]: !llvm.ptr, %[[COLUMN:[a-z0-9]*]]: i32, %[[ROW:[a-z0-9]*]]: i32, %[[COUNT:[a-z0-9]*]]: i32)
func.func @a_box_is_staged_fenced_and_sent(%x: !hopper.fragment<64x64>, %out: !hopper.staging<1, <64x64xbf16>>,
                                           %map: !llvm.ptr, %column: i32, %row: i32, %count: i32) {
  // CHECK: nvvm.convert.f32x2.to.bf16x2 {{.*}} {rnd = #nvvm.fp_rnd_mode<rn>}
  // CHECK: nvvm.cp.async.bulk.wait_group 0 {read}
  // CHECK: nvvm.barrier id = %{{.*}} number_of_threads = %{{.*}}
  // CHECK-COUNT-4: nvvm.stmatrix {{.*}} layout = #nvvm.mma_layout<row>
  // CHECK: nvvm.fence.proxy
  // CHECK: nvvm.barrier id
  // CHECK: %[[LIVE:.*]] = arith.minsi %[[COUNT]], %[[C64:.*]] : i32
  // CHECK: %[[Y:.*]] = arith.subi %[[C64]], %[[LIVE]]
  // CHECK: %[[Z:.*]] = arith.addi %[[ROW]], %[[LIVE]]
  // CHECK: nvvm.cp.async.bulk.tensor.global.shared.cta %[[MAP]], %{{.*}}, box[%[[COLUMN]], %[[Y]], %[[Z]]]
  // An empty group counts too: the next wait counts groups.
  // CHECK-NEXT: }
  // CHECK-NEXT: nvvm.cp.async.bulk.commit.group
  hopper.store_tile %x, %out, %map[%column, %row] rows %count
      : !hopper.fragment<64x64>, !hopper.staging<1, <64x64xbf16>>
  // CHECK: nvvm.cp.async.bulk.wait_group 0{{$}}
  hopper.drain_stores
  return
}

// -----

// CHECK-LABEL: func.func @transposed_boxes_hold_tokens
func.func @transposed_boxes_hold_tokens(%x: !hopper.fragment<32x8>, %out: !hopper.staging<1, <8x32xbf16>>,
                                        %map: !llvm.ptr, %i: i32) {
  // CHECK: nvvm.stmatrix %{{.*}}, %{{.*}} {{.*}}layout = #nvvm.mma_layout<col>{{.*}} : !llvm.ptr<3>, i32{{$}}
  hopper.store_tile %x, %out, %map[%i, %i] rows %i transposed
      : !hopper.fragment<32x8>, !hopper.staging<1, <8x32xbf16>>
  return
}

// -----

// CHECK-LABEL: func.func @schedule_walks_forward
func.func @schedule_walks_forward(%offsets: !llvm.ptr, %tile: i32, %expert: i32, %first: i32) -> i32 {
  // CHECK-DAG: %[[EXPERTS:.*]] = arith.constant 8 : i32
  // CHECK: %[[FOUND:.*]]:5 = scf.while
  // CHECK-COUNT-2: llvm.load %{{.*}} : !llvm.ptr -> i32
  // CHECK: arith.cmpi slt, %[[FOUND]]#0, %[[EXPERTS]]
  %valid, %e, %f, %row, %end, %column = hopper.next_tile %offsets, %tile from %expert, %first
      experts 8 columns 4096 tile 128x256 pass 16 rotate
  %x = arith.extui %valid : i1 to i32
  %y = arith.addi %x, %row : i32
  return %y : i32
}
