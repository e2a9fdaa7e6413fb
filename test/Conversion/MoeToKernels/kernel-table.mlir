// Measured kernels decide: the first product's tiles change at 2 x sqrt(4 x 16) = 16 rows and at 2 x 4 x 16 = 128, behind which nothing was measured; few rows are
// moved first; fewer than a mean of 4 / 4 follow the rules; only what was measured for up to 4096 rows begins early. Weights that the table does not have follow the rules, and a remark says so.
// RUN: split-file %s %t
// RUN: moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/table.json --canonicalize 2> %t/remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK --input-file=%t/remarks
// RUN: moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/last.json --canonicalize 2>/dev/null | FileCheck %s --check-prefix=LAST
// RUN: not moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/none.json 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/bad.json 2>&1 | FileCheck %s --check-prefix=BAD
// RUN: not moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/tile.json 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/tickets.json --canonicalize 2> %t/remarks | FileCheck %s --check-prefix=TICKETS
// RUN: not moe-opt %t/layer.mlir --convert-moe-to-kernels=kernel-table=%t/split.json 2>&1 | FileCheck %s --check-prefix=SPLIT
// RUN: not moe-opt %t/layer.mlir --place=ranks=1 --target=cpu --kernel-table=%t/table.json --compile-to=lowered 2>&1 | FileCheck %s --check-prefix=CPU
// REMARK: remark: the table of a test has no weights of k 64, n 64: tiles follow general rules
// REMARK-NOT: remark
// NONE: error: cannot read the kernel table '{{.*}}none.json': No such file or directory
// BAD: bad.json: a tile needs positive `rows`, `tokens` and `weights`
// SPLIT: error: 'moe.grouped_matmul' op k of 64 is split into 2 slices, expected 0 (tiles in a fixed order) to 1, one for each block of 64
// TILE: error: 'moe.grouped_matmul' op tile has 100 tokens, expected 128 (or swap)
// CPU: error: --kernel-table is '{{.*}}table.json', but only --target=cuda chooses kernels: leave it out

// CHECK: name = "matmul_e2_n128_k64_32x128_swap_blocked_gather_swiglu"
// CHECK-SAME: name = "gather_rows_64"
// CHECK-SAME: name = "matmul_e2_n128_k64_16x128_swap_blocked_swiglu"
// CHECK-NOT: early
// CHECK-SAME: name = "matmul_e2_n128_k64_128x64_blocked_gather_swiglu"
// CHECK-SAME: name = "matmul_e2_n128_k64_128x128_blocked_gather_swiglu", threads = 384, shared_bytes = {{[0-9]+}}, early = false
// CHECK: func.func @layer(
// CHECK: arith.cmpi ule, %{{.*}}, %c2 : index
// CHECK: moert.launch 0 {{.*}} (%arg0,
// CHECK: arith.cmpi ule, %{{.*}}, %c16 : index
// CHECK: moert.launch 1 {{.*}} (%arg0, %{{.*}}, %[[MOVED:.*]] : memref<?x64xbf16>, memref<?xi32>, memref<?x64xbf16>)
// CHECK-NEXT: moert.launch 2
// CHECK: arith.cmpi ule, %{{.*}}, %c128 : index
// CHECK: moert.launch 3 {{.*}} (%arg0,
// CHECK: moert.launch 4 {{.*}} (%arg0,
// CHECK: func.func @layer_bind
// CHECK: moert.tensor_map {{.*}} columns 64 pitch 64 box[128, 64] blocked

// Numbers of rows that were rounded leave no gap between two measurements, and where the rules would choose one tile for any more rows the last measurement holds.
// LAST: name = "matmul_e2_n128_k64_32x128_swap_blocked_gather_swiglu"
// LAST-SAME: name = "matmul_e2_n128_k64_16x128_swap_blocked_swiglu"
// LAST-SAME: name = "matmul_e2_n128_k64_128x64_blocked_gather_swiglu"
// LAST-NOT: name = "matmul_e2_n128_k64_
// LAST: func.func @layer(
// LAST: arith.cmpi ule, %{{.*}}, %c1 : index
// LAST: arith.cmpi ule, %{{.*}}, %c16 : index

// Tickets are counted in words of their own, behind the planned arena, that are zero before the first run.
// TICKETS: name = "zero_words"
// TICKETS-SAME: name = "matmul_e2_n128_k64_16x128_swap_split1_blocked_swiglu"
// TICKETS: func.func @layer(
// TICKETS: %[[STATE:.*]] = memref.view %{{.*}}[%{{.*}}][] : memref<?xi8> to memref<32xi32>
// TICKETS: moert.launch {{[0-9]+}} grid(%c-1) (%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[STATE]] : i32, i32, i32, memref<3xi32>, memref<32xi32>)
// TICKETS: func.func @layer_bind
// TICKETS: moert.launch 0 grid(%c-1) (%{{.*}}, %c32_i32 : memref<?xi32>, i32)

//--- layer.mlir
#w = #moe.checkpoint<names = ["w"], file_shape = [2, 2, 64, 64], map = affine_map<(e, p, i, h) -> (e, p, i, h)>>
#d = #moe.checkpoint<names = ["d"], file_shape = [2, 64, 64], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @layer(%x: memref<?x64xbf16>, %order: memref<?xi32>, %off: memref<3xi32>, %w: memref<2x2x64x64xbf16>, %d: memref<2x64x64xbf16>, %y: memref<?x64xbf16>,
                 %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %h = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x64xbf16>
  %1 = affine.apply affine_map<()[s0] -> (s0 * 128)>()[%max]
  %p = memref.view %arena[%1][%n] : memref<?xi8> to memref<?x64xbf16>
  moe.grouped_matmul %x, %w rows(%n) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h)
      : (memref<?x64xbf16>, memref<2x2x64x64xbf16>, index, memref<3xi32>, memref<?xi32>, memref<?x64xbf16>) -> ()
  moe.grouped_matmul %h, %d rows(%n) offsets(%off) outs(%p) : (memref<?x64xbf16>, memref<2x64x64xbf16>, index, memref<3xi32>, memref<?x64xbf16>) -> ()
  moe.grouped_matmul %p, %d rows(%n) offsets(%off) outs(%h) : (memref<?x64xbf16>, memref<2x64x64xbf16>, index, memref<3xi32>, memref<?x64xbf16>) -> ()
  moe.grouped_matmul %h, %d rows(%n) offsets(%off) outs(%y) : (memref<?x64xbf16>, memref<2x64x64xbf16>, index, memref<3xi32>, memref<?x64xbf16>) -> ()
  return
}
moert.interface @layer on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "o", type = tensor<?xi32>, split = []>,
          #moert.value<name = "f", type = tensor<3xi32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = []>]
  weights [#moert.weight<name = "up", type = tensor<2x2x64x64xbf16>, sources = [#w]>, #moert.weight<name = "down", type = tensor<2x64x64xbf16>, sources = [#d]>]
  packed [] arena <per_token = 256>
//--- table.json
{"device": "a test", "matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [
  {"rows": 4, "tokens": 16, "weights": 128, "swap": true}, {"rows": 16, "tokens": 128, "weights": 64, "gather": true}]}]}
//--- last.json
{"device": "a test", "matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [
  {"rows": 2.031, "tokens": 16, "weights": 128, "swap": true}, {"rows": 32.5, "tokens": 128, "weights": 64, "gather": true}]}]}
//--- bad.json
{"matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [{"rows": 4}]}]}
//--- tickets.json
{"device": "a test", "matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [{"rows": 4, "tokens": 16, "weights": 128, "swap": true, "split": 1}]}]}
//--- split.json
{"device": "a test", "matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [{"rows": 4, "tokens": 16, "weights": 128, "swap": true, "split": 2}]}]}
//--- tile.json
{"device": "a test", "matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [{"rows": 4, "tokens": 100, "weights": 128}]}]}
