// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v4+avx512bf16:sapphirerapids | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v4+avx512bf16:sapphirerapids | FileCheck %s --check-prefix=KERNEL
// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v4+avx512bf16 | FileCheck %s --check-prefix=WHOLE

// CHECK-LABEL: func @f32
// WHOLE-LABEL: func @f32
func.func @f32(%x: memref<?x7168xf32>, %w: memref<8257536xf32>, %n: index, %o: memref<2xi32>, %y: memref<?x1152xf32>) {
  // Room for the sums of sixteen tiles of 11 rows and 32 columns.
  // CHECK: %[[ROOM:.*]] = arith.constant 5632 : i64
  // CHECK: %[[SUMS:.*]] = llvm.alloca %[[ROOM]] x f32
  // CHECK: %[[IS_SINGLE:.*]] = arith.cmpi eq, %[[TILES:.*]], %{{.*}} : index
  // CHECK: moert.threads : index
  // Blocks of 16 KiB a tile, 128 KiB at most, whole vectors of rows.
  // CHECK: %[[EACH:.*]] = arith.constant 16384 : index
  // CHECK: %[[WANTED:.*]] = arith.muli %[[TILES]], %[[EACH]] : index
  // CHECK: %[[MOST:.*]] = arith.constant 131072 : index
  // CHECK: %[[BYTES:.*]] = arith.minui %[[WANTED]], %[[MOST]] : index
  // CHECK: %[[ALL:.*]] = arith.constant 917504 : index
  // CHECK: %[[BLOCKS:.*]] = arith.ceildivui %[[ALL]], %[[BYTES]] : index
  // CHECK: %[[VECTORS:.*]] = arith.constant 448 : index
  // CHECK: %[[OF_BLOCK:.*]] = arith.ceildivui %[[VECTORS]], %[[BLOCKS]] : index
  // CHECK: %[[LENGTH:.*]] = arith.muli %[[OF_BLOCK]], %{{.*}} : index
  // CHECK: scf.for %[[FROM:.*]] = %{{.*}} to %[[TILES]] step %{{.*}} {
  // CHECK: %[[TO:.*]] = arith.minui %{{.*}}, %[[TILES]] : index
  // The last block asks for the thread's next panel, or for this one again where it has more tiles.
  // CHECK: %[[ON:.*]] = arith.select %{{.*}}, %{{.*}}, %{{.*}} : !llvm.ptr
  // CHECK: scf.for %[[K:.*]] = %{{.*}} to %{{.*}} step %[[LENGTH]] {
  // CHECK: %[[AHEAD:.*]] = arith.select %{{.*}}, %[[ON]], %{{.*}} : !llvm.ptr
  // CHECK: %[[START:.*]] = arith.index_cast %[[K]] : index to i64
  // CHECK: scf.for %{{.*}} = %[[FROM]] to %[[TO]]
  // CHECK: scf.if %[[IS_SINGLE]]
  // CHECK: case 1
  // CHECK-NEXT: llvm.call @moe_panel_f32_1x32_ahead2({{.*}}, %[[AHEAD]], %{{.*}}, %[[START]])
  // CHECK: default
  // CHECK-NEXT: llvm.call @moe_panel_f32_11x32_ahead2
  // Several tiles share the request evenly.
  // CHECK: arith.ceildivui %{{.*}}, %[[TILES]] : index
  // CHECK: case 6
  // CHECK-NEXT: llvm.call @moe_panel_f32_6x32_ahead1({{.*}}, %[[START]])
  // CHECK: default
  // CHECK-NEXT: llvm.call @moe_panel_f32_11x32_ahead1
  // Sums are taken up once all blocks are done.
  // CHECK: scf.for %{{.*}} = %[[FROM]] to %[[TO]]
  // CHECK: vector.store
  // WHOLE-NOT: arith.ceildivui
  // WHOLE: llvm.call @moe_panel_f32_12x32_ahead2
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) packed(<groups = 1, parts = 1, columns = 1152, depth = 7168, width = 32>) outs(%y)
      : (memref<?x7168xf32>, memref<8257536xf32>, index, memref<2xi32>, memref<?x1152xf32>) -> ()
  return
}

// CHECK-LABEL: func @bf16
func.func @bf16(%x: memref<?x7168xbf16>, %w: memref<8257536xbf16>, %n: index, %o: memref<2xi32>, %y: memref<?x1152xbf16>) {
  // CHECK: arith.constant 458752 : index
  // CHECK: llvm.call @moe_panel_bf16_11x32_wide_ahead2
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) packed(<groups = 1, parts = 1, columns = 1152, depth = 7168, width = 32, interleave = 2>) outs(%y)
      : (memref<?x7168xbf16>, memref<8257536xbf16>, index, memref<2xi32>, memref<?x1152xbf16>) -> ()
  return
}

// The first block's sums begin at zero, the others' where those of the block before ended; rows are read from the block's start on.
// KERNEL-LABEL: llvm.func internal @moe_panel_f32_2x32_ahead2
// KERNEL-SAME: (%arg0: !llvm.ptr, %arg1: !llvm.ptr, %[[DEPTH:arg[0-9]+]]: i64, {{.*}}, %[[FIRST:arg[0-9]+]]: i64) attributes
// KERNEL: %[[IS_FIRST:.*]] = arith.cmpi eq, %[[FIRST]], %{{.*}} : i64
// KERNEL: scf.if %[[IS_FIRST]]
// KERNEL: else
// KERNEL-COUNT-4: llvm.load {{.*}} -> vector<16xf32>
// KERNEL: arith.addi %[[FIRST]], %[[DEPTH]] : i64
// KERNEL: scf.for
// KERNEL-COUNT-4: vector.fma
// KERNEL-COUNT-4: llvm.store

// KERNEL-LABEL: llvm.func internal @moe_panel_bf16_2x32_wide_ahead2
// KERNEL-SAME: %[[BEGIN:arg[0-9]+]]: i64) attributes
// KERNEL: %[[IS_FIRST:.*]] = arith.cmpi eq, %[[BEGIN]], %{{.*}} : i64
// KERNEL: scf.if %[[IS_FIRST]]
// KERNEL-COUNT-4: llvm.store volatile
// KERNEL: scf.for
// KERNEL: arith.addi %[[BEGIN]], %{{.*}} : i64
