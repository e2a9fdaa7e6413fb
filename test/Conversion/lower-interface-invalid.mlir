// RUN: moe-opt %s --moe-lower-interface --split-input-file --verify-diagnostics

shard.grid @ranks(shape = 2)
moert.interface @results_are_left on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
// expected-error @+1 {{`results_are_left` has 1 results, but outputs are expected as arguments}}
func.func @results_are_left() -> index { %c = arith.constant 0 : index return %c : index }

// -----

shard.grid @ranks(shape = 2)
moert.interface @too_few on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = []>] outputs [] weights [] packed [] arena <>
// expected-error @+1 {{`too_few` has 0 buffers, but 1 inputs and 0 outputs are expected}}
func.func @too_few(%m: index {moert.max_tokens}) { return }

// -----

shard.grid @ranks(shape = 2)
moert.interface @other_type on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = []>] outputs [] weights [] packed [] arena <>
// expected-error @+1 {{argument 0 of `other_type` is 'memref<?x8xf32>', but the interface describes `x` as 'tensor<?x4xf32>'}}
func.func @other_type(%x: memref<?x8xf32>) { return }

// -----

shard.grid @ranks(shape = 2)
moert.interface @strided on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = []>] outputs [] weights [] packed [] arena <>
// expected-error @+1 {{argument 0 of `strided` is 'memref<?x4xf32, strided<[8, 1]>>', but a dense memref of static shape, rows aside, is expected}}
func.func @strided(%x: memref<?x4xf32, strided<[8, 1]>>) { return }

// -----

shard.grid @ranks(shape = 2)
// expected-error @+1 {{has packed buffers of [8] bytes, but `other_size` takes [16]}}
moert.interface @other_size on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [8] arena <>
func.func @other_size(%w: memref<4xf32>) { return }

// -----

#w = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(a) -> (a)>>
shard.grid @ranks(shape = 2)
// expected-error @+1 {{has 1 weights, but there is no function `never_packed_prepare` that packs them}}
moert.interface @never_packed on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs []
  weights [#moert.weight<name = "w", type = tensor<4xf32>, sources = [#w]>] packed [] arena <>
func.func @never_packed(%w: memref<4xf32>) { return }

// -----

#w = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(a) -> (a)>>
shard.grid @ranks(shape = 2)
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs []
  weights [#moert.weight<name = "w", type = tensor<4xf32>, sources = [#w]>] packed [] arena <>
func.func @f(%w: memref<4xf32>) { return }
// expected-error @+1 {{`f_prepare` has 1 arguments, but 1 weights and 1 packed buffers are expected}}
func.func @f_prepare(%w: memref<4xf32>) { return }

// -----

shard.grid @ranks(shape = 2)
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
// expected-error @+1 {{describes `f` a second time}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
func.func @f() { return }

// -----

shard.grid @ranks(shape = 2)
// expected-error @+1 {{names `lowered`, but a func.func with a body is expected}}
moert.interface @lowered on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
llvm.func @lowered() { llvm.return }
