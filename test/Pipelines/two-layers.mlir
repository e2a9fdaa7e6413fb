// Two layers in one function: their programs follow one another, and give what the layers give in two functions.

// RUN: rm -rf %t && mkdir %t
// RUN: moe-import %golden/mixtral -o %t/apart.mlir
// RUN: moe-opt %t/apart.mlir --place="ranks=1" --target=cpu --compile-to=artifact -o %t/apart.moe 2>/dev/null
// RUN: moe-run %t/apart.moe --function layer0 --weights %golden/mixtral --input x=@%golden/mixtral/golden.safetensors:layers.0.input --output y=%t/y0.safetensors
// RUN: moe-run %t/apart.moe --function layer1 --weights %golden/mixtral --input x=@%t/y0.safetensors:y --output y=%t/y1.safetensors
// RUN: moe-opt %s --place="ranks=8 ep=4 etp=2 nodes=2 dispatcher=two_level dedup=true" --target=cpu --compile-to=artifact -o %t/both.moe 2>/dev/null
// RUN: moe-run %t/both.moe --weights %golden/mixtral --input x=@%golden/mixtral/golden.safetensors:layers.0.input --expect y=@%t/y1.safetensors:y --repeat 2 | FileCheck %s
// RUN: moe-opt %s --place="ranks=4 dispatcher=all_gather boundary=replicated attn_tp=4" --target=cpu --compile-to=artifact -o %t/both.moe 2>/dev/null
// RUN: moe-run %t/both.moe --weights %golden/mixtral --input x=@%golden/mixtral/golden.safetensors:layers.0.input --expect y=@%t/y1.safetensors:y --repeat 2 | FileCheck %s
// CHECK: 2 runs gave the same bits
#swap = affine_map<(d0, d1, d2, d3) -> (d2, d3)>
#gate = affine_map<(d0, d1) -> (d0, d1)>
#down = affine_map<(d0, d1, d2) -> (d1, d2)>
module {
func.func @both(%x: tensor<?x64xf32> {moe.name = "x"},
    %gate0: tensor<8x64xf32> {moe.name = "gate0", moe.weight = #moe.checkpoint<names = ["model.layers.0.block_sparse_moe.gate.weight"], file_shape = [8, 64], map = #gate>},
    %up0: tensor<8x2x96x64xf32> {moe.name = "up0", moe.weight = #moe.checkpoint<names = ["model.layers.0.block_sparse_moe.experts.{e}.w1.weight", "model.layers.0.block_sparse_moe.experts.{e}.w3.weight"], file_shape = [96, 64], map = #swap, expert_dim = 0, part_dim = 1>},
    %down0: tensor<8x64x96xf32> {moe.name = "down0", moe.weight = #moe.checkpoint<names = ["model.layers.0.block_sparse_moe.experts.{e}.w2.weight"], file_shape = [64, 96], map = #down, expert_dim = 0>},
    %gate1: tensor<8x64xf32> {moe.name = "gate1", moe.weight = #moe.checkpoint<names = ["model.layers.1.block_sparse_moe.gate.weight"], file_shape = [8, 64], map = #gate>},
    %up1: tensor<8x2x96x64xf32> {moe.name = "up1", moe.weight = #moe.checkpoint<names = ["model.layers.1.block_sparse_moe.experts.{e}.w1.weight", "model.layers.1.block_sparse_moe.experts.{e}.w3.weight"], file_shape = [96, 64], map = #swap, expert_dim = 0, part_dim = 1>},
    %down1: tensor<8x64x96xf32> {moe.name = "down1", moe.weight = #moe.checkpoint<names = ["model.layers.1.block_sparse_moe.experts.{e}.w2.weight"], file_shape = [64, 96], map = #down, expert_dim = 0>})
    -> (tensor<?x64xf32> {moe.name = "y"}) {
  %w0, %ids0 = moe.route %x, %gate0 router(<top_k = 2, normalize = sum>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %h = moe.experts %x, %ids0, %w0, %up0, %down0 activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  %w1, %ids1 = moe.route %h, %gate1 router(<top_k = 2, normalize = sum>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %h, %ids1, %w1, %up1, %down1 activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
}
