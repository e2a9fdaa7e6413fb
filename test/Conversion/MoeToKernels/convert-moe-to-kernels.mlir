// RUN: moe-opt %s --convert-moe-to-kernels --canonicalize --split-input-file | FileCheck %s

#w = #moe.checkpoint<names = ["w"], file_shape = [2, 2, 12, 64], map = affine_map<(e, p, i, h) -> (e, p, i, h)>>
#d = #moe.checkpoint<names = ["d"], file_shape = [2, 64, 12], map = affine_map<(e, h, i) -> (e, h, i)>>
#b = #moe.checkpoint<names = ["b"], file_shape = [2, 64], map = affine_map<(e, h) -> (e, h)>>
// The kernels, numbered in order of first use.
// CHECK: module attributes {moert.kernels = [#moert.kernel<name = "sort_e2_s2_k1", threads = 1024
// CHECK-SAME: name = "matmul_e2_n32_k64_32x128_swap_gather_swiglu", threads = 384
// CHECK-SAME: params = ["ptr", "ptr", "map", "map", "ptr"]>
// CHECK-SAME: name = "matmul_e2_n64_k16_32x128_swap_first_scatter_bias"
// CHECK-SAME: params = ["map", "map", "ptr", "ptr", "ptr", "ptr"]>
// CHECK-SAME: moert.sums = {}
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}

// Weights are packed: 2 x 16 rows of 64 columns, 64 rows of 16. What sorting needs stands behind the planned arena.
// CHECK-LABEL: func.func @layer(
// CHECK-SAME: %[[X:.*]]: memref<?x64xbf16>, %[[IDS:.*]]: memref<?x1xi32>, %[[W:.*]]: memref<4096xbf16>, %[[D:.*]]: memref<2048xbf16>, %[[B:.*]]: memref<128xf32>, %[[Y:.*]]: memref<?x64xbf16>, %[[ARENA:.*]]: memref<?xi8> {moert.arena}
func.func @layer(%x: memref<?x64xbf16>, %ids: memref<?x1xi32>, %w: memref<2x2x12x64xbf16>, %d: memref<2x64x12xbf16>, %b: memref<2x64xbf16>,
                 %y: memref<?x64xbf16>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %order = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?xi32>
  %1 = affine.apply affine_map<()[s0] -> (s0 * 64)>()[%max]
  %pos = memref.view %arena[%1][%n] : memref<?xi8> to memref<?x1xi32>
  %2 = affine.apply affine_map<()[s0] -> (s0 * 128)>()[%max]
  %off = memref.view %arena[%2][] : memref<?xi8> to memref<3xi32>
  %3 = affine.apply affine_map<()[s0] -> (s0 * 128 + 64)>()[%max]
  %h = memref.view %arena[%3][%n] : memref<?xi8> to memref<?x12xbf16>
  %4 = affine.apply affine_map<()[s0] -> (s0 * 192 + 64)>()[%max]
  %p = memref.view %arena[%4][%n] : memref<?xi8> to memref<?x64xbf16>
  // CHECK: %[[STATUS:.*]] = moert.status : memref<1xi32>
  // CHECK: scf.if
  // CHECK: moert.launch 0 grid(%{{.*}}) (%[[IDS]], %[[ORDER:.*]], %{{.*}}, %[[OFF:.*]], %[[STATUS]], %{{.*}} : memref<?x1xi32>, memref<?xi32>, memref<?x1xi32>, memref<3xi32>, memref<1xi32>, i32)
  // CHECK: } else {
  // CHECK: moert.launch 1
  // CHECK: moert.launch 2
  moe.sort %ids experts 2 slots [0, 1] window 2 outs(%order, %pos, %off) : (memref<?x1xi32>, memref<?xi32>, memref<?x1xi32>, memref<3xi32>) -> ()
  // At most 48 rows per expert, at most 96, more; rows of x come by plain pointers.
  // CHECK: %[[FEW:.*]] = arith.cmpi ule, %{{.*}}, %c96
  // CHECK: scf.if %[[FEW]]
  // CHECK: moert.launch 3 grid(%c-1) (%[[X]], %[[ORDER]], %c0_i32, %c1_i32, %[[OFF]] : memref<?x64xbf16>, memref<?xi32>, i32, i32, memref<3xi32>)
  // CHECK: arith.cmpi ule, %{{.*}}, %c192
  // CHECK: moert.launch 4
  // CHECK: moert.launch 5
  moe.grouped_matmul %x, %w rows(%n) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h)
      : (memref<?x64xbf16>, memref<2x2x12x64xbf16>, index, memref<3xi32>, memref<?xi32>, memref<?x12xbf16>) -> ()
  // One row a token: each is stored where it belongs.
  // CHECK: moert.launch 6 grid(%c-1) (%{{.*}}, %{{.*}}, %[[Y]], %[[OFF]], %[[ORDER]], %[[B]] : i32, i32, memref<?x64xbf16>, memref<3xi32>, memref<?xi32>, memref<128xf32>)
  // CHECK: moert.launch 8
  // CHECK-NOT: moert.launch
  moe.grouped_matmul %h, %d rows(%n) offsets(%off) bias(%b) outs(%p)
      : (memref<?x12xbf16>, memref<2x64x12xbf16>, index, memref<3xi32>, memref<2x64xbf16>, memref<?x64xbf16>) -> ()
  moe.combine %p, %pos outs(%y) : (memref<?x64xbf16>, memref<?x1xi32>, memref<?x64xbf16>) -> ()
  return
}
// CHECK: func.func @layer_prepare(%[[RW:.*]]: memref<2x2x12x64xbf16>, %[[RD:.*]]: memref<2x64x12xbf16>, %[[RB:.*]]: memref<2x64xbf16>, %[[PW:.*]]: memref<4096xbf16>
// CHECK: moert.launch 9 grid(%{{.*}}) (%[[RW]], %[[PW]] : memref<2x2x12x64xbf16>, memref<4096xbf16>)
// CHECK: moert.launch 10
// CHECK: moert.launch 11

// Rows of 12 elements are 16 apart.
// CHECK: func.func @layer_bind(%[[BW:.*]]: memref<4096xbf16>, %{{.*}}: memref<2048xbf16>, %{{.*}}: memref<128xf32>, %[[BA:.*]]: memref<?xi8> {moert.arena}, %{{.*}}: index {moert.max_tokens})
// CHECK: moert.tensor_map 0 %[[BW]] rows(%c64) columns 64 pitch 64 box[128, 64] : memref<4096xbf16>
// CHECK: %[[H:.*]] = memref.view %[[BA]][%{{.*}}][%[[ROWS:.*]]] : memref<?xi8> to memref<?x16xbf16>
// CHECK: moert.tensor_map 1 %[[H]] rows(%[[ROWS]]) columns 16 pitch 16 box[32, {{[0-9]+}}] ragged : memref<?x16xbf16>

// CHECK: moert.interface @layer {{.*}} packed [8192, 4096, 512] arena <constant = 1088, per_token = 320> {moert.tensor_maps = {{[0-9]+}} : i64}
moert.interface @layer on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "expert_ids", type = tensor<?x1xi32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = []>]
  weights [#moert.weight<name = "up", type = tensor<2x2x12x64xbf16>, sources = [#w]>, #moert.weight<name = "down", type = tensor<2x64x12xbf16>, sources = [#d]>,
           #moert.weight<name = "down_bias", type = tensor<2x64xbf16>, sources = [#b]>]
  packed [] arena <constant = 64, per_token = 320>
// One module for each kernel, beside the host's code.
// CHECK: gpu.module @sort_e2_s2_k1
// CHECK: llvm.func @sort_e2_s2_k1

// -----

// A shared expert: one group, whose offsets the host sets; rows scattered at the end are stored by the product where they belong; sums of ranks need a kernel.
// CHECK: name = "sum_ranks_bf16"
// CHECK-SAME: name = "set_words_2"
// CHECK-SAME: moert.sums = {bf16 = 0 : i32}
#d = #moe.checkpoint<names = ["d"], file_shape = [1, 64, 64], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x2) {coll.axes = ["edp", "ep", "etp"]}
// CHECK-LABEL: func.func @shared(
func.func @shared(%x: memref<?x64xbf16>, %c: memref<2x1xi32>, %d: memref<1x64x64xbf16>, %y: memref<?x64xbf16>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %i = arith.index_cast %n : index to i32
  %p = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x64xbf16>
  %1 = affine.apply affine_map<()[s0] -> (s0 * 128)>()[%max]
  %order = memref.view %arena[%1][%n] : memref<?xi8> to memref<?xi32>
  %word = memref.view %arena[%1][] : memref<?xi8> to memref<1xi32>
  // CHECK: moert.launch 1 grid(%c1) (%[[OFFSETS:.*]], %c0_i32, %{{.*}} : memref<2xi32>, i32, i32)
  // CHECK: moert.launch 2 grid(%c-1) (%arg0, %c0_i32, %{{.*}}, %[[OFFSETS]], %{{.*}} : memref<?x64xbf16>, i32, memref<?x64xbf16>, memref<2xi32>, memref<?xi32>)
  moe.grouped_matmul %x, %d rows(%n) scatter(%order) outs(%p) : (memref<?x64xbf16>, memref<1x64x64xbf16>, index, memref<?xi32>, memref<?x64xbf16>) -> ()
  // CHECK: moert.launch 5 grid(%c1) (%{{.*}}, %{{.*}} : memref<1xi32>, i32)
  memref.store %i, %word[%c0] : memref<1xi32>
  // CHECK: coll.reduce_scatter_v
  coll.reduce_scatter_v %p counts(%c) rows(%n) on @ranks axes [2] outs(%y) : (memref<?x64xbf16>, memref<2x1xi32>, index, memref<?x64xbf16>) -> ()
  return
}
moert.interface @shared on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "c", type = tensor<2x1xi32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = []>]
  weights [#moert.weight<name = "down", type = tensor<1x64x64xbf16>, sources = [#d]>] packed [] arena <per_token = 192, shares = 2>

// -----

// A router is one kernel, in blocks of 8 tokens or, for many, 64; its counters are zeroed by @bind. Experts that are all here are one kernel for one token.
#g = #moe.checkpoint<names = ["g"], file_shape = [4, 64], map = affine_map<(e, h) -> (e, h)>>
#w = #moe.checkpoint<names = ["w"], file_shape = [4, 2, 64, 64], map = affine_map<(e, p, i, h) -> (e, p, i, h)>>
#d = #moe.checkpoint<names = ["d"], file_shape = [4, 64, 64], map = affine_map<(e, h, i) -> (e, h, i)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
// CHECK: name = "zero_words"
// CHECK-SAME: name = "router_64_bf16_bf16_rounded_by8_select_2of4_softmax_
// CHECK-SAME: name = "router_64_bf16_bf16_rounded_by64_
// CHECK-SAME: name = "few_rows_e4_h64_i64_k2_t1_blocked_swiglu"
// CHECK-LABEL: func.func @one_token(
func.func @one_token(%x: memref<?x64xbf16>, %g: memref<4x64xbf16>, %w: memref<4x2x64x64xbf16>, %d: memref<4x64x64xbf16>, %y: memref<?x64xbf16>, %ids: memref<?x2xi32>,
                     %rw: memref<?x2xf32>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %n = memref.dim %x, %c0 : memref<?x64xbf16>
  %l = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x4xf32>
  // CHECK: arith.cmpi ule, %{{.*}}, %c2048
  // CHECK: moert.launch 1 {{.*}} (%arg0, %arg1, %{{.*}}, %{{.*}}, %arg5, %arg6, %{{.*}} : memref<?x64xbf16>, memref<256xbf16>, memref<?x4xf32>, memref<?xi32>, memref<?x2xi32>, memref<?x2xf32>, i32)
  // CHECK: } else {
  // CHECK: moert.launch 2
  moe.router_logits %x, %g outs(%l) : (memref<?x64xbf16>, memref<4x64xbf16>, memref<?x4xf32>) -> ()
  moe.select_experts %l router(<top_k = 2>) outs(%rw, %ids) : (memref<?x4xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  %pairs = arith.muli %n, %c2 : index
  %order = memref.view %arena[%c0][%pairs] : memref<?xi8> to memref<?xi32>
  %pos = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x2xi32>
  %off = memref.view %arena[%c0][] : memref<?xi8> to memref<5xi32>
  // CHECK: %[[ONE:.*]] = arith.cmpi ult, %{{.*}}, %c1
  // CHECK: scf.if %[[ONE]] {
  // CHECK: moert.launch 3 grid(%c-1) (%arg0, %arg5, %arg6, %arg2, %arg3, %{{.*}}, %{{.*}}, %arg4, %{{.*}} :
  // CHECK: } else {
  // CHECK: moert.launch 4
  moe.sort %ids experts 4 slots [0, 1, 2, 3] window 4 outs(%order, %pos, %off) : (memref<?x2xi32>, memref<?xi32>, memref<?x2xi32>, memref<5xi32>) -> ()
  %h = memref.view %arena[%c0][%pairs] : memref<?xi8> to memref<?x64xbf16>
  moe.grouped_matmul %x, %w rows(%pairs) offsets(%off) gather(%order) activation(<kind = silu>) outs(%h) {gather_divisor = 2 : i64}
      : (memref<?x64xbf16>, memref<4x2x64x64xbf16>, index, memref<5xi32>, memref<?xi32>, memref<?x64xbf16>) -> ()
  %p = memref.view %arena[%c0][%pairs] : memref<?xi8> to memref<?x64xbf16>
  moe.grouped_matmul %h, %d rows(%pairs) offsets(%off) outs(%p) : (memref<?x64xbf16>, memref<4x64x64xbf16>, index, memref<5xi32>, memref<?x64xbf16>) -> ()
  moe.combine %p, %pos weights(%rw) outs(%y) : (memref<?x64xbf16>, memref<?x2xi32>, memref<?x2xf32>, memref<?x64xbf16>) -> ()
  return
}
// CHECK: func.func @one_token_bind
// CHECK: moert.launch 0 grid(%c-1) (%{{.*}}, %{{.*}} : memref<?xi32>, i32)
moert.interface @one_token on @ranks layer 0 experts 4 top_k 2 slots [0, 1, 2, 3]
  inputs [#moert.value<name = "x", type = tensor<?x64xbf16>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x64xbf16>, split = []>, #moert.value<name = "expert_ids", type = tensor<?x2xi32>, split = []>,
           #moert.value<name = "expert_weights", type = tensor<?x2xf32>, split = []>]
  weights [#moert.weight<name = "gate", type = tensor<4x64xbf16>, sources = [#g]>, #moert.weight<name = "up", type = tensor<4x2x64x64xbf16>, sources = [#w]>,
           #moert.weight<name = "down", type = tensor<4x64x64xbf16>, sources = [#d]>] packed [] arena <per_token = 1024>
