// With `variants` the host asks which kernel is wanted: 0 is what the table says, the others are listed in the interface; each begins early for few rows and in turn for
// many. Rows that an index names are gathered or moved first. On several ranks there are none.
// RUN: moe-opt %s --convert-moe-to-kernels=variants=true --canonicalize 2>/dev/null | FileCheck %s
// RUN: sed 's/per_token = 768/per_token = 768, shares = 2/' %s > %t.mlir
// RUN: not moe-opt %t.mlir --convert-moe-to-kernels=variants=true 2>&1 | FileCheck %s --check-prefix=RANKS
// RANKS: error: 'moert.interface' op belongs to 2 ranks, but variants are timed on one: place it with --place="ranks=1"

// CHECK: name = "matmul_e2_n256_k64_16x128_swap_blocked_swiglu"
// CHECK-SAME: name = "matmul_e2_n256_k64_16x128_swap_blocked_gather_swiglu"
// CHECK-SAME: name = "matmul_e2_n256_k64_144x256_swap_tails8_blocked_gather_swiglu", threads = 384, shared_bytes = {{[0-9]+}}, early = false
// CHECK: func.func @layer(
// CHECK: %[[WORD:.*]] = memref.alloca() : memref<1xi32>
// CHECK: moert.variant 0, %[[WORD]] : memref<1xi32>
// CHECK-NEXT: %[[WANTED:.*]] = memref.load %[[WORD]]
// CHECK: arith.cmpi eq, %[[WANTED]], %c0_i32 : i32
// CHECK: arith.cmpi eq, %[[WANTED]], %c1_i32 : i32
// CHECK: arith.cmpi ule, %{{.*}}, %c4096 : index
// CHECK: moert.interface @layer
// CHECK-SAME: moert.variants = [{experts = 2 : i64, fp8 = false, k = 64 : i64, n = 256 : i64, paired = true, rows_per_token = 1 : i64,
// CHECK-SAME: tiles = [{swap = true, tokens = 16 : i64, weights = 128 : i64}, {gather = true, swap = true, tokens = 16 : i64, weights = 128 : i64},
// CHECK-SAME: {gather = true, split = 1 : i64, swap = true, tails = 16 : i64, tokens = 192 : i64, weights = 256 : i64}]}]
#w = #moe.checkpoint<names = ["w"], file_shape = [2, 2, 128, 64], map = affine_map<(e, p, i, h) -> (e, p, i, h)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @layer(%x: memref<?x64xbf16>, %order: memref<?xi32>, %off: memref<3xi32>, %w: memref<2x2x128x64xbf16>, %y: memref<?x128xbf16>,
                 %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %h = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x128xbf16>
  moe.grouped_matmul %x, %w rows(%n) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h)
      : (memref<?x64xbf16>, memref<2x2x128x64xbf16>, index, memref<3xi32>, memref<?xi32>, memref<?x128xbf16>) -> ()
  memref.copy %h, %y : memref<?x128xbf16> to memref<?x128xbf16>
  return
}
moert.interface @layer on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "o", type = tensor<?xi32>, split = []>,
          #moert.value<name = "f", type = tensor<3xi32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x128xbf16>, split = []>]
  weights [#moert.weight<name = "up", type = tensor<2x2x128x64xbf16>, sources = [#w]>]
  packed [] arena <per_token = 768>
