// Where buffers lie, byte for byte, on 2 x 2 ranks: with M tokens a rank of all four holds ceil(M / 4), one of two groups twice that at most, and where rows are not split M.
// RUN: moe-opt %s --moe-plan-arena --canonicalize | FileCheck %s

// CHECK-DAG: #[[SLOT1:.*]] = affine_map<()[s0] -> ((s0 ceildiv 4) * 128)>
// CHECK-DAG: #[[SLOT2:.*]] = affine_map<()[s0] -> ((s0 ceildiv 4) * 192)>
// CHECK-DAG: #[[SLOT3:.*]] = affine_map<()[s0] -> ((s0 ceildiv 4) * 256)>
// CHECK-DAG: #[[SLOT4:.*]] = affine_map<()[s0] -> (s0 * 64 + (s0 ceildiv 4) * 256)>
shard.grid @ranks(shape = 2x2) {coll.axes = ["ep", "etp"]}
// CHECK-LABEL: func.func @f(
func.func @f(%x: memref<?x16xf32> {moe.split = array<i64: 0, 1>}, %wide: memref<?x16xf32> {moe.split = array<i64: 0>}, %all: memref<?x16xf32> {moe.split = array<i64>}, %yes: i1) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x16xf32>
  // CHECK: %[[A:.*]] = memref.view %{{.*}}[%c0][%{{.*}}]
  %a = memref.alloc(%n) : memref<?x16xf32>
  memref.copy %x, %a : memref<?x16xf32> to memref<?x16xf32>
  // What an op reads does not lie where it writes.
  // CHECK: %[[AT:.*]] = affine.apply #[[SLOT1]]()
  // CHECK-NEXT: %[[B:.*]] = memref.view %{{.*}}[%[[AT]]]
  // CHECK-NEXT: memref.copy %[[A]], %[[B]]
  %b = memref.alloc(%n) : memref<?x16xf32>
  memref.copy %a, %b : memref<?x16xf32> to memref<?x16xf32>
  // The first buffer is not needed any more.
  // CHECK-NEXT: %[[C:.*]] = memref.view %{{.*}}[%c0]
  // CHECK-NEXT: memref.copy %[[B]], %[[C]]
  %c = memref.alloc(%n) : memref<?x16xf32>
  memref.copy %b, %c : memref<?x16xf32> to memref<?x16xf32>
  %flat = memref.collapse_shape %b [[0, 1]] : memref<?x16xf32> into memref<?xf32>
  // The second is: a view of it is written in the branch below.
  // CHECK: %[[AT:.*]] = affine.apply #[[SLOT2]]()
  // CHECK-NEXT: %[[D:.*]] = memref.view %{{.*}}[%[[AT]]]
  // CHECK-NEXT: memref.copy %[[C]], %[[D]]
  %d = memref.alloc(%n) : memref<?x16xf32>
  memref.copy %c, %d : memref<?x16xf32> to memref<?x16xf32>
  scf.if %yes {
    memref.copy %d, %x : memref<?x16xf32> to memref<?x16xf32>
    %z = arith.constant 0.0 : f32
    memref.store %z, %flat[%c0] : memref<?xf32>
  }
  %m = memref.dim %wide, %c0 : memref<?x16xf32>
  // Twice the rows: the first place grows.
  // CHECK: %[[E:.*]] = memref.view %{{.*}}[%c0]
  %e = memref.alloc(%m) : memref<?x16xf32>
  memref.copy %wide, %e : memref<?x16xf32> to memref<?x16xf32>
  %t = memref.dim %all, %c0 : memref<?x16xf32>
  // CHECK: %[[AT:.*]] = affine.apply #[[SLOT3]]()
  // CHECK-NEXT: memref.view %{{.*}}[%[[AT]]]
  %g = memref.alloc(%t) : memref<?x16xf32>
  memref.copy %all, %g : memref<?x16xf32> to memref<?x16xf32>
  // CHECK: %[[AT:.*]] = affine.apply #[[SLOT4]]()
  // CHECK-NEXT: memref.view %{{.*}}[%[[AT]]][] : memref<?xi8> to memref<3xi32>
  %k = memref.alloc() : memref<3xi32>
  %one = arith.constant 1 : i32
  memref.store %one, %k[%c0] : memref<3xi32>
  memref.copy %e, %wide : memref<?x16xf32> to memref<?x16xf32>
  return
}
// CHECK: arena <constant = 64, per_token = 64, per_share = 256, shares = 4>
moert.interface @f on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
  inputs [#moert.value<name = "x", type = tensor<?x16xf32>, split = [0, 1]>]
  outputs [#moert.value<name = "y", type = tensor<?x16xf32>, split = [0, 1]>]
  weights [] packed [] arena <>
