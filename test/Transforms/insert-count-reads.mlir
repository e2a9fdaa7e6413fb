// RUN: moe-opt %s --moe-insert-count-reads | FileCheck %s

shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}

// Each buffer is read once, behind the op that makes its counts.
// CHECK-LABEL: func @exchange
// CHECK-COUNT-2: memref.alloca() : memref<4x2xi32>
func.func @exchange(%o: memref<9xi32>, %send: memref<4x2xi32>, %recv: memref<4x2xi32>, %x: memref<?x8xbf16>, %y: memref<?x8xbf16>) {
  // CHECK: moe.counts
  // CHECK-NEXT: moert.read %[[SEND:[a-z0-9]+]], %[[A:[a-z0-9_]+]] : memref<4x2xi32>, memref<4x2xi32>
  moe.counts %o outs(%send) : (memref<9xi32>, memref<4x2xi32>) -> ()
  // CHECK-NEXT: coll.all_to_all %[[SEND]] on @ranks axes [0] outs(%[[RECV:[a-z0-9]+]])
  // CHECK-NEXT: moert.read %[[RECV]], %[[B:[a-z0-9_]+]] : memref<4x2xi32>, memref<4x2xi32>
  coll.all_to_all %send on @ranks axes [0] outs(%recv) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
  // CHECK-NEXT: coll.rows %[[B]] bound
  %n = coll.rows %recv bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<4x2xi32>
  // CHECK-NEXT: coll.all_to_all_v %{{.*}} counts(%[[A]], %[[B]])
  coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0] outs(%y)
      : (memref<?x8xbf16>, memref<4x2xi32>, memref<4x2xi32>, index, memref<?x8xbf16>) -> ()
  return
}
