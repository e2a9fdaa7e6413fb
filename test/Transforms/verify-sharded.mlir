// RUN: moe-opt %s --moe-verify-sharded | FileCheck %s

// One rank's program, written by hand: rows split over both ranks, half of the slots each, one weight whole.
// CHECK: module attributes {moe.phase = "sharded"}
#half = #moe.slice<grid = @ranks, shape = [3, 64], splits = [#moe.split<dim = 0, axes = [1], by = slots>], slots = [2, 1, 0, -1]>
#whole = #moe.slice<grid = @ranks, shape = [8, 64], splits = []>
shard.grid @ranks(shape = 1x2x1)
func.func @by_hand(%x: tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}, %w: tensor<2x64xf32> {moe.slice = #half}, %gate: tensor<8x64xf32> {moe.slice = #whole})
    -> (tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}) {
  return %x : tensor<?x64xf32>
}
