// Rows that the product stores where they belong: one a token, by a sort that keeps every pair, with nothing added to them. Kernels that cannot do it leave it to
// `combine`, all of them where something is added, where the sort keeps a window of the experts, or where something else reads the rows.
// RUN: split-file %s %t
// RUN: moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize | FileCheck %s
// RUN: sed 's/ weights(%%rw)//; s/, memref<?x1xf32>, memref<?x256xbf16>) -> ()/, memref<?x256xbf16>) -> ()/' %t/layer.mlir | moe-opt --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize | FileCheck %s --check-prefix=BARE
// RUN: sed 's/weights(%%rw) outs/weights(%%rw) addend(%%x) outs/; s/memref<?x1xf32>, memref<?x256xbf16>) -> ()/memref<?x1xf32>, memref<?x256xbf16>, memref<?x256xbf16>) -> ()/' %t/layer.mlir | moe-opt --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize | FileCheck %s --check-prefixes=APART,ADDEND
// RUN: sed 's/moe.sort %%ids experts/moe.sort %%ids first(%%c0) experts/; s/-> () \/\/ sort/-> ()/; s/ : (memref<?x1xi32>, memref<?xi32>/ : (memref<?x1xi32>, index, memref<?xi32>/' %t/layer.mlir | moe-opt --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize | FileCheck %s --check-prefix=APART
// RUN: sed 's/^  return/  memref.copy %%p, %%y : memref<?x256xbf16> to memref<?x256xbf16>\n  return/; s/"few": \[1\]/"few": []/' %t/layer.mlir | moe-opt --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize | FileCheck %s --check-prefix=APART
// RUN: moe-opt %t/moved.mlir --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize | FileCheck %s --check-prefix=MOVED

// CHECK: name = "matmul_e4_n256_k128_32x128_swap_first_scatter_scaled_blocked"
// CHECK-SAME: name = "matmul_e4_n256_k128_32x128_swap_split2_blocked"
// CHECK-SAME: name = "combine_256_k1_weighted_first"
// CHECK-SAME: name = "matmul_e4_n256_k128_192x256_swap_tails16_scatter_scaled_blocked"
// CHECK: func.func @layer(%{{.*}}: memref<?x256xbf16>, {{.*}}, %[[Y:.*]]: memref<?x256xbf16>, %[[WEIGHTS:.*]]: memref<?x1xf32>, %[[IDS:.*]]: memref<?x1xi32>,
// CHECK: %[[ORDER:.*]] = memref.view %{{.*}} : memref<?xi8> to memref<?xi32>
// CHECK: moert.launch {{[0-9]+}} grid(%c-1) (%{{[a-z0-9_-]+}}, %{{[a-z0-9_-]+}}, %[[Y]], %{{[a-z0-9_-]+}}, %[[ORDER]], %[[WEIGHTS]] : i32, i32,

// BARE: name = "matmul_e4_n256_k128_32x128_swap_first_scatter_blocked"
// BARE-SAME: name = "combine_256_k1_first"
// BARE-SAME: name = "matmul_e4_n256_k128_192x256_swap_tails16_scatter_blocked"

// APART: name = "matmul
// APART-NOT: scatter
// APART: return
// ADDEND: func.func @layer_bind

// MOVED: name = "matmul_e4_n256_k128_32x128_swap_scatter_blocked"
// MOVED-SAME: name = "matmul_e4_n256_k128_32x128_swap_split2_blocked"
// MOVED-SAME: name = "scatter_rows_256"
// MOVED-SAME: name = "matmul_e4_n256_k128_192x256_swap_tails16_scatter_blocked"

//--- layer.mlir
#w = #moe.checkpoint<names = ["w"], file_shape = [4, 2, 128, 256], map = affine_map<(e, p, i, h) -> (e, p, i, h)>>
#d = #moe.checkpoint<names = ["d"], file_shape = [4, 256, 128], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @layer(%x: memref<?x256xbf16>, %w: memref<4x2x128x256xbf16>, %d: memref<4x256x128xbf16>, %y: memref<?x256xbf16>, %rw: memref<?x1xf32>, %ids: memref<?x1xi32>,
                 %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x256xbf16>
  %order = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?xi32>
  %pos = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x1xi32>
  %off = memref.view %arena[%c0][] : memref<?xi8> to memref<5xi32>
  moe.sort %ids experts 4 slots [0, 1, 2, 3] window 4 outs(%order, %pos, %off) : (memref<?x1xi32>, memref<?xi32>, memref<?x1xi32>, memref<5xi32>) -> ()
  %h = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x128xbf16>
  moe.grouped_matmul %x, %w rows(%n) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h)
      : (memref<?x256xbf16>, memref<4x2x128x256xbf16>, index, memref<5xi32>, memref<?xi32>, memref<?x128xbf16>) -> ()
  %p = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x256xbf16>
  moe.grouped_matmul %h, %d rows(%n) offsets(%off) outs(%p) : (memref<?x128xbf16>, memref<4x256x128xbf16>, index, memref<5xi32>, memref<?x256xbf16>) -> ()
  moe.combine %p, %pos weights(%rw) outs(%y) : (memref<?x256xbf16>, memref<?x1xi32>, memref<?x1xf32>, memref<?x256xbf16>) -> ()
  return
}
moert.interface @layer on @ranks layer 0 experts 4 top_k 1 slots [0, 1, 2, 3]
  inputs [#moert.value<name = "x", type = tensor<?x256xbf16>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x256xbf16>, split = []>]
  weights [#moert.weight<name = "up", type = tensor<4x2x128x256xbf16>, sources = [#w]>, #moert.weight<name = "down", type = tensor<4x256x128xbf16>, sources = [#d]>] packed [] arena <per_token = 1024>

//--- moved.mlir
#d = #moe.checkpoint<names = ["d"], file_shape = [4, 256, 128], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @layer(%h: memref<?x128xbf16>, %d: memref<4x256x128xbf16>, %y: memref<?x256xbf16>, %back: memref<?xi32>, %off: memref<5xi32>,
                 %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %h, %c0 : memref<?x128xbf16>
  %held = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x128xbf16>
  moe.grouped_matmul %held, %d rows(%n) offsets(%off) scatter(%back) outs(%y) : (memref<?x128xbf16>, memref<4x256x128xbf16>, index, memref<5xi32>, memref<?xi32>, memref<?x256xbf16>) -> ()
  return
}
moert.interface @layer on @ranks layer 0 experts 4 top_k 1 slots [0, 1, 2, 3]
  inputs [#moert.value<name = "x", type = tensor<?x128xbf16>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x256xbf16>, split = []>]
  weights [#moert.weight<name = "down", type = tensor<4x256x128xbf16>, sources = [#d]>] packed [] arena <per_token = 1024>

//--- table.json
{"device": "a test",
 "matrices": [
  {"k": 128, "n": 256, "tiles": [
    {"rows": 16, "tokens": 32, "weights": 128, "swap": true},
    {"rows": 64, "tokens": 32, "weights": 128, "swap": true, "split": 2},
    {"rows": 256, "tokens": 192, "weights": 256, "swap": true, "tails": 16}
  ]},
  {"k": 256, "n": 256, "paired": true, "tiles": [{"rows": 64, "tokens": 32, "weights": 128, "swap": true, "gather": true}]}
 ],
 "layers": [{"experts": 4, "hidden": 256, "inner": 128, "top_k": 1, "few": [1]}]
}
