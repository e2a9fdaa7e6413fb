// RUN: moe-opt %s --moe-expand-route --moe-bufferize-layer --canonicalize --cse --moe-plan-arena --canonicalize | FileCheck %s

// One rank's program with two expert-parallel ranks, each with one of two experts.
shard.grid @ranks(shape = 1x2x1) {coll.axes = ["edp", "ep", "etp"]}

#gate = #moe.checkpoint<names = ["gate"], file_shape = [2, 64], map = affine_map<(e, h) -> (e, h)>>
#up = #moe.checkpoint<names = ["{e}.w1", "{e}.w3"], file_shape = [96, 64], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down = #moe.checkpoint<names = ["{e}.w2"], file_shape = [64, 96], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
#by_slot4 = #moe.slice<grid = @ranks, shape = [2, 2, 96, 64], splits = [#moe.split<dim = 0, axes = [1], by = slots>], slots = [0, 1]>
#by_slot3 = #moe.slice<grid = @ranks, shape = [2, 64, 96], splits = [#moe.split<dim = 0, axes = [1], by = slots>], slots = [0, 1]>

// CHECK-LABEL: func.func @layer0(
// CHECK-SAME:    %[[X:.*]]: memref<?x64xf32> {moe.split = array<i64: 0, 1, 2>}, %{{.*}}: memref<2x64xf32>, %{{.*}}: memref<1x2x96x64xf32>, %{{.*}}: memref<1x64x96xf32>,
// CHECK-SAME:    %[[Y:.*]]: memref<?x64xf32> {moe.split = array<i64: 0, 1, 2>}, %[[ARENA:.*]]: memref<?xi8> {moert.arena}, %[[MAX:.*]]: index {moert.max_tokens})
func.func @layer0(%gate: tensor<2x64xf32> {moe.name = "gate", moe.weight = #gate},
    %x: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64: 0, 1, 2>},
    %up: tensor<1x2x96x64xf32> {moe.name = "up", moe.weight = #up, moe.slice = #by_slot4},
    %down: tensor<1x64x96xf32> {moe.name = "down", moe.weight = #down, moe.slice = #by_slot3})
    -> (tensor<?x64xf32> {moe.name = "y", moe.split = array<i64: 0, 1, 2>}) attributes {moe.layer = 0 : i64} {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x64xf32>
  // CHECK: memref.view %[[ARENA]]
  // CHECK: moe.router_logits {{.*}} outs(
  // CHECK: moe.select_experts {{.*}} outs(
  %w, %ids = moe.route %x, %gate router(<top_k = 1, normalize = sum>) : (tensor<?x64xf32>, tensor<2x64xf32>) -> (tensor<?x1xf32>, tensor<?x1xi32>)
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  %rows = moe.take %x, %order rows(%t) top_k 1 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x64xf32>
  %send = moe.counts %off : (tensor<3xi32>) -> tensor<2x1xi32>
  %recv = coll.all_to_all %send on @ranks axes [1] : (tensor<2x1xi32>) -> tensor<2x1xi32>
  %n = coll.rows %recv bound(affine_map<()[s0] -> (s0)>) on @ranks : tensor<2x1xi32>
  // CHECK: coll.all_to_all_v {{.*}} outs(
  %in = coll.all_to_all_v %rows counts(%send, %recv) rows(%n) on @ranks axes [1]
      : (tensor<?x64xf32>, tensor<2x1xi32>, tensor<2x1xi32>, index) -> tensor<?x64xf32>
  %order2, %off2 = moe.regroup %recv rows(%n) : (tensor<2x1xi32>, index) -> (tensor<?xi32>, tensor<2xi32>)
  %h = moe.grouped_matmul %in, %up rows(%n) offsets(%off2) gather(%order2) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<1x2x96x64xf32>, index, tensor<2xi32>, tensor<?xi32>) -> tensor<?x96xf32>
  %p = moe.grouped_matmul %h, %down rows(%n) offsets(%off2) scatter(%order2)
      : (tensor<?x96xf32>, tensor<1x64x96xf32>, index, tensor<2xi32>, tensor<?xi32>) -> tensor<?x64xf32>
  %back = coll.all_to_all_v %p counts(%recv, %send) rows(%t) on @ranks axes [1]
      : (tensor<?x64xf32>, tensor<2x1xi32>, tensor<2x1xi32>, index) -> tensor<?x64xf32>
  // CHECK: moe.combine {{.*}} outs(%[[Y]])
  %y = moe.combine %back, %pos weights(%w) : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  // CHECK-NOT: memref.alloc
  // CHECK: return
  return %y : tensor<?x64xf32>
}

// CHECK: moert.interface @layer0 on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
// CHECK-SAME: inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = [0, 1, 2]>]
// CHECK-SAME: outputs [#moert.value<name = "y", type = tensor<?x64xf32>, split = [0, 1, 2]>]
// CHECK-SAME: weights [#moert.weight<name = "gate", {{.*}}>, #moert.weight<name = "up", {{.*}}>, #moert.weight<name = "down", {{.*}}>]
// CHECK-SAME: arena <constant = {{[0-9]+}}, per_token = {{[0-9]+}}, per_share = {{[0-9]+}}, shares = 2>
