// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-verify-sharded

// expected-error @+1 {{the module has 0 grids, but one `shard.grid` with all ranks is expected}}
module {
}

// -----

// expected-error @+1 {{'shard.grid' op has a size that is not known, but a static shape is expected}}
shard.grid @ranks(shape = ?x2)
func.func @cut_over_unknown_ranks(%w: tensor<4x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 64],
    splits = [#moe.split<dim = 0, axes = [0, 1]>]>}) { return }

// -----

// expected-error @+1 {{'shard.grid' op names the grid `ranks` of 65536x65536 ranks, expected 1 to 2147483647; nearest legal choice: 65536x32767}}
shard.grid @ranks(shape = 65536x65536)
func.func @no_slice(%x: tensor<?x64xf32> {moe.split = array<i64: 0, 1>}) { return }

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @layer_remains(%x: tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>)
    -> (tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}) {
  // expected-error @+1 {{'moe.shared_expert' op remains in one rank's program, but `moe-shard-layer` expands it}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @upstream_collective(%x: tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}) -> (tensor<?x64xf32> {moe.split = array<i64: 0, 1, 2>}) {
  // expected-error @+1 {{'shard.all_reduce' op remains in one rank's program, but collectives of `coll` are expected}}
  %s = shard.all_reduce %x on @ranks grid_axes = [1] : tensor<?x64xf32> -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
// expected-error @+1 {{argument 0 of `input_without_split` has no `moe.split`, but tokens with a split, or an empty one where they are replicated, are expected}}
func.func @input_without_split(%x: tensor<?x64xf32>) -> (tensor<?x64xf32> {moe.split = array<i64>}) {
  return %x : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
// expected-error @+1 {{result 0 of `split_over_no_axis` is split over axis 3, but the grid `ranks` has axes 0 to 2}}
func.func @split_over_no_axis(%x: tensor<?x64xf32> {moe.split = array<i64>}) -> (tensor<?x64xf32> {moe.split = array<i64: 3>}) {
  return %x : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
// expected-error @+1 {{argument 1 of `weight_without_slice` has no `moe.slice`, but a weight with the slice that a rank holds is expected}}
func.func @weight_without_slice(%x: tensor<?x64xf32> {moe.split = array<i64>}, %w: tensor<8x64xf32>) -> (tensor<?x64xf32> {moe.split = array<i64>}) {
  return %x : tensor<?x64xf32>
}

// -----

#slice = #moe.slice<grid = @ranks, shape = [8, 64], splits = [#moe.split<dim = 0, axes = [1]>]>
shard.grid @ranks(shape = 1x2x1)
// expected-error @+1 {{argument 1 of `weight_of_other_shape` is 'tensor<8x64xf32>', but its slice has the shape 'tensor<4x64xf32>'}}
func.func @weight_of_other_shape(%x: tensor<?x64xf32> {moe.split = array<i64>}, %w: tensor<8x64xf32> {moe.slice = #slice})
    -> (tensor<?x64xf32> {moe.split = array<i64>}) {
  return %x : tensor<?x64xf32>
}

// -----

#slice = #moe.slice<grid = @ranks, shape = [9, 64], splits = [#moe.split<dim = 0, axes = [1]>]>
shard.grid @ranks(shape = 1x2x1)
// expected-error @+1 {{argument 1 of `slice_not_divided` has 9 in dimension 0, which 2 ranks do not divide; nearest legal choice: 10}}
func.func @slice_not_divided(%x: tensor<?x64xf32> {moe.split = array<i64>}, %w: tensor<4x64xf32> {moe.slice = #slice})
    -> (tensor<?x64xf32> {moe.split = array<i64>}) {
  return %x : tensor<?x64xf32>
}
