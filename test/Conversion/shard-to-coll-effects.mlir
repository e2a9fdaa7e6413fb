// RUN: moe-opt %s --control-flow-sink | FileCheck %s --check-prefix=SUNK
// RUN: moe-opt %s --convert-shard-to-coll --control-flow-sink | FileCheck %s --check-prefix=KEPT

// Why the conversion runs first: `shard.all_reduce` counts as an op without
// effects, and moves to where only some ranks reach it.
// SUNK-LABEL: func @used_in_one_branch
// SUNK: scf.if
// SUNK-NEXT: shard.all_reduce
// KEPT-LABEL: func @used_in_one_branch
// KEPT: coll.all_reduce
// KEPT-NEXT: scf.if
shard.grid @ranks(shape = 4)
func.func @used_in_one_branch(%mine: i1, %x: tensor<8xf32>) -> tensor<8xf32> {
  %s = shard.all_reduce %x on @ranks grid_axes = [0] : tensor<8xf32> -> tensor<8xf32>
  %y = scf.if %mine -> tensor<8xf32> {
    scf.yield %s : tensor<8xf32>
  } else {
    scf.yield %x : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}
