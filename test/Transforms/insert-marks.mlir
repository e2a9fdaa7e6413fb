// RUN: moe-opt %s --moe-insert-marks | FileCheck %s

// Steps are numbered in order, a collective has none, and copies and leftovers are steps as well.
shard.grid @ranks(shape = 2) {coll.axes = ["ep"]}
// CHECK-LABEL: func.func @layer0
func.func @layer0(%x: memref<?x64xf32>, %gate: memref<8x64xf32>, %logits: memref<?x8xf32>, %c: memref<2x2xi32>, %d: memref<2x2xi32>, %y: memref<?x64xf32>) {
  // CHECK-NEXT: moert.mark 0
  // CHECK-NEXT: moe.router_logits
  moe.router_logits %x, %gate outs(%logits) : (memref<?x64xf32>, memref<8x64xf32>, memref<?x8xf32>) -> ()
  // CHECK-NEXT: moert.mark{{$}}
  // CHECK-NEXT: coll.all_to_all
  coll.all_to_all %c on @ranks axes [0] outs(%d) : (memref<2x2xi32>, memref<2x2xi32>) -> ()
  // CHECK-NEXT: moert.mark 1
  // CHECK-NEXT: memref.copy
  memref.copy %x, %y : memref<?x64xf32> to memref<?x64xf32>
  // CHECK-NEXT: moert.mark 2
  // CHECK-NEXT: linalg.add
  linalg.add ins(%x, %x : memref<?x64xf32>, memref<?x64xf32>) outs(%y : memref<?x64xf32>)
  // CHECK-NEXT: return
  return
}
// CHECK: moert.interface @layer0
// CHECK-SAME: moert.steps = ["router_logits", "copy", "add"]
moert.interface @layer0 on @ranks layer 0 experts 8 top_k 2 slots [0, 1, 2, 3, 4, 5, 6, 7] inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = [0]>] outputs [#moert.value<name = "y", type = tensor<?x64xf32>, split = [0]>] weights [] packed [] arena <constant = 0, per_token = 0, per_share = 0, shares = 2>

// CHECK-LABEL: func.func @nobody_calls
// CHECK-NOT: moert.mark
func.func @nobody_calls(%x: memref<?x64xf32>, %y: memref<?x64xf32>) {
  memref.copy %x, %y : memref<?x64xf32> to memref<?x64xf32>
  return
}
