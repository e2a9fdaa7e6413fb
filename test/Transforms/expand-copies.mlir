// RUN: moe-opt %s --moe-expand-copies --canonicalize | FileCheck %s

// CHECK-LABEL: func @rows_are_cut_over_the_team
// CHECK-SAME: (%[[A:.*]]: memref<?x4xf32>, %[[B:.*]]: memref<?x4xf32>)
func.func @rows_are_cut_over_the_team(%a: memref<?x4xf32>, %b: memref<?x4xf32>) {
  // CHECK: %[[ROWS:.*]] = memref.dim %[[A]]
  // CHECK: %[[ME:.*]] = moert.thread
  // CHECK: %[[N:.*]] = moert.threads
  // CHECK: %[[NEXT:.*]] = arith.addi %[[ME]], %{{.*}}
  // CHECK: %[[LOW:.*]] = arith.muli %[[ROWS]], %[[ME]]
  // CHECK: %[[BEGIN:.*]] = arith.divui %[[LOW]], %[[N]]
  // CHECK: %[[HIGH:.*]] = arith.muli %[[ROWS]], %[[NEXT]]
  // CHECK: %[[END:.*]] = arith.divui %[[HIGH]], %[[N]]
  // CHECK: scf.for %[[I:.*]] = %[[BEGIN]] to %[[END]]
  // CHECK-NEXT: scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step
  // CHECK-NEXT: %[[V:.*]] = memref.load %[[A]][%[[I]], %[[J]]]
  // CHECK-NEXT: memref.store %[[V]], %[[B]][%[[I]], %[[J]]]
  // CHECK: moert.team_barrier
  memref.copy %a, %b : memref<?x4xf32> to memref<?x4xf32>
  return
}

// CHECK-LABEL: func @long_rows_move_by_vectors
func.func @long_rows_move_by_vectors(%a: memref<?x72xbf16, strided<[72, 1], offset: ?>>, %b: memref<?x72xbf16>) {
  // CHECK-DAG: %[[C64:.*]] = arith.constant 64 : index
  // CHECK-DAG: %[[C72:.*]] = arith.constant 72 : index
  // CHECK: scf.for
  // CHECK: scf.for %{{.*}} = %{{.*}} to %[[C64]] step
  // CHECK: vector.load %{{.*}} : memref<?x72xbf16, strided<[72, 1], offset: ?>>, vector<32xbf16>
  // CHECK: vector.store %{{.*}} : memref<?x72xbf16>, vector<32xbf16>
  // CHECK: scf.for %{{.*}} = %[[C64]] to %[[C72]] step
  // CHECK: memref.load
  memref.copy %a, %b : memref<?x72xbf16, strided<[72, 1], offset: ?>> to memref<?x72xbf16>
  return
}

// CHECK-LABEL: func @columns_move_one_by_one
func.func @columns_move_one_by_one(%a: memref<2x72xf32, strided<[1, 2]>>, %b: memref<2x72xf32>) {
  // CHECK-NOT: vector.load
  // CHECK: memref.load
  memref.copy %a, %b : memref<2x72xf32, strided<[1, 2]>> to memref<2x72xf32>
  return
}

// CHECK-LABEL: func @one_dimension_is_cut_itself
func.func @one_dimension_is_cut_itself(%a: memref<?xi32>, %b: memref<?xi32>) {
  // CHECK: %[[BEGIN:.*]] = arith.divui
  // CHECK: %[[END:.*]] = arith.divui
  // CHECK: scf.for %{{.*}} = %[[BEGIN]] to %[[MIDDLE:.*]] step
  // CHECK: scf.for %{{.*}} = %[[MIDDLE]] to %[[END]] step
  memref.copy %a, %b : memref<?xi32> to memref<?xi32>
  return
}

// CHECK-LABEL: func @a_single_number_is_the_first_threads
func.func @a_single_number_is_the_first_threads(%a: memref<f32>, %b: memref<f32>) {
  // CHECK: scf.if
  // CHECK: memref.load
  // CHECK: moert.team_barrier
  memref.copy %a, %b : memref<f32> to memref<f32>
  return
}
