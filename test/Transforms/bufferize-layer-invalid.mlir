// RUN: moe-opt %s --moe-bufferize-layer --split-input-file --verify-diagnostics

shard.grid @ranks(shape = 1)
// expected-error @+1 {{sorts no routed tokens, but a layer with routed experts is expected}}
func.func @no_experts(%x: tensor<?x4xf32> {moe.name = "x", moe.split = array<i64: 0>}) { return }

// -----

shard.grid @ranks(shape = 1)
// expected-error @+1 {{argument `gate` has neither `moe.weight`, which makes a weight of it, nor `moe.split`, which says how its rows lie over the ranks}}
func.func @neither_weight_nor_input(%ids: tensor<?x1xi32> {moe.name = "expert_ids", moe.split = array<i64: 0>}, %gate: tensor<2x4xf32> {moe.name = "gate"}) {
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  return
}

// -----

shard.grid @ranks(shape = 1)
// expected-error @+1 {{`expert_ids` is split over axes [0, 0], but distinct axes of a grid are expected}}
func.func @split_twice(%ids: tensor<?x1xi32> {moe.name = "expert_ids", moe.split = array<i64: 0, 0>}) {
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  return
}

// -----

// expected-error @+1 {{stands beside 0 grids, but one `shard.grid` is expected}}
func.func @no_grid(%ids: tensor<?x1xi32> {moe.name = "expert_ids", moe.split = array<i64: 0>}) {
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x1xi32>) -> (tensor<?xi32>, tensor<?x1xi32>, tensor<3xi32>)
  return
}

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @layers_of_two_kinds(%x: tensor<?x8xf32> {moe.name = "x", moe.split = array<i64: 0, 1, 2>}, %ids: tensor<?x2xi32> {moe.name = "ids", moe.split = array<i64: 0, 1, 2>},
    %others: tensor<?x2xi32> {moe.name = "others", moe.split = array<i64: 0, 1, 2>}) -> (tensor<?x2xi32> {moe.name = "y", moe.split = array<i64: 0, 1, 2>}) {
  // expected-note @+1 {{an earlier layer routes to 2 of 4}}
  %a:3 = moe.sort %ids experts 4 slots [0, 1, 2, 3] window 4 : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<5xi32>)
  // expected-error @+1 {{'moe.sort' op routes to 2 of 2 experts, but one function has layers of one kind only; put each layer into a function of its own}}
  %b:3 = moe.sort %others experts 2 slots [0, 1] window 2 : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3xi32>)
  return %b#1 : tensor<?x2xi32>
}
