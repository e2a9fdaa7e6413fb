// RUN: moe-opt %s --compile-to=sharded | FileCheck %s

// A placement in the text needs no --place: any grid whose axes have one role each, and any order of slots.
// CHECK: module attributes {moe.phase = "sharded"}
// CHECK: moe.sort %{{.*}} experts 4 slots [3, 2, 1, 0] window 4
// CHECK: coll.all_to_all_v {{.*}} on @cluster axes [0]
// CHECK: coll.all_gather_v {{.*}} on @cluster axes [1]
shard.grid @cluster(shape = 2x2)
func.func @by_hand(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x2x96x64xf32>, %down: tensor<4x64x96xf32>)
    -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @cluster, ep = [0], etp = [1], edp = [], slots = [3, 2, 1, 0]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x2x96x64xf32>, tensor<4x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
