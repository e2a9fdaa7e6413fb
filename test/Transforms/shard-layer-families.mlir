// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=4 ep=2 etp=2"' --moe-shard-layer --moe-verify-sharded --verify-roundtrip 2>/dev/null | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=4 ep=2 etp=2 dispatcher=all_gather"' --moe-shard-layer --moe-verify-sharded 2>/dev/null \
// RUN:   | FileCheck %s --check-prefix=GATHER
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=1"' --moe-shard-layer --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=ONE

// gpt_oss: biases. The first is cut with the width; the second is added once, by the first partner.
// CHECK-LABEL: func.func @biases(
// CHECK-SAME: %[[UP_BIAS:[^ ]*]]: tensor<4x2x48xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 2, 96], splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>], slots = [0, 1, 2, 3, 4, 5, 6, 7]>}
// CHECK-SAME: %[[DOWN_BIAS:[^ ]*]]: tensor<4x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 64], splits = [#moe.split<dim = 0, axes = [1], by = slots>], slots = [0, 1, 2, 3, 4, 5, 6, 7], first_only = [2]>}
// CHECK: moe.grouped_matmul %{{.*}} bias(%[[UP_BIAS]]) activation(
// CHECK: moe.grouped_matmul %{{.*}} scatter(%{{.*}}) bias(%[[DOWN_BIAS]]) :
func.func @biases(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>,
    %up_bias: tensor<8x2x96xf32>, %down_bias: tensor<8x64xf32>) -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down up_bias(%up_bias) down_bias(%down_bias) activation(<kind = silu, alpha = 1.702, limit = 7.0, up_offset = 1.0>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>, tensor<8x2x96xf32>, tensor<8x64xf32>)
      -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// llama4: the weight multiplies what goes in, wherever rows are taken, and not what comes out.
// CHECK-LABEL: func.func @weight_on_input(
// CHECK: moe.take %{{.*}} top_k 1 weights(%[[W:.*]]) :
// CHECK: moe.combine %{{[^ ]*}}, %{{[^ ]*}} :
// GATHER-LABEL: func.func @weight_on_input(
// GATHER: %[[IDS:.*]] = coll.all_gather_v %{{.*}} -> tensor<?x1xi32>
// GATHER: %[[W:.*]] = coll.all_gather_v %{{.*}} -> tensor<?x1xf32>
// GATHER: moe.grouped_matmul %{{.*}} row_weights(%[[W]]) activation(
// GATHER: moe.combine %{{[^ ]*}}, %{{[^ ]*}} :
// ONE-LABEL: func.func @weight_on_input(
// ONE: moe.grouped_matmul %{{.*}} gather(%{{.*}}) row_weights(%{{.*}}) activation(<kind = silu>) :
// ONE: moe.combine %{{[^ ]*}}, %{{[^ ]*}} :
func.func @weight_on_input(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
  %w, %ids = moe.route %x, %gate router(<top_k = 1, score = sigmoid, score_after_top_k = true, weight_on = input>)
      : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x1xf32>, tensor<?x1xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) weight_on_input
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// Dense parts that treat rows alone stay: a norm before the layer, the residual behind it. A second layer finds rows that are split alike.
// CHECK-LABEL: func.func @two_layers_with_dense_parts(
// CHECK: linalg.generic
// CHECK: coll.all_to_all_v
// CHECK: %[[Y:.*]] = moe.combine
// CHECK: %[[Z:.*]] = arith.addf %[[Y]], %{{.*}} : tensor<?x64xf32>
// CHECK: moe.take %[[Z]]
// CHECK: coll.all_to_all_v
#row = affine_map<(t, h) -> (t, h)>
#scale = affine_map<(t, h) -> (h)>
func.func @two_layers_with_dense_parts(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %scale: tensor<64xf32>, %up: tensor<8x2x96x64xf32>,
    %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x64xf32>
  %empty = tensor.empty(%t) : tensor<?x64xf32>
  %normed = linalg.generic {indexing_maps = [#row, #scale, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %scale : tensor<?x64xf32>, tensor<64xf32>) outs(%empty : tensor<?x64xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %scaled = arith.mulf %a, %b : f32
    linalg.yield %scaled : f32
  } -> tensor<?x64xf32>
  %y = moe.experts %normed, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  %z = arith.addf %y, %x : tensor<?x64xf32>
  %y2 = moe.experts %z, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y2 : tensor<?x64xf32>
}
