// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

#gate_up = #moe.checkpoint<names = ["l.{e}.w1", "l.{e}.w3"], file_shape = [96, 64], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>

module attributes {moe.phase = "input", moe.options = {dtype = "f32"}} {
// CHECK-LABEL: func @mixtral_layer
func.func @mixtral_layer(%x: tensor<?x64xf32> {moe.name = "x"}, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32> {moe.weight = #gate_up},
    %down: tensor<8x64x96xf32>) -> (tensor<?x64xf32> {moe.name = "y"}) attributes {moe.layer = 0 : i64} {
  // CHECK: moe.route %{{.*}}, %{{.*}} router(<top_k = 2, normalize = sum>)
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: moe.experts {{.*}} activation(<kind = silu>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @deepseek_router
func.func @deepseek_router(%x: tensor<?x64xf32>, %gate: tensor<16x64xf32>, %b: tensor<16xf32>) -> (tensor<?x4xf32>, tensor<?x4xi32>) {
  // CHECK: selection_bias(%{{.*}}) router(<top_k = 4, score = sigmoid, n_group = 4, topk_group = 2, group_score = top2_sum, normalize = sum, normalize_epsilon = 1.0e-20, scale = 2.5, matmul = f32>)
  %w, %ids = moe.route %x, %gate selection_bias(%b)
      router(<top_k = 4, score = sigmoid, n_group = 4, topk_group = 2, group_score = top2_sum, normalize = sum, normalize_epsilon = 1.0e-20, scale = 2.5, matmul = f32>)
      : (tensor<?x64xf32>, tensor<16x64xf32>, tensor<16xf32>) -> (tensor<?x4xf32>, tensor<?x4xi32>)
  return %w, %ids : tensor<?x4xf32>, tensor<?x4xi32>
}
}
