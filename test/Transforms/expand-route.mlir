// RUN: moe-opt %s --moe-expand-route | FileCheck %s

// One op becomes a product and a selection; the router's options go to the one that they belong to.
// CHECK-LABEL: func @softmax
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32>, %[[G:.*]]: tensor<8x64xf32>
func.func @softmax(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  // CHECK: %[[L:.*]] = moe.router_logits %[[X]], %[[G]] : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  // CHECK: moe.select_experts %[[L]] router(<top_k = 2, normalize = sum>)
  // CHECK-NOT: moe.route
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return %w, %ids : tensor<?x2xf32>, tensor<?x2xi32>
}

// The bias of the logits is the product's, that of the selection is the selection's.
// CHECK-LABEL: func @biases
// CHECK-SAME: %{{.*}}: tensor<?x64xbf16>, %{{.*}}: tensor<8x64xbf16>, %[[B:.*]]: tensor<8xbf16>, %[[S:.*]]: tensor<8xf32>
func.func @biases(%x: tensor<?x64xbf16>, %gate: tensor<8x64xbf16>, %b: tensor<8xbf16>, %s: tensor<8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  // CHECK: moe.router_logits {{.*}} bias(%[[B]]) f32
  // CHECK: moe.select_experts {{.*}} selection_bias(%[[S]])
  %w, %ids = moe.route %x, %gate bias(%b) selection_bias(%s) router(<top_k = 2, score = sigmoid, matmul = f32>)
      : (tensor<?x64xbf16>, tensor<8x64xbf16>, tensor<8xbf16>, tensor<8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return %w, %ids : tensor<?x2xf32>, tensor<?x2xi32>
}
