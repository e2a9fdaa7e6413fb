// RUN: moe-opt %s --moe-bufferize-layer | FileCheck %s

#up = #moe.checkpoint<names = ["{e}.w1", "{e}.w3"], file_shape = [96, 64], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down = #moe.checkpoint<names = ["{e}.w2"], file_shape = [64, 96], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>

shard.grid @ranks(shape = 1)

// Results become arguments, weights come behind the inputs, each value has a buffer of its own: the arena's planner shares memory.
// CHECK-LABEL: func.func @layer0
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<?x64xf32>{{[^,]*}}, %[[IDS:[a-z0-9]+]]: memref<?x1xi32>
// CHECK-SAME: memref<2x2x96x64xf32>
// CHECK-SAME: memref<2x64x96xf32>
// CHECK-SAME: %[[Y:[a-z0-9]+]]: memref<?x64xf32>
func.func @layer0(%up: tensor<2x2x96x64xf32> {moe.name = "up", moe.weight = #up},
    %down: tensor<2x64x96xf32> {moe.name = "down", moe.weight = #down},
    %x: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64: 0>},
    %ids: tensor<?x1xi32> {moe.name = "expert_ids", moe.split = array<i64: 0>})
    -> (tensor<?x64xf32> {moe.name = "y", moe.split = array<i64: 0>}) attributes {moe.layer = 0 : i64} {
  %c0 = arith.constant 0 : index
  // CHECK: %[[T:.*]] = memref.dim %[[X]]
  %t = tensor.dim %x, %c0 : tensor<?x64xf32>
  // CHECK: moe.sort %[[IDS]] {{.*}} outs(%[[ORDER:.*]], %[[POS:.*]], %[[OFF:.*]]) : (memref<?x1xi32>, memref<?xi32>, memref<?x1xi32>, memref<3xi32>)
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  // CHECK: memref.alloc(%[[T]]) {{.*}}: memref<?x96xf32>
  // CHECK: moe.grouped_matmul %[[X]], %{{.*}} rows(%[[T]]) offsets(%[[OFF]]) gather(%[[ORDER]]) {{.*}} outs(%[[H:[a-z_0-9]+]])
  %h = moe.grouped_matmul %x, %up rows(%t) offsets(%off) gather(%order) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x2x96x64xf32>, index, tensor<3xi32>, tensor<?xi32>) -> tensor<?x96xf32>
  // CHECK: moe.grouped_matmul %[[H]], %{{.*}} outs(%[[P:[a-z_0-9]+]])
  %p = moe.grouped_matmul %h, %down rows(%t) offsets(%off) : (tensor<?x96xf32>, tensor<2x64x96xf32>, index, tensor<3xi32>) -> tensor<?x64xf32>
  // CHECK: moe.combine %[[P]], %[[POS]] outs(%[[Y]])
  %y = moe.combine %p, %pos : (tensor<?x64xf32>, tensor<?x1xi32>) -> tensor<?x64xf32>
  // CHECK-NEXT: return
  return %y : tensor<?x64xf32>
}

// CHECK: moert.interface @layer0 on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
// CHECK-SAME: inputs [#moert.value<name = "x"{{.*}}>, #moert.value<name = "expert_ids"
// CHECK-SAME: outputs [#moert.value<name = "y"
// CHECK-SAME: weights [#moert.weight<name = "up"{{.*}}>, #moert.weight<name = "down"
// CHECK-SAME: packed [] arena <>
