// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

#gate = #moe.checkpoint<names = ["l.gate.weight"], file_shape = [8, 64], map = affine_map<(e, h) -> (e, h)>>
#down = #moe.checkpoint<names = ["l.{e}.w2"], file_shape = [64, 96], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>

// CHECK: module attributes {moert.groups = [array<i64: 1>, array<i64: 0, 1, 2>]}
module attributes {moert.groups = [array<i64: 1>, array<i64: 0, 1, 2>]} {
shard.grid @ranks(shape = 1x4x2) {coll.axes = ["edp", "ep", "etp"]}

// CHECK: moert.interface @layer0 on @ranks layer 0 experts 8 top_k 2 slots [0, 1, 2, 3, 4, 5, 6, 7]
// CHECK-SAME: inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = [0, 1, 2]>]
// CHECK-SAME: outputs [#moert.value<name = "y", type = tensor<?x64xf32>, split = []>]
// CHECK-SAME: packed [2048, 64] arena <per_token = 1024, per_share = 512, shares = 8>
moert.interface @layer0 on @ranks layer 0 experts 8 top_k 2 slots [0, 1, 2, 3, 4, 5, 6, 7]
  inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = [0, 1, 2]>]
  outputs [#moert.value<name = "y", type = tensor<?x64xf32>, split = []>]
  weights [#moert.weight<name = "gate", type = tensor<8x64xf32>, sources = [#gate]>,
           #moert.weight<name = "down", type = tensor<2x64x48xf32>, sources = [#down],
             slice = #moe.slice<grid = @ranks, shape = [8, 64, 96],
               splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>],
               slots = [0, 1, 2, 3, 4, 5, 6, 7]>>]
  packed [2048, 64] arena <per_token = 1024, per_share = 512, shares = 8>

// CHECK-LABEL: func @layer0
// CHECK-SAME: memref<?xi8> {moert.arena}, %{{.*}}: index {moert.tokens}, %{{.*}}: index {moert.max_tokens}
func.func @layer0(%x: memref<?x64xf32>, %arena: memref<?xi8> {moert.arena}, %tokens: index {moert.tokens}, %max: index {moert.max_tokens}) {
  return
}

// CHECK-LABEL: func @team
func.func @team(%found: index, %limit: index) {
  // CHECK: moert.thread : index
  %me = moert.thread : index
  // CHECK: moert.threads : index
  %n = moert.threads : index
  // CHECK: moert.coordinate 1 : index
  %ep = moert.coordinate 1 : index
  // CHECK: moert.total_tokens : index
  %all = moert.total_tokens : index
  // CHECK: moert.team_barrier
  moert.team_barrier
  // CHECK: moert.fail rows(%{{.*}}, %{{.*}})
  moert.fail rows(%found, %limit)
  moert.fail expert_id(%found, %limit)
  moert.fail duplicate_id(%found, %limit)
  return
}

// CHECK-LABEL: func @blocks
func.func @blocks(%a: memref<4xf32>, %b: memref<4xf32>, %c: memref<2x4xf32>, %d: memref<2x4xf32, strided<[4, 1], offset: ?>>) {
  // CHECK: moert.all_reduce %{{.*}}, %{{.*}} group 0 : memref<4xf32>, memref<4xf32>
  moert.all_reduce %a, %b group 0 : memref<4xf32>, memref<4xf32>
  // CHECK: moert.all_gather
  moert.all_gather %a, %c group 1 : memref<4xf32>, memref<2x4xf32>
  // CHECK: moert.reduce_scatter
  moert.reduce_scatter %c, %b group 1 : memref<2x4xf32>, memref<4xf32>
  // CHECK: moert.all_to_all
  moert.all_to_all %c, %d group 1 : memref<2x4xf32>, memref<2x4xf32, strided<[4, 1], offset: ?>>
  return
}

// CHECK-LABEL: func @rows
func.func @rows(%a: memref<?x8xbf16>, %b: memref<?x8xbf16>, %c: memref<2xi32>, %d: memref<2x3xi32>, %peer: index) {
  // CHECK: moert.all_gather_v %{{.*}}, %{{.*}} counts(%{{.*}}) group 0
  moert.all_gather_v %a, %b counts(%c) group 0 : memref<?x8xbf16>, memref<?x8xbf16>, memref<2xi32>
  // CHECK: moert.reduce_scatter_v
  moert.reduce_scatter_v %a, %b counts(%c) group 0 : memref<?x8xbf16>, memref<?x8xbf16>, memref<2xi32>
  // CHECK: moert.all_to_all_v %{{.*}}, %{{.*}} counts(%{{.*}}, %{{.*}}) group 0
  moert.all_to_all_v %a, %b counts(%d, %d) group 0 : memref<?x8xbf16>, memref<?x8xbf16>, memref<2x3xi32>, memref<2x3xi32>
  // CHECK: moert.send %{{.*}} to %{{.*}} group 0
  moert.send %a to %peer group 0 : memref<?x8xbf16>
  // CHECK: moert.recv %{{.*}} from %{{.*}} group 0
  moert.recv %b from %peer group 0 : memref<?x8xbf16>
  return
}
}

// CHECK-LABEL: func.func @variants
func.func @variants(%word: memref<1xi32>) {
  // CHECK-NEXT: moert.variant 0, %{{.*}} : memref<1xi32>
  moert.variant 0, %word : memref<1xi32>
  return
}

// CHECK-LABEL: func.func @marks
func.func @marks() {
  // CHECK-NEXT: moert.mark 3
  moert.mark 3
  // CHECK-NEXT: moert.mark{{$}}
  moert.mark
  return
}
