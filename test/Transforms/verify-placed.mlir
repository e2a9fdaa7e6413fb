// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-verify-placed | FileCheck %s

// A hand-written placement on a grid of two axes is as good as a pinned one.
// CHECK: module attributes {moe.phase = "placed"}
shard.grid @cluster(shape = 4x2)
func.func @by_hand(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @cluster, ep = [0], etp = [1], edp = [], slots = [7, 6, 5, 4, 3, 2, 1, 0]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
