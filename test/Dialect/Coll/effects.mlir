// RUN: moe-opt %s --control-flow-sink | FileCheck %s
// RUN: moe-opt %s --cse | FileCheck %s
// RUN: moe-opt %s --loop-invariant-code-motion --loop-invariant-subset-hoisting | FileCheck %s
// RUN: moe-opt %s --verify-each=0 --remove-dead-values | FileCheck %s --check-prefix=DEAD
// RUN: moe-opt %s --canonicalize --cse --control-flow-sink --loop-invariant-code-motion --symbol-dce | FileCheck %s

// Collectives write the communicator: upstream passes leave every one of them
// where it stands, as often as it stands there, and in its order.
// (remove-dead-values also removes symbols without effects, such as the grid, so
// that its output does not verify.)

shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}

// A use in one branch only is no reason to communicate there. (Upstream's
// `shard.all_reduce` is Pure and moves: see docs/Collectives.md.)
// CHECK-LABEL: func @used_in_one_branch
func.func @used_in_one_branch(%c: i1, %x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: coll.all_reduce
  // CHECK: {{scf.if|arith.select}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  %y = scf.if %c -> tensor<4xf32> {
    scf.yield %s : tensor<4xf32>
  } else {
    scf.yield %x : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}

// Twice the same is two collectives; two of different groups keep their order.
// CHECK-LABEL: func @twice_the_same
func.func @twice_the_same(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  // CHECK-NEXT: coll.all_reduce %{{.*}} axes [0]
  %a = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: coll.all_reduce %{{.*}} axes [1]
  %b = coll.all_reduce %x on @ranks axes [1] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: coll.all_reduce %{{.*}} axes [0]
  %c = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: return
  return %a, %c : tensor<4xf32>, tensor<4xf32>
}

// Invariant in the loop, and yet once per round.
// CHECK-LABEL: func @invariant_in_a_loop
func.func @invariant_in_a_loop(%n: index, %x: tensor<4xf32>, %c: tensor<4x2xi32>, %rows: tensor<?x8xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: scf.for
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%v = %x) -> tensor<4xf32> {
    // CHECK-NEXT: coll.all_reduce
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
    // CHECK-NEXT: coll.all_to_all
    %r = coll.all_to_all %c on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
    // CHECK: coll.all_to_all_v
    %q = coll.all_to_all_v %rows counts(%c, %r) rows(%c0) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x8xf32>
    // CHECK: scf.yield
    scf.yield %s : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}

// Nobody reads the results; the other members wait all the same.
// CHECK-LABEL: func @results_without_uses
// DEAD: "results_without_uses"
// DEAD: "coll.all_reduce"
// DEAD-NEXT: "coll.all_gather"
// DEAD-NEXT: "coll.reduce_scatter"
// DEAD-NEXT: "coll.all_to_all"
// DEAD-NEXT: coll.all_gather_v
// DEAD-NEXT: coll.reduce_scatter_v
// DEAD-NEXT: coll.all_to_all_v
// DEAD-NEXT: coll.send
// DEAD-NEXT: coll.recv
func.func @results_without_uses(%x: tensor<4xf32>, %m: tensor<4x4xf32>, %rows: tensor<?x8xf32>, %n: index, %counts: tensor<4xi32>) {
  // CHECK-NEXT: coll.all_reduce
  %a = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: coll.all_gather %
  %b = coll.all_gather %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4x4xf32>
  // CHECK-NEXT: coll.reduce_scatter %
  %c = coll.reduce_scatter %m on @ranks axes [0] : (tensor<4x4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: coll.all_to_all %
  %d = coll.all_to_all %m on @ranks axes [0] : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK-NEXT: coll.all_gather_v
  %e = coll.all_gather_v %rows counts(%counts) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x8xf32>
  // CHECK-NEXT: coll.reduce_scatter_v
  %f = coll.reduce_scatter_v %rows counts(%counts) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x8xf32>
  // CHECK-NEXT: coll.all_to_all_v
  %g = coll.all_to_all_v %rows counts(%counts, %counts) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, tensor<4xi32>, index) -> tensor<?x8xf32>
  // CHECK-NEXT: coll.send
  coll.send %x to %n on @ranks axes [0] : tensor<4xf32>
  // CHECK-NEXT: coll.recv
  %h = coll.recv from %n on @ranks axes [0] : (index) -> tensor<4xf32>
  // CHECK-NEXT: return
  return
}

// A started collective neither moves over its buffers' accesses nor into the loop
// behind it.
// CHECK-LABEL: func @started
func.func @started(%x: memref<4xf32>, %s: memref<4xf32>, %v: f32) -> f32 {
  %c0 = arith.constant 0 : index
  // CHECK: memref.store
  memref.store %v, %x[%c0] : memref<4xf32>
  // CHECK-NEXT: coll.start {
  // CHECK-NEXT: coll.all_reduce
  %t = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<4xf32>, memref<4xf32>) -> ()
  }
  // CHECK: coll.wait
  coll.wait %t
  // CHECK-NEXT: memref.load
  %r = memref.load %s[%c0] : memref<4xf32>
  // CHECK-NEXT: return
  return %r : f32
}
