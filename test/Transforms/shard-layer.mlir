// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=8 ep=4 etp=2"' --moe-verify-placed --moe-shard-layer --moe-verify-sharded --verify-roundtrip 2>/dev/null \
// RUN:   | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=1"' --moe-shard-layer --canonicalize --cse --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=ONE
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=8"' --moe-shard-layer --canonicalize --cse --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=EP
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=2 etp=2"' --moe-shard-layer --canonicalize --cse --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=ETP

#up = #moe.checkpoint<names = ["l.{e}.w1", "l.{e}.w3"], file_shape = [96, 64], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>

// The program of LADDER: rows out over ep, partners over etp, and the same way back.
// CHECK: #[[SHARES:.*]] = affine_map<()[s0] -> ((s0 ceildiv 8) * 8)>
// CHECK: #[[ALL:.*]] = affine_map<()[s0] -> (s0 * 2)>
// CHECK: moe.phase = "sharded"
// CHECK-LABEL: func.func @mixtral
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64: 0, 1, 2>}
// CHECK-SAME: %[[GATE:.*]]: tensor<8x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 64], splits = []>}
// CHECK-SAME: %[[UP:.*]]: tensor<2x2x48x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 2, 96, 64], splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>], slots = [0, 1, 2, 3, 4, 5, 6, 7]>
// CHECK-SAME: names = ["l.{e}.w1", "l.{e}.w3"]
// CHECK-SAME: %[[DOWN:.*]]: tensor<2x64x48xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 64, 96], splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>], slots = [0, 1, 2, 3, 4, 5, 6, 7]>}
// CHECK-SAME: -> (tensor<?x64xf32> {moe.name = "y", moe.split = array<i64: 0, 1, 2>}, tensor<?x2xi32> {moe.name = "expert_ids", moe.split = array<i64: 0, 1, 2>})
// CHECK: %[[T:.*]] = tensor.dim %[[X]]
// CHECK: %[[W:.*]]:2 = moe.route %[[X]], %[[GATE]]
// CHECK: %[[SORT:.*]]:3 = moe.sort %[[W]]#1 experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8
// CHECK: %[[SEND:.*]] = moe.counts %[[SORT]]#2 : (tensor<9xi32>) -> tensor<4x2xi32>
// CHECK: %[[TK:.*]] = arith.muli %[[T]], %{{.*}}
// CHECK: %[[ROWS:.*]] = moe.take %[[X]], %[[SORT]]#0 rows(%[[TK]]) top_k 2
// CHECK: %[[RECV:.*]] = coll.all_to_all %[[SEND]] on @ranks axes [1]
// CHECK: %[[N:.*]] = coll.rows %[[RECV]] bound(#[[SHARES]]) on @ranks
// CHECK: %[[IN:.*]] = coll.all_to_all_v %[[ROWS]] counts(%[[SEND]], %[[RECV]]) rows(%[[N]]) on @ranks axes [1]
// CHECK: %[[COUNTS:.*]] = coll.all_gather %[[RECV]] on @ranks axes [2] : (tensor<4x2xi32>) -> tensor<2x4x2xi32>
// CHECK: %[[M:.*]] = coll.rows %[[COUNTS]] bound(#[[ALL]]) on @ranks
// CHECK: %[[A:.*]] = coll.all_gather_v %[[IN]] counts(%[[COUNTS]]) rows(%[[M]]) on @ranks axes [2]
// CHECK: %[[BY_SLOT:.*]]:2 = moe.regroup %[[COUNTS]] rows(%[[M]])
// CHECK: %[[H:.*]] = moe.grouped_matmul %[[A]], %[[UP]] rows(%[[M]]) offsets(%[[BY_SLOT]]#1) gather(%[[BY_SLOT]]#0) activation(<kind = silu>) :
// CHECK: %[[P:.*]] = moe.grouped_matmul %[[H]], %[[DOWN]] rows(%[[M]]) offsets(%[[BY_SLOT]]#1) scatter(%[[BY_SLOT]]#0) :
// CHECK: %[[Q:.*]] = coll.reduce_scatter_v %[[P]] counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [2]
// CHECK: %[[BACK:.*]] = coll.all_to_all_v %[[Q]] counts(%[[RECV]], %[[SEND]]) rows(%[[TK]]) on @ranks axes [1]
// CHECK: %[[Y:.*]] = moe.combine %[[BACK]], %[[SORT]]#1 weights(%[[W]]#0) :
// CHECK: return %[[Y]], %[[W]]#1

// Nothing moves on one rank: rows are gathered by the product itself.
// ONE-LABEL: func.func @mixtral
// ONE-SAME: tensor<8x2x96x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 2, 96, 64], splits = []>
// ONE-NOT: coll.
// ONE: moe.route
// ONE-NEXT: %[[SORT:.*]]:3 = moe.sort
// ONE-NEXT: %[[TK:.*]] = arith.muli
// ONE-NEXT: %[[H:.*]] = moe.grouped_matmul %{{.*}}, %{{.*}} rows(%[[TK]]) offsets(%[[SORT]]#2) gather(%[[SORT]]#0) activation(<kind = silu>) {gather_divisor = 2 : i64}
// ONE-NEXT: %[[P:.*]] = moe.grouped_matmul %[[H]], %{{.*}} rows(%[[TK]]) offsets(%[[SORT]]#2) :
// ONE-NEXT: moe.combine %[[P]], %[[SORT]]#1
// ONE-NEXT: return

// Pure ep: no step over etp. Pure etp: none over ep, and the sort is by slot already.
// EP-LABEL: func.func @mixtral
// EP: coll.all_to_all %{{.*}} axes [1] : (tensor<8x1xi32>)
// EP: coll.all_to_all_v
// EP-NEXT: %[[BY_SLOT:.*]]:2 = moe.regroup %{{.*}} : (tensor<8x1xi32>, index)
// EP-NOT: axes [2]
// EP: coll.all_to_all_v
// EP-NEXT: moe.combine

// ETP-LABEL: func.func @mixtral
// ETP-SAME: tensor<8x2x48x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 2, 96, 64], splits = [#moe.split<dim = 2, axes = [2]>]>
// ETP: %[[SEND:.*]] = moe.counts %{{.*}} -> tensor<1x8xi32>
// ETP: coll.all_gather %[[SEND]] on @ranks axes [2] : (tensor<1x8xi32>) -> tensor<2x1x8xi32>
// ETP-NOT: axes [1]
// ETP: coll.reduce_scatter_v
// ETP-NEXT: moe.combine

func.func @mixtral(%x: tensor<?x64xf32> {moe.name = "x"}, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32> {moe.weight = #up},
    %down: tensor<8x64x96xf32>) -> (tensor<?x64xf32> {moe.name = "y"}, tensor<?x2xi32> {moe.name = "expert_ids"}) {
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y, %ids : tensor<?x64xf32>, tensor<?x2xi32>
}
