// RUN: moe-opt %s --canonicalize --cse | FileCheck %s

// On tensors the operations have no effects: unused ones go, equal ones are one.
// CHECK-LABEL: func @value_form
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[GATE:.*]]: tensor<8x64xf32>)
func.func @value_form(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[L:.*]] = moe.router_logits %[[X]], %[[GATE]]
  %a = moe.router_logits %x, %gate : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  %b = moe.router_logits %x, %gate : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  %w, %ids = moe.select_experts %a router(<top_k = 2>) : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK-NEXT: return %[[L]], %[[L]]
  return %a, %b : tensor<?x8xf32>, tensor<?x8xf32>
}

// Attributes count: products in different precision are different.
// CHECK-LABEL: func @different_precision
func.func @different_precision(%x: tensor<?x64xbf16>, %gate: tensor<8x64xbf16>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: moe.router_logits %{{.*}}, %{{.*}} f32
  %a = moe.router_logits %x, %gate f32 : (tensor<?x64xbf16>, tensor<8x64xbf16>) -> tensor<?x8xf32>
  // CHECK-NEXT: moe.router_logits %{{.*}}, %{{.*}} :
  %b = moe.router_logits %x, %gate : (tensor<?x64xbf16>, tensor<8x64xbf16>) -> tensor<?x8xf32>
  // CHECK-NEXT: return
  return %a, %b : tensor<?x8xf32>, tensor<?x8xf32>
}

// On buffers they write: both stay, in order.
// CHECK-LABEL: func @buffer_form
func.func @buffer_form(%off: memref<9xi32>, %a: memref<4x2xi32>, %b: memref<8x1xi32>) {
  // CHECK-NEXT: moe.counts %{{.*}} outs(%{{.*}}) : (memref<9xi32>, memref<4x2xi32>)
  moe.counts %off outs(%a) : (memref<9xi32>, memref<4x2xi32>) -> ()
  // CHECK-NEXT: moe.counts %{{.*}} outs(%{{.*}}) : (memref<9xi32>, memref<8x1xi32>)
  moe.counts %off outs(%b) : (memref<9xi32>, memref<8x1xi32>) -> ()
  // CHECK-NEXT: return
  return
}
