// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3 | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3 | FileCheck %s --check-prefix=KERNEL

// CHECK-LABEL: func @gated
func.func @gated(%x: memref<?x64xf32>, %w: memref<12288xf32>, %n: index, %o: memref<3xi32>, %gather: memref<?xi32>, %y: memref<?x48xf32>) {
  // Groups that have rows, one after the other; the next one is known while one is computed.
  // CHECK: scf.while
  // CHECK: scf.while (%[[GROUP:.*]] = %{{.*}}) : (index) -> index
  // CHECK: %[[NEXT:.*]] = scf.while
  // CHECK: memref.load %{{.*}} : memref<3xi32>
  // A group's six panels are taken by the team in turn.
  // CHECK: %[[ALL:.*]] = moert.threads : index
  // CHECK: %[[PANELS:.*]] = arith.constant 6 : index
  // CHECK: %[[ME:.*]] = moert.thread : index
  // CHECK: scf.for %[[PANEL:.*]] = %{{.*}} to %[[PANELS]] step %[[ALL]]
  // Tiles of at most six rows.
  // CHECK: scf.for
  // Rows by the gather, two pairs a token.
  // CHECK: memref.load %{{.*}} : memref<?xi32>
  // CHECK: arith.divui
  // Tiles share the request for the next panel: 128 bytes a round, at most a line of which each asks for.
  // CHECK: %[[ROUND:.*]] = arith.constant 128 : index
  // CHECK: %[[PART:.*]] = arith.ceildivui %[[ROUND]], %[[TILES:.*]] : index
  // CHECK: arith.minui %[[PART]], %{{.*}} : index
  // CHECK: scf.index_switch
  // CHECK: case 1
  // CHECK-NEXT: llvm.call @moe_panel_f32_1x16_from2_ahead1
  // CHECK: case 5
  // CHECK-NEXT: llvm.call @moe_panel_f32_5x16_from2_ahead1
  // CHECK: default
  // CHECK-NEXT: llvm.call @moe_panel_f32_6x16_from2_ahead1
  // SwiGLU on the sums.
  // CHECK: scf.for
  // CHECK-COUNT-2: llvm.load {{.*}} -> vector<8xf32>
  // CHECK: arith.divf {{.*}} : vector<8xf32>
  // CHECK: vector.store {{.*}} : memref<?x48xf32>, vector<8xf32>
  // CHECK: moert.team_barrier
  // CHECK-NEXT: return
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) gather(%gather) activation(<kind = silu>)
      packed(<groups = 2, parts = 2, columns = 48, depth = 64, width = 16, streams = 2>) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x64xf32>, memref<12288xf32>, index, memref<3xi32>, memref<?xi32>, memref<?x48xf32>) -> ()
  return
}

// CHECK-LABEL: func @scattered_with_tail
func.func @scattered_with_tail(%x: memref<?x64xbf16>, %w: memref<2048xbf16>, %n: index, %o: memref<2xi32>, %s: memref<?xi32>, %b: memref<1x20xbf16>,
    %y: memref<?x20xbf16>) {
  // CHECK: llvm.call @moe_panel_bf16_1x16_wide_ahead1
  // CHECK: vector.create_mask
  // CHECK: vector.maskedload {{.*}} : memref<1x20xbf16>
  // CHECK: %[[ROW:.*]] = memref.load %{{.*}} : memref<?xi32>
  // CHECK: vector.maskedstore {{.*}} : memref<?x20xbf16>
  // CHECK: moert.team_barrier
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) scatter(%s) bias(%b)
      packed(<groups = 1, parts = 1, columns = 20, depth = 64, width = 16, interleave = 2>) outs(%y)
      : (memref<?x64xbf16>, memref<2048xbf16>, index, memref<2xi32>, memref<?xi32>, memref<1x20xbf16>, memref<?x20xbf16>) -> ()
  return
}

// CHECK-LABEL: func @kept
func.func @kept(%x: memref<?x4096xbf16>, %w: memref<3145728xbf16>, %n: index, %o: memref<2xi32>, %gather: memref<?xi32>, %y: memref<?x768xbf16>) {
  // 256 KiB of widened rows: 16 of 4096.
  // CHECK: %[[BYTES:.*]] = arith.constant 65536 : i64
  // CHECK: %[[KEPT:.*]] = llvm.alloca %[[BYTES]] x f32
  // CHECK: llvm.intr.lifetime.start %[[KEPT]]
  // CHECK: %[[MOST:.*]] = arith.constant 16 : index
  // CHECK: %[[IS_KEPT:.*]] = arith.cmpi ule, %[[ROWS:.*]], %[[MOST]] : index
  // CHECK: %[[THREE:.*]] = arith.constant 3 : index
  // CHECK: %[[IS_FEW:.*]] = arith.cmpi ule, %[[ROWS]], %[[THREE]] : index
  // A thread that has panels of the group widens its rows, once.
  // CHECK: %[[WIDENS:.*]] = arith.andi %[[IS_KEPT]], %{{.*}} : i1
  // CHECK: scf.if %[[WIDENS]]
  // CHECK: llvm.load {{.*}} -> vector<8xbf16>
  // CHECK: llvm.store {{.*}} : vector<8xf32>, !llvm.ptr
  // Of each run of two it takes two panels at once, or one, or widens rows for both.
  // CHECK: %[[BY:.*]] = arith.select %[[IS_FEW]]
  // CHECK: %[[STEP:.*]] = arith.select %[[IS_KEPT]], %[[BY]], %{{.*}} : index
  // CHECK: scf.for {{.*}} step %[[STEP]]
  // CHECK: arith.select %[[IS_KEPT]], {{.*}} : !llvm.ptr
  // CHECK: scf.if %[[IS_FEW]]
  // CHECK: case 1
  // CHECK-NEXT: llvm.call @moe_panel_f32_bf16_1x16_with2_from2_ahead0
  // CHECK: default
  // CHECK-NEXT: llvm.call @moe_panel_f32_bf16_3x16_with2_from2_ahead0
  // CHECK: scf.if %[[IS_KEPT]]
  // CHECK: case 3
  // CHECK-NEXT: llvm.call @moe_panel_f32_bf16_3x16_from2_ahead1
  // CHECK: default
  // CHECK-NEXT: llvm.call @moe_panel_f32_bf16_6x16_from2_ahead1
  // More than 16 rows make tiles of four to six.
  // CHECK: case 4
  // CHECK-NEXT: llvm.call @moe_panel_bf16_4x16_wide_by2_from2_ahead1
  // CHECK: case 5
  // CHECK-NEXT: llvm.call @moe_panel_bf16_5x16_wide_by2_from2_ahead1
  // CHECK: default
  // CHECK-NEXT: llvm.call @moe_panel_bf16_6x16_wide_by2_from2_ahead1
  // CHECK: llvm.intr.lifetime.end %[[KEPT]]
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) gather(%gather)
      packed(<groups = 1, parts = 1, columns = 768, depth = 4096, width = 16, interleave = 2, streams = 2>) outs(%y)
      : (memref<?x4096xbf16>, memref<3145728xbf16>, index, memref<2xi32>, memref<?xi32>, memref<?x768xbf16>) -> ()
  return
}

// CHECK-LABEL: func @runs_of_f32
func.func @runs_of_f32(%x: memref<?x64xf32>, %w: memref<49152xf32>, %n: index, %o: memref<2xi32>, %y: memref<?x768xf32>) {
  // Items are runs of two panels where rows are few, and single panels otherwise.
  // CHECK: %[[IS_FEW:.*]] = arith.cmpi ule
  // CHECK: %[[LENGTH:.*]] = arith.select %[[IS_FEW]]
  // CHECK: %[[ITEMS:.*]] = arith.select %[[IS_FEW]]
  // CHECK: scf.for %[[ITEM:.*]] = %{{.*}} to %[[ITEMS]]
  // CHECK: arith.muli %[[ITEM]], %[[LENGTH]] : index
  // CHECK: scf.if %[[IS_FEW]]
  // CHECK: llvm.call @moe_panel_f32_1x16_with2_from2_ahead0
  // CHECK: case 3
  // CHECK-NEXT: llvm.call @moe_panel_f32_3x16_from2_ahead1
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) packed(<groups = 1, parts = 1, columns = 768, depth = 64, width = 16, streams = 2>) outs(%y)
      : (memref<?x64xf32>, memref<49152xf32>, index, memref<2xi32>, memref<?x768xf32>) -> ()
  return
}

// KERNEL-LABEL: llvm.func internal @moe_panel_f32_2x16_from2_ahead1
// KERNEL-SAME: no_inline
// KERNEL: scf.for {{.*}} step %c2_i64{{.*}} iter_args({{.*}}) -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, !llvm.ptr, !llvm.ptr) : i64
// KERNEL: llvm.intr.prefetch
// KERNEL-COUNT-2: llvm.load {{.*}} -> vector<8xf32>
// KERNEL: llvm.load {{.*}} -> f32
// KERNEL: vector.broadcast
// KERNEL-COUNT-2: vector.fma
// KERNEL-COUNT-2: llvm.inline_asm has_side_effects "", "=x,0,~{memory}"
// KERNEL: llvm.load {{.*}} -> f32
// KERNEL: vector.broadcast
// KERNEL-COUNT-2: vector.fma
// The second stream's step, without a request.
// KERNEL-NOT: prefetch
// KERNEL: arith.addi
// KERNEL-COUNT-2: llvm.load {{.*}} -> vector<8xf32>
// KERNEL-COUNT-4: vector.fma
// KERNEL-NOT: vector.fma
// KERNEL: scf.yield
// KERNEL-COUNT-4: llvm.store
// KERNEL: llvm.return

// Rows are widened a block at a time, before the block's steps, which widen the panel alone.
// KERNEL-LABEL: llvm.func internal @moe_panel_bf16_2x16_wide_ahead1
// KERNEL-COUNT-4: llvm.store
// KERNEL: scf.for
// KERNEL: arith.minui
// KERNEL: scf.for
// KERNEL-COUNT-2: llvm.store {{.*}} : vector<8xf32>
// KERNEL-COUNT-4: llvm.load {{.*}} -> vector<8xf32>
// KERNEL: scf.for {{.*}} iter_args
// KERNEL: llvm.intr.prefetch
// KERNEL-COUNT-2: arith.shli {{.*}} : vector<8xi32>
// KERNEL-NOT: arith.shli {{.*}} : vector
// KERNEL: llvm.load {{.*}} -> f32
// KERNEL: vector.fma
// KERNEL: arith.andi

// Two panels: each step with both, no request.
// KERNEL-LABEL: llvm.func internal @moe_panel_f32_2x16_with2_from2_ahead0
// KERNEL: scf.for {{.*}} step %c2_i64
// KERNEL-NOT: prefetch
// KERNEL-COUNT-16: vector.fma
// KERNEL-NOT: vector.fma
// KERNEL: scf.yield
// KERNEL-COUNT-8: llvm.store
// KERNEL: llvm.return
