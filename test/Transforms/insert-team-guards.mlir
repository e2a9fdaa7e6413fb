// RUN: moe-opt %s --moe-insert-team-guards | FileCheck %s

// A sum that is no op of ours: one thread does it, then all meet.
// CHECK-LABEL: func.func @sum
func.func @sum(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %y: memref<?x64xf32>) {
  // CHECK: %[[THREAD:.*]] = moert.thread
  // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[THREAD]],
  // CHECK: scf.if %[[FIRST]] {
  // CHECK:   scf.for
  // CHECK:     scf.for
  // CHECK:       arith.addf
  // CHECK-NOT: linalg
  // CHECK: moert.team_barrier
  linalg.add ins(%a, %b : memref<?x64xf32>, memref<?x64xf32>) outs(%y : memref<?x64xf32>)
  // CHECK: return
  return
}

// A copy is shared out by moe-expand-copies.
// CHECK-LABEL: func.func @copy
func.func @copy(%a: memref<?x64xf32>, %b: memref<?x64xf32>) {
  // CHECK-NEXT: memref.copy
  // CHECK-NEXT: return
  memref.copy %a, %b : memref<?x64xf32> to memref<?x64xf32>
  return
}
