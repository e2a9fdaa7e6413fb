// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3 | FileCheck %s

// CHECK-LABEL: func @gate
func.func @gate(%x: memref<?x20xf32>, %w: memref<1x20xf32>, %y: memref<?x1xf32>) {
  // CHECK: %[[T:.*]] = memref.dim %arg0
  // CHECK: scf.for %{{.*}} = %{{.*}} to %[[T]]
  // CHECK: scf.for {{.*}} iter_args
  // CHECK: vector.fma
  // CHECK: vector.create_mask
  // CHECK-COUNT-2: vector.maskedload
  // CHECK: vector.fma
  // CHECK: memref.store
  // CHECK: moert.team_barrier
  moe.token_gate %x, %w outs(%y) : (memref<?x20xf32>, memref<1x20xf32>, memref<?x1xf32>) -> ()
  return
}
