// RUN: moe-opt %s --moe-bufferize-layer --split-input-file --verify-diagnostics

shard.grid @ranks(shape = 1)
// expected-error @+1 {{sorts 0 sets of routed tokens, but a layer has one set of routed experts}}
func.func @no_experts(%x: tensor<?x4xf32> {moe.name = "x", moe.split = array<i64: 0>}) { return }

// -----

shard.grid @ranks(shape = 1)
// expected-error @+1 {{argument `gate` has neither `moe.weight`, which makes a weight of it, nor `moe.split`, which says how its rows lie over the ranks}}
func.func @neither_weight_nor_input(%ids: tensor<?x1xi32> {moe.name = "expert_ids", moe.split = array<i64: 0>}, %gate: tensor<2x4xf32> {moe.name = "gate"}) {
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  return
}

// -----

// expected-error @+1 {{stands beside 0 grids, but one `shard.grid` is expected}}
func.func @no_grid(%ids: tensor<?x1xi32> {moe.name = "expert_ids", moe.split = array<i64: 0>}) {
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  return
}
