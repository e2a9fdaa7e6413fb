// What kernels read before they wait for the kernel before: weights, where a product before has had the same offsets; places, directly behind the product,
// with no copy between them that may have written them.
// RUN: moe-opt %s --convert-moe-to-kernels --canonicalize 2>/dev/null | grep 'moert.kernels =' | FileCheck %s --implicit-check-not=_first

// CHECK: name = "matmul_e2_n256_k64_32x128_swap_blocked_plain_swiglu"
// CHECK-SAME: name = "matmul_e2_n256_k128_32x128_swap_first_blocked"
// CHECK-SAME: name = "combine_256_k1"
// CHECK-SAME: name = "matmul_e2_n256_k128_32x128_swap_blocked"
// CHECK-SAME: name = "combine_256_k1_first"
// CHECK-SAME: name = "combine_256_k1_weighted"
#w = #moe.checkpoint<names = ["w"], file_shape = [2, 2, 128, 64], map = affine_map<(e, p, i, h) -> (e, p, i, h)>>
#d = #moe.checkpoint<names = ["d"], file_shape = [2, 256, 128], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @layer(%x: memref<?x64xbf16>, %off: memref<3xi32>, %other: memref<3xi32>, %pos: memref<?x1xi32>, %more: memref<?x1xi32>, %weights: memref<?x1xf32>,
                 %w: memref<2x2x128x64xbf16>, %d: memref<2x256x128xbf16>, %y: memref<?x256xbf16>, %counts: memref<1x2xi32>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %h = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x128xbf16>
  %1 = affine.apply affine_map<()[s0] -> (s0 * 256)>()[%max]
  %p = memref.view %arena[%1][%n] : memref<?xi8> to memref<?x256xbf16>
  moe.grouped_matmul %x, %w rows(%n) offsets(%off) activation(<kind = silu>) outs(%h)
      : (memref<?x64xbf16>, memref<2x2x128x64xbf16>, index, memref<3xi32>, memref<?x128xbf16>) -> ()
  moe.grouped_matmul %h, %d rows(%n) offsets(%off) outs(%p) : (memref<?x128xbf16>, memref<2x256x128xbf16>, index, memref<3xi32>, memref<?x256xbf16>) -> ()
  moe.counts %off outs(%counts) : (memref<3xi32>, memref<1x2xi32>) -> ()
  moe.combine %p, %pos outs(%y) : (memref<?x256xbf16>, memref<?x1xi32>, memref<?x256xbf16>) -> ()
  moe.grouped_matmul %h, %d rows(%n) offsets(%other) outs(%p) : (memref<?x128xbf16>, memref<2x256x128xbf16>, index, memref<3xi32>, memref<?x256xbf16>) -> ()
  moe.combine %p, %pos outs(%y) : (memref<?x256xbf16>, memref<?x1xi32>, memref<?x256xbf16>) -> ()
  moe.grouped_matmul %h, %d rows(%n) offsets(%other) outs(%p) : (memref<?x128xbf16>, memref<2x256x128xbf16>, index, memref<3xi32>, memref<?x256xbf16>) -> ()
  memref.copy %more, %pos : memref<?x1xi32> to memref<?x1xi32>
  moe.combine %p, %pos weights(%weights) outs(%y) : (memref<?x256xbf16>, memref<?x1xi32>, memref<?x1xf32>, memref<?x256xbf16>) -> ()
  return
}
moert.interface @layer on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "f", type = tensor<3xi32>, split = []>,
          #moert.value<name = "g", type = tensor<3xi32>, split = []>, #moert.value<name = "pos", type = tensor<?x1xi32>, split = []>,
          #moert.value<name = "more", type = tensor<?x1xi32>, split = []>, #moert.value<name = "weights", type = tensor<?x1xf32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x256xbf16>, split = []>, #moert.value<name = "c", type = tensor<1x2xi32>, split = []>]
  weights [#moert.weight<name = "up", type = tensor<2x2x128x64xbf16>, sources = [#w]>, #moert.weight<name = "down", type = tensor<2x256x128xbf16>, sources = [#d]>]
  packed [] arena <per_token = 768>
