// RUN: moe-opt %s --allow-unregistered-dialect --moe-lower-interface --canonicalize --split-input-file | FileCheck %s

#w = #moe.checkpoint<names = ["w"], file_shape = [2, 3], map = affine_map<(a, b) -> (a, b)>>
shard.grid @ranks(shape = 2)
// The sizes of packed weights are noted.
// CHECK: moert.interface @f {{.*}} packed [24]
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = [0]>]
  outputs [#moert.value<name = "y", type = tensor<?xi32>, split = [0]>, #moert.value<name = "z", type = tensor<?x4xf32>, split = [0]>]
  weights [#moert.weight<name = "w", type = tensor<2x3xf32>, sources = [#w]>] packed [] arena <constant = 64, per_token = 8, per_share = 16, shares = 2>

// CHECK-LABEL: func @f(
// CHECK-SAME: %[[CTX:[a-z0-9]+]]: !llvm.ptr, %[[THREAD:[a-z0-9]+]]: i32, %[[THREADS:[a-z0-9]+]]: i32, %[[TOKENS:[a-z0-9]+]]: i64, %[[MAX:[a-z0-9]+]]: i64, %[[INPUTS:[a-z0-9]+]]: !llvm.ptr, %[[OUTPUTS:[a-z0-9]+]]: !llvm.ptr, %[[PACKED:[a-z0-9]+]]: !llvm.ptr, %[[ARENA:[a-z0-9]+]]: !llvm.ptr) -> i32 attributes {passthrough = ["no-builtins"]}
func.func @f(%x: memref<?x4xf32>, %w: memref<6xf32>, %y: memref<?xi32>, %z: memref<?x4xf32>, %arena: memref<?xi8> {moert.arena},
             %tokens: index {moert.tokens}, %max: index {moert.max_tokens}) {
  // CHECK-DAG: %[[OK:.*]] = arith.constant 0 : i32
  // CHECK-DAG: %[[X:.*]] = llvm.load %[[INPUTS]]
  // CHECK-DAG: llvm.insertvalue %[[TOKENS]], %{{.*}}[3, 0]
  // CHECK-DAG: %[[W:.*]] = llvm.load %[[PACKED]]
  // CHECK-DAG: %[[Y:.*]] = llvm.load %[[OUTPUTS]]
  // CHECK-DAG: %[[SLOT:.*]] = llvm.getelementptr %[[OUTPUTS]][1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
  // CHECK-DAG: %[[Z:.*]] = llvm.load %[[SLOT]]
  // CHECK-DAG: llvm.insertvalue %[[ARENA]], %{{.*}}[0]
  // CHECK-DAG: arith.ceildivui %[[MAX]], %{{.*}} : i64
  // CHECK: "uses"
  "uses"(%x, %w, %y, %z, %arena, %tokens, %max) : (memref<?x4xf32>, memref<6xf32>, memref<?xi32>, memref<?x4xf32>, memref<?xi8>, index, index) -> ()
  // CHECK: return %[[OK]] : i32
  return
}
// CHECK-LABEL: func @f_prepare(
// CHECK-SAME: %[[CTX:[a-z0-9]+]]: !llvm.ptr, %[[THREAD:[a-z0-9]+]]: i32, %[[THREADS:[a-z0-9]+]]: i32, %[[WEIGHTS:[a-z0-9]+]]: !llvm.ptr, %[[PACKED:[a-z0-9]+]]: !llvm.ptr) -> i32
func.func @f_prepare(%w: memref<2x3xf32>, %packed: memref<6xf32>) {
  // CHECK-DAG: llvm.load %[[WEIGHTS]]
  // CHECK-DAG: llvm.load %[[PACKED]]
  // CHECK: "uses"
  "uses"(%w, %packed) : (memref<2x3xf32>, memref<6xf32>) -> ()
  return
}

// -----

shard.grid @ranks(shape = 2)
moert.interface @without_weights on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
// CHECK-LABEL: func @without_weights
func.func @without_weights() { return }
// CHECK: func @without_weights_prepare(%{{.*}}: !llvm.ptr, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr) -> i32
