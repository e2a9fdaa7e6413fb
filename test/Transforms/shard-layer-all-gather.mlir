// RUN: moe-opt %s --moe-place-experts='place="ranks=8 ep=2 etp=2 dispatcher=all_gather"' --moe-shard-layer --moe-verify-sharded --verify-roundtrip 2>/dev/null | FileCheck %s
// RUN: moe-opt %s --moe-place-experts='place="ranks=4 etp=4 dispatcher=all_gather"' --moe-shard-layer --canonicalize --cse --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=ETP
// RUN: moe-opt %s --moe-place-experts='place="ranks=4 edp=4 dispatcher=all_gather"' --moe-shard-layer --canonicalize --cse --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=EDP

// Two replicas: tokens are gathered within one of them (axes 1 and 2), each rank picks the rows of its own four slots, and sums of
// tokens come back. The shared expert's result is added after that: each rank of the group would add it before.
// CHECK: #[[TOKENS:.*]] = affine_map<()[s0] -> ((s0 ceildiv 8) * 4)>
// CHECK: #[[ROWS:.*]] = affine_map<()[s0] -> ((s0 ceildiv 8) * 8)>
// CHECK-LABEL: func.func @layer(
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}
// CHECK-SAME: %[[UP:[^ ]*]]: tensor<4x2x48x64xf32>
// CHECK-SAME: %[[DOWN:[^ ]*]]: tensor<4x64x48xf32>
// CHECK: %[[T:.*]] = tensor.dim %[[X]]
// CHECK: %[[W:.*]]:2 = moe.route
// CHECK: %[[HS:.*]] = moe.grouped_matmul %[[X]]
// CHECK: %[[S:.*]] = moe.grouped_matmul %[[HS]]
// CHECK: %[[I32:.*]] = arith.index_cast %[[T]]
// CHECK: %[[MINE:.*]] = tensor.from_elements %[[I32]] : tensor<1xi32>
// CHECK: %[[COUNTS:.*]] = coll.all_gather %[[MINE]] on @ranks axes [1, 2] : (tensor<1xi32>) -> tensor<4x1xi32>
// CHECK: %[[N:.*]] = coll.rows %[[COUNTS]] bound(#[[TOKENS]]) on @ranks
// CHECK: %[[XS:.*]] = coll.all_gather_v %[[X]] counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [1, 2]
// CHECK: %[[IDS:.*]] = coll.all_gather_v %[[W]]#1 counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [1, 2]
// CHECK: %[[WS:.*]] = coll.all_gather_v %[[W]]#0 counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [1, 2]
// CHECK: %[[ME:.*]] = coll.index on @ranks axes [1]
// CHECK: %[[FIRST:.*]] = arith.muli %[[ME]], %c4
// CHECK: %[[SORT:.*]]:3 = moe.sort %[[IDS]] first(%[[FIRST]]) experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 4
// CHECK: %[[OWN:.*]] = moe.counts %[[SORT]]#2 : (tensor<5xi32>) -> tensor<1x4xi32>
// CHECK: %[[M:.*]] = coll.rows %[[OWN]] bound(#[[ROWS]]) on @ranks
// CHECK: %[[H:.*]] = moe.grouped_matmul %[[XS]], %[[UP]] rows(%[[M]]) offsets(%[[SORT]]#2) gather(%[[SORT]]#0) activation(<kind = silu>) {gather_divisor = 2 : i64}
// CHECK: %[[P:.*]] = moe.grouped_matmul %[[H]], %[[DOWN]] rows(%[[M]]) offsets(%[[SORT]]#2) :
// CHECK: %[[SUMS:.*]] = moe.combine %[[P]], %[[SORT]]#1 weights(%[[WS]]) :
// CHECK: %[[BACK:.*]] = coll.reduce_scatter_v %[[SUMS]] counts(%[[COUNTS]]) rows(%[[T]]) on @ranks axes [1, 2]
// CHECK: %[[Y:.*]] = moe.combine %[[BACK]] addend(%[[S]]) :
// CHECK: return %[[Y]]

// Width alone is cut: all slots are here, so rows need no count.
// ETP-LABEL: func.func @layer(
// ETP: %[[N:.*]] = coll.rows %{{.*}} : tensor<4x1xi32>
// ETP: moe.sort %{{.*}} experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8
// ETP-NEXT: %[[M:.*]] = arith.muli %[[N]], %c2
// ETP-NEXT: moe.grouped_matmul %{{.*}} rows(%[[M]])

// Replicas alone: nothing moves.
// EDP-LABEL: func.func @layer(
// EDP-NOT: coll.
// EDP: moe.combine %{{.*}} weights(%{{.*}}) addend(%{{.*}}) :
// EDP-NEXT: return
func.func @layer(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>,
    %shared_up: tensor<2x80x64xf32>, %shared_down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  %s = moe.shared_expert %x, %shared_up, %shared_down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  %z = arith.addf %y, %s : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}
