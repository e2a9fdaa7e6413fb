// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-verify-placed

func.func @no_placement(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{'moe.shared_expert' op has no placement, but one is expected; `moe-place-experts` pins it}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

func.func @no_grid(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{is placed on the grid `ranks`, but there is no `shard.grid` of that name}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

// expected-note @+1 {{the grid is declared here}}
shard.grid @ranks(shape = 1x2x2)
func.func @axis_without_role(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{has a placement over axes [1, 2], but ep, etp and edp together are expected to be axes 0 to 2 of `ranks`, each once}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x3x2)
func.func @slots_not_divided(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  // expected-error @+1 {{has a placement with 8 slots, but the same number for each of 3 ranks is expected}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x1x5)
func.func @width_not_divided(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  // expected-error @+1 {{has experts of width I = 96, which etp=5 does not divide; nearest legal choice on 5 ranks: etp=1}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// expected-note @+1 {{the grid is declared here}}
shard.grid @ranks(shape = 1x1x2)
func.func @two_level_without_nodes(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  // expected-error @+1 {{has a placement with dispatcher = two_level, but ep has no axis called `node`; name one in `coll.axes`, or use dispatcher = all_to_all}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7], dispatcher = two_level>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 2x1x2) {coll.axes = ["node", "ep", "etp"]}
func.func @replicas_that_are_no_neighbours(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>,
    %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{has a placement with attn_tp = [0], but the last axes of the grid are expected}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [0, 1], etp = [2], edp = [], slots = [0, 1, 2, 3, 4, 5, 6, 7], boundary = replicated, attn_tp = [0]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 2x1x2) {coll.axes = ["node", "ep", "etp"]}
func.func @replicas_of_split_tokens(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>,
    %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{has a placement with attn_tp = [2] and boundary = split, but it says who holds the same tokens at boundary = replicated}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [0, 1], etp = [2], edp = [], slots = [0, 1, 2, 3, 4, 5, 6, 7], attn_tp = [2]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @two_boundaries(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>,
    %shared_up: tensor<2x80x64xf32>, %shared_down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  // expected-note @+1 {{the other layer is here}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  // expected-error @+1 {{has another grid or boundary than a layer before it, but one for the whole function is expected}}
  %s = moe.shared_expert %y, %shared_up, %shared_down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [], boundary = replicated>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 4294967296x4294967296x1)
func.func @more_ranks_than_are_numbered(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>,
    %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{names the grid `ranks` of 4294967296x4294967296x1 ranks, expected 1 to 2147483647; nearest legal choice: 2147483647x1x1}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      placement(<grid = @ranks, ep = [0, 1], etp = [2], edp = [], slots = [0, 1, 2, 3, 4, 5, 6, 7]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// expected-error @+1 {{`no_layer` has no moe.experts and no moe.shared_expert, but a layer to place is expected in every function}}
func.func @no_layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  return %x : tensor<?x64xf32>
}

// -----

// expected-error @+1 {{the module has no function, but at least one layer is expected}}
module {
}
