// RUN: moe-opt %s --moe-place-experts='place="ranks=8 nodes=4 dispatcher=two_level dedup=true attn_tp=4 boundary=replicated"' 2>&1 | FileCheck %s

// A router that keeps two of four groups of four experts, on four nodes of one group each: eight experts of a token are on two nodes.
// CHECK: remark: pinned by --place: 16 experts of width 96 {{.*}}, dispatcher=two_level dedup=true (a token goes to at most 2 of 4 nodes), boundary=replicated
// CHECK: place = "ranks=8 ep=8 etp=1 edp=1 dispatcher=two_level dedup=true boundary=replicated shared=replicated nodes=4 attn_tp=4 attn_dp=2 cp=1"
// CHECK: shard.grid @ranks(shape = 1x2x2x2x1) {coll.axes = ["edp", "ep", "node", "ep2", "etp"]}
// CHECK: dispatcher = two_level, dedup = true, boundary = replicated, attn_tp = [2, 3, 4]>
func.func @groups(%x: tensor<?x64xf32>, %gate: tensor<16x64xf32>, %up: tensor<16x2x96x64xf32>, %down: tensor<16x64x96xf32>) -> tensor<?x64xf32> {
  %w, %ids = moe.route %x, %gate router(<top_k = 8, n_group = 4, topk_group = 2, group_score = max>)
      : (tensor<?x64xf32>, tensor<16x64xf32>) -> (tensor<?x8xf32>, tensor<?x8xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x8xi32>, tensor<?x8xf32>, tensor<16x2x96x64xf32>, tensor<16x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
