// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3 --canonicalize --cse | FileCheck %s

// Softmax in f32, then rounds that each take the largest score, of equal ones the lowest id. Results are compared with numpy in
// select-experts-run.test.
// CHECK-LABEL: func @softmax
// CHECK-SAME: %[[L:.*]]: memref<?x8xf32>, %[[W:.*]]: memref<?x2xf32>, %[[IDS:.*]]: memref<?x2xi32>
func.func @softmax(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %ids: memref<?x2xi32>) {
  // CHECK-DAG: %[[NUMBERS:.*]] = arith.constant dense<[0, 1, 2, 3, 4, 5, 6, 7]> : vector<8xi32>
  // CHECK-DAG: %[[BEHIND_ALL:.*]] = arith.constant -2147483648 : i32
  // CHECK-DAG: %[[ABOVE_ALL:.*]] = arith.constant dense<2147483647> : vector<8xi32>
  // CHECK: scf.for %[[T:.*]] =
  // CHECK: vector.load %[[L]][%[[T]]
  // CHECK: vector.reduction <maxnumf>
  // CHECK-NOT: math.exp
  // CHECK: vector.reduction <add>
  // CHECK: arith.divf
  // Scores become integers of the same order, NaN above all.
  // CHECK: %[[NAN:.*]] = arith.cmpf uno
  // CHECK: arith.select %[[NAN]], %[[ABOVE_ALL]]
  // CHECK: scf.for %[[K:.*]] =
  // CHECK: vector.reduction <maxsi>
  // CHECK: %[[BEST:.*]] = arith.select %{{.*}}, %[[NUMBERS]], %[[ABOVE_ALL]]
  // CHECK: %[[ID:.*]] = vector.reduction <minsi>, %[[BEST]]
  // CHECK: %[[AT:.*]] = arith.index_cast %[[ID]]
  // CHECK: memref.store %[[BEHIND_ALL]], %{{.*}}[%[[AT]]]
  // CHECK: memref.store %[[ID]], %[[IDS]][%[[T]], %[[K]]]
  // CHECK: memref.store %{{.*}}, %[[W]][%[[T]],
  // CHECK: moert.team_barrier
  moe.select_experts %l router(<top_k = 2>) outs(%w, %ids) : (memref<?x8xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}

// The bias decides the selection only: weights come from the scores without it, divided by their sum and scaled.
// CHECK-LABEL: func @sigmoid_with_bias
// CHECK-SAME: %{{.*}}: memref<?x8xf32>, %[[BIAS:.*]]: memref<8xf32>, %[[W:.*]]: memref<?x2xf32>, %{{.*}}: memref<?x2xi32>
func.func @sigmoid_with_bias(%l: memref<?x8xf32>, %b: memref<8xf32>, %w: memref<?x2xf32>, %ids: memref<?x2xi32>) {
  // CHECK-DAG: %[[SCALE:.*]] = arith.constant 2.5
  // CHECK: arith.divf
  // CHECK: vector.store %{{.*}}, %[[SCORES:alloca[_0-9]*]]
  // CHECK: vector.load %[[BIAS]]
  // CHECK: arith.addf
  // CHECK: vector.reduction <maxsi>
  // CHECK: memref.load %[[SCORES]]
  // CHECK: arith.addf
  // CHECK: arith.divf
  // CHECK: arith.mulf %{{.*}}, %[[SCALE]]
  // CHECK: memref.store %{{.*}}, %[[W]]
  moe.select_experts %l selection_bias(%b) router(<top_k = 2, score = sigmoid, normalize = sum, normalize_epsilon = 1.0e-20, scale = 2.5>) outs(%w, %ids)
      : (memref<?x8xf32>, memref<8xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}
