// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-shard-layer

shard.grid @ranks(shape = 1x2x1)
func.func @mixes_tokens(%x: tensor<?x64xf32>, %up: tensor<1x2x80x64xf32>, %init: tensor<64xf32>, %shared_up: tensor<2x80x64xf32>, %shared_down: tensor<64x80xf32>)
    -> tensor<?x64xf32> {
  // expected-error @+1 {{'linalg.reduce' op cannot be split over ranks: it reduces over tokens}}
  %mean = linalg.reduce ins(%x : tensor<?x64xf32>) outs(%init : tensor<64xf32>) dimensions = [0] (%a: f32, %b: f32) {
    %sum = arith.addf %a, %b : f32
    linalg.yield %sum : f32
  }
  %s = moe.shared_expert %x, %shared_up, %shared_down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @unknown_operation(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  // expected-error @+1 {{'tensor.concat' op cannot be split over ranks: only moe layers and operations that treat each token's row alone are expected here}}
  %twice = tensor.concat dim(0) %s, %s : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %twice : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @computed_weight(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  // expected-note @+1 {{it is computed here}}
  %scaled = arith.addf %down, %down : tensor<64x80xf32>
  // expected-error @+1 {{has `down` computed by 'arith.addf', but an argument of the function is expected: each rank loads its slice of a weight}}
  %s = moe.shared_expert %x, %up, %scaled activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @one_weight_in_two_slices(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  // expected-error @+1 {{of argument 1 as `up`, but another layer needs}}
  %t = moe.shared_expert %s, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [], shared = split>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %t : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
// expected-error @+1 {{argument 0 of `two_dynamic_dimensions` is 'tensor<?x?xf32>', but only the first dimension, the tokens, may be dynamic}}
func.func @two_dynamic_dimensions(%x: tensor<?x?xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x?xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @static_tokens(%x: tensor<16x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<16x64xf32> {
  // expected-error @+1 {{'moe.shared_expert' op cannot be split over ranks: `x` has no row per token, but is expected to; a dynamic first dimension marks tokens}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<16x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<16x64xf32>
  return %s : tensor<16x64xf32>
}

// -----

shard.grid @ranks(shape = 1x2x1)
func.func @result_without_rows(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> (tensor<?x64xf32>, tensor<64x80xf32>) {
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  // expected-error @+1 {{'func.return' op cannot be split over ranks: `result 1` has no row per token}}
  return %s, %down : tensor<?x64xf32>, tensor<64x80xf32>
}
