// RUN: moe-opt %s --moe-place-experts='place="ranks=8 ep=4 etp=2 dedup=true"' --moe-shard-layer --moe-verify-sharded --moe-verify-collectives --verify-roundtrip 2>/dev/null | FileCheck %s --check-prefix=DEDUP
// RUN: moe-opt %s --moe-place-experts='place="ranks=8 nodes=2 dispatcher=two_level"' --moe-shard-layer --moe-verify-sharded --moe-verify-collectives 2>/dev/null | FileCheck %s --check-prefix=TWO
// RUN: moe-opt %s --moe-place-experts='place="ranks=4 etp=4 dedup=true"' --moe-shard-layer --moe-verify-collectives 2>/dev/null | FileCheck %s --check-prefix=WIDTH
// RUN: moe-opt %s --moe-place-experts='place="ranks=8 edp=2 nodes=8 attn_tp=2 boundary=replicated"' --moe-shard-layer --moe-verify-collectives 2>/dev/null | FileCheck %s --check-prefix=FOLD
// RUN: moe-opt %s --moe-place-experts='place="ranks=8 dispatcher=all_gather attn_tp=2 boundary=replicated"' --moe-shard-layer --moe-verify-collectives 2>/dev/null | FileCheck %s --check-prefix=KEEP
// RUN: moe-opt %s --moe-place-experts='place="ranks=4 edp=2 dispatcher=all_gather boundary=replicated attn_tp=4"' --moe-shard-layer --moe-verify-collectives 2>/dev/null | FileCheck %s --check-prefix=APART

// A token stands once in the order of ranks (two slots each); its row, ids and weights travel there, to all partners of the width, and are sorted
// for the rank's own slots. One sum for each comes back.
// DEDUP: #[[SENT:.*]] = affine_map<()[s0] -> ((s0 ceildiv 8) * 2)>
// DEDUP: #[[GOT:.*]] = affine_map<()[s0] -> ((s0 ceildiv 8) * 4)>
// DEDUP: #[[ALL:.*]] = affine_map<()[s0] -> (s0)>
// DEDUP-LABEL: func.func @layer(
// DEDUP: %[[R:.*]]:2 = moe.route %[[X:[^,]*]],
// DEDUP: %[[SORT:.*]]:3 = moe.sort %[[R]]#1 experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 group 2
// DEDUP: %[[SEND:.*]] = moe.counts %[[SORT]]#2 : (tensor<5xi32>) -> tensor<4x1xi32>
// DEDUP: %[[N:.*]] = coll.rows %[[SEND]] bound(#[[SENT]]) on @ranks
// DEDUP: %[[RECV:.*]] = coll.all_to_all %[[SEND]] on @ranks axes [1]
// DEDUP: %[[M:.*]] = coll.rows %[[RECV]] bound(#[[GOT]]) on @ranks
// DEDUP: %[[TX:.*]] = moe.take %[[X]], %[[SORT]]#0 rows(%[[N]]) top_k 2
// DEDUP: %[[GX:.*]] = coll.all_to_all_v %[[TX]] counts(%[[SEND]], %[[RECV]]) rows(%[[M]]) on @ranks axes [1] :
// DEDUP: %[[TI:.*]] = moe.take %[[R]]#1, %[[SORT]]#0
// DEDUP: %[[GI:.*]] = coll.all_to_all_v %[[TI]] {{.*}} {payload = "ids"}
// DEDUP: %[[TW:.*]] = moe.take %[[R]]#0, %[[SORT]]#0
// DEDUP: %[[GW:.*]] = coll.all_to_all_v %[[TW]] {{.*}} {payload = "weights"}
// DEDUP: %[[ME:.*]] = coll.index on @ranks axes [1]
// DEDUP: %[[FIRST:.*]] = arith.muli %[[ME]], %{{.*}}
// DEDUP: %[[COUNTS:.*]] = coll.all_gather %[[RECV]] on @ranks axes [2] : (tensor<4x1xi32>) -> tensor<2x4x1xi32>
// DEDUP: %[[A:.*]] = coll.rows %[[COUNTS]] bound(#[[ALL]]) on @ranks
// DEDUP: %[[AX:.*]] = coll.all_gather_v %[[GX]] counts(%[[COUNTS]]) rows(%[[A]]) on @ranks axes [2] :
// DEDUP: %[[AI:.*]] = coll.all_gather_v %[[GI]] {{.*}} {payload = "ids"}
// DEDUP: %[[AW:.*]] = coll.all_gather_v %[[GW]] {{.*}} {payload = "weights"}
// DEDUP: %[[OWN:.*]]:3 = moe.sort %[[AI]] first(%[[FIRST]]) experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 2 :
// DEDUP: %[[H:.*]] = moe.grouped_matmul %[[AX]], %{{.*}} gather(%[[OWN]]#0) activation(<kind = silu>) {gather_divisor = 2 : i64}
// DEDUP: %[[P:.*]] = moe.grouped_matmul %[[H]]
// DEDUP: %[[SUMS:.*]] = moe.combine %[[P]], %[[OWN]]#1 weights(%[[AW]])
// DEDUP: %[[PART:.*]] = coll.reduce_scatter_v %[[SUMS]] counts(%[[COUNTS]]) rows(%[[M]]) on @ranks axes [2]
// DEDUP: %[[BACK:.*]] = coll.all_to_all_v %[[PART]] counts(%[[RECV]], %[[SEND]]) rows(%[[N]]) on @ranks axes [1]
// DEDUP: %[[Y:.*]] = moe.combine %[[BACK]], %[[SORT]]#1 :
// DEDUP: return %[[Y]]

// Two nodes of four ranks: tokens over `node`, with four slots to a node; then pairs over `ep`, among the node's slots, whose weighted sums are made
// where the token came into the node.
// TWO: shard.grid @ranks(shape = 1x2x4x1) {coll.axes = ["edp", "node", "ep", "etp"]}
// TWO-LABEL: func.func @layer(
// TWO: %[[SORT:.*]]:3 = moe.sort %{{.*}} window 8 group 4
// TWO: %[[GX:.*]] = coll.all_to_all_v {{.*}} on @ranks axes [1] :
// TWO: %[[GI:.*]] = coll.all_to_all_v {{.*}} on @ranks axes [1] {payload = "ids"}
// TWO: %[[GW:.*]] = coll.all_to_all_v {{.*}} on @ranks axes [1] {payload = "weights"}
// TWO: %[[NODE:.*]] = coll.index on @ranks axes [1]
// TWO: %[[FIRST:.*]] = arith.muli %[[NODE]], %{{.*}}
// TWO: %[[PAIRS:.*]]:3 = moe.sort %[[GI]] first(%[[FIRST]]) experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 4 :
// TWO: %[[COUNT:.*]] = moe.counts %[[PAIRS]]#2 : (tensor<5xi32>) -> tensor<4x1xi32>
// TWO: moe.take %[[GX]], %[[PAIRS]]#0
// TWO: coll.all_to_all_v {{.*}} on @ranks axes [2]
// TWO: moe.regroup
// TWO: %[[IN:.*]] = coll.all_to_all_v {{.*}} on @ranks axes [2]
// TWO: %[[SUM:.*]] = moe.combine %[[IN]], %[[PAIRS]]#1 weights(%[[GW]])
// TWO: %[[OUT:.*]] = coll.all_to_all_v %[[SUM]] {{.*}} on @ranks axes [1]
// TWO: moe.combine %[[OUT]], %[[SORT]]#1 :

// Nowhere to travel to but the partners: tokens are gathered.
// WIDTH-LABEL: func.func @layer(
// WIDTH-NOT: all_to_all
// WIDTH: coll.all_gather_v
// WIDTH: coll.reduce_scatter_v

// Pairs of neighbours hold the same tokens, so ep is cut in two; nodes of one rank end the finest axis. Each takes its share, and gathers results.
// FOLD: shard.grid @ranks(shape = 2x2x2x1x1) {coll.axes = ["edp", "ep", "ep2", "node", "etp"]}
// FOLD: moe.split = array<i64: 0, 1>
// FOLD: coll.share %{{.*}} on @ranks axes [2, 3, 4]
// FOLD: coll.all_to_all_v {{.*}} on @ranks axes [1, 2]
// FOLD: coll.all_gather_v {{.*}} on @ranks axes [2, 3, 4]
// FOLD: return

// With all_gather they stay: only other neighbours' tokens are fetched, and all who hold them add their sums up.
// KEEP: shard.grid @ranks(shape = 1x4x2x1) {coll.axes = ["edp", "ep", "ep2", "etp"]}
// KEEP-LABEL: func.func @layer(
// KEEP-NOT: coll.share
// KEEP: coll.all_gather_v {{.*}} on @ranks axes [1]
// KEEP: %[[MINE:.*]] = coll.reduce_scatter_v {{.*}} on @ranks axes [1]
// KEEP: %[[Y:.*]] = coll.all_reduce %[[MINE]] on @ranks axes [2, 3]
// KEEP: return %[[Y]]

// Replicas hold the same tokens here, and do not add up their sums: each takes its share.
// APART-LABEL: func.func @layer(
// APART: coll.share
// APART-NOT: coll.all_reduce
func.func @layer(%x: tensor<?x64xf32> {moe.name = "x"}, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> (tensor<?x64xf32> {moe.name = "y"}) {
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
