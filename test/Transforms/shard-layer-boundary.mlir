// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=4 boundary=replicated"' --moe-shard-layer --moe-verify-sharded --verify-roundtrip 2>/dev/null | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=1 boundary=replicated"' --moe-shard-layer --moe-verify-sharded 2>/dev/null | FileCheck %s --check-prefix=ONE

// Every input is cut to the rank's share, every result gathered with one exchange of counts. A layer without its router takes the
// routing from its caller.
// CHECK: #[[TOKENS:.*]] = affine_map<()[s0] -> (s0)>
// CHECK-LABEL: func.func @no_router(
// CHECK-SAME: %[[ALL_X:[^ ]*]]: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64>}
// CHECK-SAME: %[[ALL_IDS:[^ ]*]]: tensor<?x2xi32> {moe.name = "expert_ids", moe.split = array<i64>}
// CHECK-SAME: %[[ALL_W:[^ ]*]]: tensor<?x2xf32> {moe.name = "expert_weights", moe.split = array<i64>}
// CHECK-SAME: -> (tensor<?x64xf32> {moe.name = "y", moe.split = array<i64>}, tensor<?x2xi32> {moe.split = array<i64>})
// CHECK: %[[X:.*]] = coll.share %[[ALL_X]] on @ranks axes [0, 1, 2]
// CHECK: %[[T:.*]] = tensor.dim %[[X]]
// CHECK: %[[IDS:.*]] = coll.share %[[ALL_IDS]] on @ranks axes [0, 1, 2]
// CHECK: %[[W:.*]] = coll.share %[[ALL_W]] on @ranks axes [0, 1, 2]
// CHECK: moe.sort %[[IDS]]
// CHECK: moe.take %[[X]]
// CHECK: %[[Y:.*]] = moe.combine %{{.*}} weights(%[[W]]) :
// CHECK: %[[COUNTS:.*]] = coll.all_gather %{{.*}} on @ranks axes [0, 1, 2] : (tensor<1xi32>) -> tensor<4x1xi32>
// CHECK: %[[N:.*]] = coll.rows %[[COUNTS]] bound(#[[TOKENS]]) on @ranks
// CHECK: %[[ALL_Y:.*]] = coll.all_gather_v %[[Y]] counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [0, 1, 2]
// CHECK: %[[OUT_IDS:.*]] = coll.all_gather_v %[[IDS]] counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [0, 1, 2]
// CHECK: return %[[ALL_Y]], %[[OUT_IDS]]

// ONE-LABEL: func.func @no_router(
// ONE-SAME: {moe.name = "x", moe.split = array<i64>}
// ONE-NOT: coll.
func.func @no_router(%x: tensor<?x64xf32> {moe.name = "x"}, %ids: tensor<?x2xi32> {moe.name = "expert_ids"}, %w: tensor<?x2xf32> {moe.name = "expert_weights"},
    %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>) -> (tensor<?x64xf32> {moe.name = "y"}, tensor<?x2xi32>) {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y, %ids : tensor<?x64xf32>, tensor<?x2xi32>
}
