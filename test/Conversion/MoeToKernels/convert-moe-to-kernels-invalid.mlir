// RUN: moe-opt %s --convert-moe-to-kernels --split-input-file --verify-diagnostics

shard.grid @ranks(shape = 1x1x1)
func.func @f32_program(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  // expected-error @+1 {{has rows of 'f32', but the device computes in bf16: import the model with --dtype=bf16}}
  moe.combine %x outs(%y) : (memref<?x64xf32>, memref<?x64xf32>) -> ()
  return
}
moert.interface @f32_program on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xf32>, split = []>] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @odd_hidden_size(%x: memref<?x12xbf16>, %y: memref<?x12xbf16>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  // expected-error @+1 {{combine of 12 columns, expected a positive multiple of 8}}
  moe.combine %x outs(%y) : (memref<?x12xbf16>, memref<?x12xbf16>) -> ()
  return
}
moert.interface @odd_hidden_size on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [#moert.value<name = "x", type = tensor<?x12xbf16>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x12xbf16>, split = []>] weights [] packed [] arena <>

// -----

#d = #moe.checkpoint<names = ["d"], file_shape = [1, 64, 64], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1)
func.func @relu(%x: memref<?x64xbf16>, %d: memref<1x1x64x64xbf16>, %y: memref<?x64xbf16>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  // expected-error @+1 {{has the activation #moe.activation<kind = relu, gated = false>, but on a device gated silu is expected, plain or with a limit and an up_offset of 1; compile for --target=cpu}}
  moe.grouped_matmul %x, %d rows(%n) activation(<kind = relu, gated = false>) outs(%y) : (memref<?x64xbf16>, memref<1x1x64x64xbf16>, index, memref<?x64xbf16>) -> ()
  return
}
moert.interface @relu on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = []>] weights [#moert.weight<name = "down", type = tensor<1x1x64x64xbf16>, sources = [#moe.checkpoint<names = ["d"], file_shape = [1, 64, 64], map = affine_map<(e, p, h, i) -> (e, h, i)>>]>] packed [] arena <>

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @sparse_mixer(%l: memref<?x4xf32>, %w: memref<?x2xf32>, %i: memref<?x2xi32>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  // expected-error @+1 {{scores by sparsemixer, but on a device softmax or sigmoid is expected; compile for --target=cpu}}
  moe.select_experts %l router(<top_k = 2, score = sparsemixer, jitter = 0.01>) outs(%w, %i) : (memref<?x4xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}
moert.interface @sparse_mixer on @ranks layer 0 experts 4 top_k 2 slots [0, 1, 2, 3] inputs [#moert.value<name = "l", type = tensor<?x4xf32>, split = []>]
  outputs [#moert.value<name = "w", type = tensor<?x2xf32>, split = []>, #moert.value<name = "i", type = tensor<?x2xi32>, split = []>] weights [] packed [] arena <>

// -----

#d = #moe.checkpoint<names = ["d"], file_shape = [1, 64, 64], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1)
func.func @weight_in_two_forms(%x: memref<?x64xbf16>, %d: memref<1x64x64xbf16>, %y: memref<?x64xbf16>, %z: memref<?x32xbf16>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %parts = memref.expand_shape %d [[0], [1, 2], [3]] output_shape [1, 2, 32, 64] : memref<1x64x64xbf16> into memref<1x2x32x64xbf16>
  // expected-remark @+1 {{has no weights of k 64, n 64: tiles follow general rules}}
  moe.grouped_matmul %x, %d rows(%n) outs(%y) : (memref<?x64xbf16>, memref<1x64x64xbf16>, index, memref<?x64xbf16>) -> ()
  // expected-error @+1 {{uses argument 1 in another form than the op before it, but one is expected}}
  moe.grouped_matmul %x, %parts rows(%n) activation(<kind = silu>) outs(%z) : (memref<?x64xbf16>, memref<1x2x32x64xbf16>, index, memref<?x32xbf16>) -> ()
  return
}
moert.interface @weight_in_two_forms on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "z", type = tensor<?x32xbf16>, split = []>]
  weights [#moert.weight<name = "down", type = tensor<1x64x64xbf16>, sources = [#d]>] packed [] arena <>

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @host_writes_rows(%x: memref<?x8xi32>, %v: i32, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{writes 'memref<?x8xi32>', but on a device the host sets single words of i32 only}}
  memref.store %v, %x[%c0, %c0] : memref<?x8xi32>
  return
}
moert.interface @host_writes_rows on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @dense_leftover(%x: memref<?x8xbf16>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  // expected-error @+1 {{is left on the way to a device, which has no kernel for it}}
  linalg.exp ins(%x : memref<?x8xbf16>) outs(%x : memref<?x8xbf16>)
  return
}
moert.interface @dense_leftover on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @exponents(%x: memref<?x128xbf16>, %d: memref<1x128x128xf4E2M1FN>, %s: memref<1x128x4xi8>, %y: memref<?x128xbf16>,
    %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x128xbf16>
  // expected-error @+1 {{has a weight of 'f4E2M1FN', which the cuda target does not read yet: make the checkpoint's weights bf16, or compile for --target=cpu}}
  moe.grouped_matmul %x, %d rows(%n) scales(%s) outs(%y) : (memref<?x128xbf16>, memref<1x128x128xf4E2M1FN>, index, memref<1x128x4xi8>, memref<?x128xbf16>) -> ()
  return
}
moert.interface @exponents on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 1x1x1)
func.func @narrow_fp8(%x: memref<?x24xbf16>, %d: memref<1x128x24xf8E4M3FN>, %s: memref<1x1x1xf32>, %y: memref<?x128xbf16>,
    %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x24xbf16>
  // expected-error @+1 {{has fp8 weights of 128 x 24, but multiples of 16 are expected on a device; compile for --target=cpu}}
  moe.grouped_matmul %x, %d rows(%n) scales(%s) outs(%y) : (memref<?x24xbf16>, memref<1x128x24xf8E4M3FN>, index, memref<1x1x1xf32>, memref<?x128xbf16>) -> ()
  return
}
moert.interface @narrow_fp8 on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
