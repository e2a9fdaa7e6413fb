// RUN: moe-opt %s --moe-count-on-host | FileCheck %s

shard.grid @ranks(shape = 2x2x1) {coll.axes = ["edp", "ep", "etp"]}

// CHECK-LABEL: func @gathered
// Tokens are split over edp and ep; the members of a group over ep differ in the second digit, and have this rank's first one.
// CHECK: %[[HOST:.*]] = memref.alloca() : memref<2x1xi32>
// CHECK: %[[ALL:.*]] = moert.total_tokens : index
// CHECK: %[[LEAST:.*]] = arith.divui %[[ALL]], %c4
// CHECK: %[[MORE:.*]] = arith.remui %[[ALL]], %c4
// CHECK: %[[MINE:.*]] = coll.index on @ranks axes [0]
// CHECK: arith.cmpi ult, %{{.*}}, %[[MORE]]
// CHECK: memref.store %{{.*}}, %[[HOST]][%c0{{.*}}, %c0{{.*}}]
// CHECK: coll.index on @ranks axes [0]
// CHECK: memref.store %{{.*}}, %[[HOST]][%c1{{.*}}, %c0{{.*}}]
// CHECK-NOT: coll.all_gather %
// CHECK: coll.rows %[[HOST]]
// CHECK: coll.all_gather_v %{{.*}} counts(%[[HOST]])
// Rows that are kept here: their bound, of which half is expected; no counts.
// CHECK: moe.sort
// CHECK-NOT: moe.counts
// CHECK: %[[PAIRS:.*]] = arith.muli %{{.*}}, %c2
// CHECK: moe.grouped_matmul {{.*}} rows(%[[PAIRS]]) {{.*}} {gather_divisor = 2 : i64, moe.part = array<i64: 2, 4>}
// CHECK: coll.reduce_scatter_v %{{.*}} counts(%[[HOST]])
func.func @gathered(%x: memref<?x64xbf16> {moe.split = array<i64: 0, 1>}, %ids: memref<?x2xi32> {moe.split = array<i64: 0, 1>}, %w: memref<2x2x64x64xbf16>,
                    %y: memref<?x64xbf16>, %word: memref<1xi32>, %counts: memref<2x1xi32>, %arena: memref<?xi8>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %dim = memref.dim %x, %c0 : memref<?x64xbf16>
  %n = arith.index_cast %dim : index to i32
  memref.store %n, %word[%c0] : memref<1xi32>
  coll.all_gather %word on @ranks axes [1] outs(%counts) : (memref<1xi32>, memref<2x1xi32>) -> ()
  %rows = coll.rows %counts bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<2x1xi32>
  %all = memref.view %arena[%c0][%rows] : memref<?xi8> to memref<?x64xbf16>
  coll.all_gather_v %x counts(%counts) rows(%rows) on @ranks axes [1] outs(%all) : (memref<?x64xbf16>, memref<2x1xi32>, index, memref<?x64xbf16>) -> ()
  %allids = memref.view %arena[%c0][%rows] : memref<?xi8> to memref<?x2xi32>
  coll.all_gather_v %ids counts(%counts) rows(%rows) on @ranks axes [1] outs(%allids) : (memref<?x2xi32>, memref<2x1xi32>, index, memref<?x2xi32>) -> ()
  %order = memref.view %arena[%c0][%rows] : memref<?xi8> to memref<?xi32>
  %pos = memref.view %arena[%c0][%rows] : memref<?xi8> to memref<?x2xi32>
  %off = memref.view %arena[%c0][] : memref<?xi8> to memref<3xi32>
  moe.sort %allids first(%c2) experts 4 slots [0, 1, 2, 3] window 2 outs(%order, %pos, %off) : (memref<?x2xi32>, index, memref<?xi32>, memref<?x2xi32>, memref<3xi32>) -> ()
  %kept = memref.view %arena[%c0][] : memref<?xi8> to memref<1x2xi32>
  moe.counts %off outs(%kept) : (memref<3xi32>, memref<1x2xi32>) -> ()
  %m = coll.rows %kept bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : memref<1x2xi32>
  %h = memref.view %arena[%c0][%m] : memref<?xi8> to memref<?x64xbf16>
  moe.grouped_matmul %all, %w rows(%m) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h) {gather_divisor = 2 : i64}
      : (memref<?x64xbf16>, memref<2x2x64x64xbf16>, index, memref<3xi32>, memref<?xi32>, memref<?x64xbf16>) -> ()
  coll.reduce_scatter_v %all counts(%counts) rows(%dim) on @ranks axes [1] outs(%y) : (memref<?x64xbf16>, memref<2x1xi32>, index, memref<?x64xbf16>) -> ()
  return
}
moert.interface @gathered on @ranks layer 0 experts 4 top_k 2 slots [0, 1, 2, 3]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = [0, 1]>, #moert.value<name = "ids", type = tensor<?x2xi32>, split = [0, 1]>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = [0, 1]>] weights [] packed [] arena <>

// What an exchange makes stays the device's. Rows of one slot that two choices of a token could name are bounded by the slot, and half of them expected.
// CHECK-LABEL: func @kept
// CHECK: coll.all_to_all
// CHECK: coll.rows %arg1
// CHECK-NOT: moe.counts
// CHECK: %[[TOKENS:.*]] = memref.dim %arg2
// CHECK: %[[BOUND:.*]] = arith.muli %[[TOKENS]], %c1
// CHECK-NOT: coll.rows %arg3
// CHECK: moe.grouped_matmul {{.*}} rows(%[[BOUND]]) {{.*}} {gather_divisor = 2 : i64, moe.part = array<i64: 2, 4>}
func.func @kept(%send: memref<2x1xi32>, %recv: memref<2x1xi32>, %ids: memref<?x2xi32>, %kept: memref<1x1xi32>, %order: memref<?xi32>, %pos: memref<?x2xi32>,
                %off: memref<2xi32>, %x: memref<?x64xbf16>, %w: memref<1x2x64x64xbf16>, %arena: memref<?xi8>) {
  %c0 = arith.constant 0 : index
  coll.all_to_all %send on @ranks axes [1] outs(%recv) : (memref<2x1xi32>, memref<2x1xi32>) -> ()
  %rows = coll.rows %recv bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<2x1xi32>
  %all = memref.view %arena[%c0][%rows] : memref<?xi8> to memref<?x64xbf16>
  moe.sort %ids first(%c0) experts 4 slots [0, 1, 2, 3] window 1 outs(%order, %pos, %off) : (memref<?x2xi32>, index, memref<?xi32>, memref<?x2xi32>, memref<2xi32>) -> ()
  moe.counts %off outs(%kept) : (memref<2xi32>, memref<1x1xi32>) -> ()
  %m = coll.rows %kept bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<1x1xi32>
  %h = memref.view %arena[%c0][%m] : memref<?xi8> to memref<?x64xbf16>
  moe.grouped_matmul %x, %w rows(%m) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h) {gather_divisor = 2 : i64}
      : (memref<?x64xbf16>, memref<1x2x64x64xbf16>, index, memref<2xi32>, memref<?xi32>, memref<?x64xbf16>) -> ()
  return
}
moert.interface @kept on @ranks layer 0 experts 4 top_k 2 slots [0, 1, 2, 3] inputs [] outputs [] weights [] packed [] arena <>
