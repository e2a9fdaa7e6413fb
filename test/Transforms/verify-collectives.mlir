// RUN: moe-opt %s --split-input-file --moe-verify-collectives | FileCheck %s
// RUN: moe-opt %s --split-input-file --canonicalize --cse --moe-verify-collectives | FileCheck %s

// The forms that sharding produces; each must pass, before and after cleaning up.

// Two all_to_alls with a pair of ragged collectives over the expert's width
// between them.
// CHECK-LABEL: func @all_to_all_with_expert_tensor_parallel
shard.grid @ranks(shape = 1x4x2) {coll.axes = ["edp", "ep", "etp"]}
func.func @all_to_all_with_expert_tensor_parallel(
    %x: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64: 0, 1, 2>}, %gate: tensor<8x64xf32>,
    %up: tensor<2x2x48x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 2, 96, 64], splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>], slots = [0, 1, 2, 3, 4, 5, 6, 7]>},
    %down: tensor<2x64x48xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [8, 64, 96], splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>], slots = [0, 1, 2, 3, 4, 5, 6, 7]>})
    -> (tensor<?x64xf32> {moe.name = "y", moe.split = array<i64: 0, 1, 2>}) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %t = tensor.dim %x, %c0 : tensor<?x64xf32>
  %pairs = arith.muli %t, %c2 : index
  %order, %pos, %o = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8
      : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<9xi32>)
  %rows = moe.take %x, %order rows(%pairs) top_k 2 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x64xf32>
  %send = moe.counts %o : (tensor<9xi32>) -> tensor<4x2xi32>
  // CHECK: coll.all_to_all %
  %recv = coll.all_to_all %send on @ranks axes [1] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  %n = coll.rows %recv bound(affine_map<()[s0] -> (s0)>) on @ranks : tensor<4x2xi32>
  // CHECK: coll.all_to_all_v
  %in = coll.all_to_all_v %rows counts(%send, %recv) rows(%n) on @ranks axes [1]
      : (tensor<?x64xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x64xf32>
  %all = coll.all_gather %recv on @ranks axes [2] : (tensor<4x2xi32>) -> tensor<2x4x2xi32>
  %m = coll.rows %all bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : tensor<2x4x2xi32>
  // CHECK: coll.all_gather_v
  %a = coll.all_gather_v %in counts(%all) rows(%m) on @ranks axes [2]
      : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
  %order2, %off = moe.regroup %all rows(%m) : (tensor<2x4x2xi32>, index) -> (tensor<?xi32>, tensor<3xi32>)
  %h = moe.grouped_matmul %a, %up rows(%m) offsets(%off) gather(%order2) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x2x48x64xf32>, index, tensor<3xi32>, tensor<?xi32>) -> tensor<?x48xf32>
  %p = moe.grouped_matmul %h, %down rows(%m) offsets(%off) scatter(%order2)
      : (tensor<?x48xf32>, tensor<2x64x48xf32>, index, tensor<3xi32>, tensor<?xi32>) -> tensor<?x64xf32>
  // CHECK: coll.reduce_scatter_v
  %q = coll.reduce_scatter_v %p counts(%all) rows(%n) on @ranks axes [2]
      : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
  // CHECK: coll.all_to_all_v
  %back = coll.all_to_all_v %q counts(%recv, %send) rows(%pairs) on @ranks axes [1]
      : (tensor<?x64xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x64xf32>
  %y = moe.combine %back, %pos weights(%w) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// Every rank sees the tokens of its replica and adds up what its experts say.
// CHECK-LABEL: func @all_gather_with_replicas
shard.grid @ranks(shape = 2x2x2) {coll.axes = ["edp", "ep", "etp"]}
func.func @all_gather_with_replicas(
    %x: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64: 0, 1, 2>}, %gate: tensor<4x64xf32>,
    %up: tensor<2x2x48x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [4, 2, 96, 64], splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>], slots = [0, 1, 2, 3]>},
    %down: tensor<2x64x48xf32>) -> (tensor<?x64xf32> {moe.name = "y", moe.split = array<i64: 0, 1, 2>}) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<4x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %t = tensor.dim %x, %c0 : tensor<?x64xf32>
  %t32 = arith.index_cast %t : index to i32
  %mine = tensor.from_elements %t32 : tensor<1xi32>
  %counts = coll.all_gather %mine on @ranks axes [1, 2] : (tensor<1xi32>) -> tensor<4x1xi32>
  %flat = tensor.collapse_shape %counts [[0, 1]] : tensor<4x1xi32> into tensor<4xi32>
  %n = coll.rows %flat bound(affine_map<()[s0] -> (s0)>) on @ranks : tensor<4xi32>
  // CHECK-COUNT-3: coll.all_gather_v
  %gx = coll.all_gather_v %x counts(%flat) rows(%n) on @ranks axes [1, 2]
      : (tensor<?x64xf32>, tensor<4xi32>, index) -> tensor<?x64xf32>
  %gi = coll.all_gather_v %ids counts(%flat) rows(%n) on @ranks axes [1, 2]
      : (tensor<?x2xi32>, tensor<4xi32>, index) -> tensor<?x2xi32>
  %gw = coll.all_gather_v %w counts(%flat) rows(%n) on @ranks axes [1, 2]
      : (tensor<?x2xf32>, tensor<4xi32>, index) -> tensor<?x2xf32>
  %ep = coll.index on @ranks axes [1] : index
  %first = arith.muli %ep, %c2 : index
  %order, %pos, %off = moe.sort %gi first(%first) experts 4 slots [0, 1, 2, 3] window 2
      : (tensor<?x2xi32>, index) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3xi32>)
  %pairs = arith.muli %n, %c2 : index
  %h = moe.grouped_matmul %gx, %up rows(%pairs) offsets(%off) gather(%order) activation(<kind = silu>) {gather_divisor = 2}
      : (tensor<?x64xf32>, tensor<2x2x48x64xf32>, index, tensor<3xi32>, tensor<?xi32>) -> tensor<?x48xf32>
  %p = moe.grouped_matmul %h, %down rows(%pairs) offsets(%off)
      : (tensor<?x48xf32>, tensor<2x64x48xf32>, index, tensor<3xi32>) -> tensor<?x64xf32>
  %part = moe.combine %p, %pos weights(%gw) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  // CHECK: coll.reduce_scatter_v
  %y = coll.reduce_scatter_v %part counts(%flat) rows(%t) on @ranks axes [1, 2]
      : (tensor<?x64xf32>, tensor<4xi32>, index) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// Replicated at the boundary: a share of the rows, and all of them again.
// CHECK-LABEL: func @replicated_boundary
shard.grid @ranks(shape = 1x4x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @replicated_boundary(%x: tensor<?x64xf32> {moe.split = array<i64>}) -> (tensor<?x64xf32> {moe.split = array<i64>}) {
  %c0 = arith.constant 0 : index
  %total = tensor.dim %x, %c0 : tensor<?x64xf32>
  %mine = coll.share %x on @ranks axes [0, 1, 2] : (tensor<?x64xf32>) -> tensor<?x64xf32>
  %t = tensor.dim %mine, %c0 : tensor<?x64xf32>
  %t32 = arith.index_cast %t : index to i32
  %one = tensor.from_elements %t32 : tensor<1xi32>
  %counts = coll.all_gather %one on @ranks axes [0, 1, 2] : (tensor<1xi32>) -> tensor<4x1xi32>
  // CHECK: coll.all_gather_v
  %y = coll.all_gather_v %mine counts(%counts) rows(%total) on @ranks axes [0, 1, 2]
      : (tensor<?x64xf32>, tensor<4x1xi32>, index) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// A decision may differ between groups, as long as each group takes it alike.
// CHECK-LABEL: func @decision_that_a_group_shares
shard.grid @ranks(shape = 2x4) {coll.axes = ["ep", "etp"]}
func.func @decision_that_a_group_shares(%x: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %ep = coll.index on @ranks axes [0] : index
  %first = arith.cmpi eq, %ep, %c0 : index
  // CHECK: scf.if
  // CHECK: coll.all_reduce
  %y = scf.if %first -> tensor<8xf32> {
    %s = coll.all_reduce %x on @ranks axes [1] : (tensor<8xf32>) -> tensor<8xf32>
    scf.yield %s : tensor<8xf32>
  } else {
    scf.yield %x : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

// The capacity of DeepSpeed#6809, agreed first: every member takes the largest.
// CHECK-LABEL: func @capacity_agreed
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @capacity_agreed(%counts: tensor<4xi32> {moe.split = array<i64: 0>}) -> tensor<4x?x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0 : i32
  %mine = tensor.extract %counts[%c0] : tensor<4xi32>
  %one = tensor.from_elements %mine : tensor<1xi32>
  %all = coll.all_gather %one on @ranks axes [0] : (tensor<1xi32>) -> tensor<4x1xi32>
  %largest = scf.for %i = %c0 to %c4 step %c1 iter_args(%max = %zero) -> i32 {
    %c = tensor.extract %all[%i, %c0] : tensor<4x1xi32>
    %next = arith.maxsi %c, %max : i32
    scf.yield %next : i32
  }
  %capacity = arith.index_cast %largest : i32 to index
  %buffer = tensor.empty(%capacity) : tensor<4x?x64xf32>
  // CHECK: coll.all_to_all %
  %in = coll.all_to_all %buffer on @ranks axes [0] : (tensor<4x?x64xf32>) -> tensor<4x?x64xf32>
  return %in : tensor<4x?x64xf32>
}

// -----

// A group of one member waits for nobody, whatever it sends.
// CHECK-LABEL: func @alone
shard.grid @ranks(shape = 1x4) {coll.axes = ["ep", "etp"]}
func.func @alone(%x: tensor<?x64xf32>, %c: i1) {
  scf.if %c {
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<?x64xf32>) -> tensor<?x64xf32>
  }
  // CHECK: return
  return
}

// -----

// Calls pass through: the callee's argument is what the caller agreed on.
// CHECK-LABEL: func private @callee
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func private @callee(%n: index, %x: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%v = %x) -> tensor<8xf32> {
    // CHECK: coll.all_reduce
    %s = coll.all_reduce %v on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
    scf.yield %s : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}
func.func @caller(%x: tensor<8xf32>, %steps: index {moe.name = "steps"}) -> tensor<8xf32> {
  %c3 = arith.constant 3 : index
  %y = call @callee(%c3, %x) : (index, tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

// Two groups in flight: each rank issues them in the order of the starts.
// CHECK-LABEL: func @started
shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}
func.func @started(%x: memref<8xf32>, %s: memref<8xf32>, %r: memref<8xf32>) {
  // CHECK: coll.start
  %a = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<8xf32>, memref<8xf32>) -> ()
  }
  %b = coll.start {
    coll.all_reduce %x on @ranks axes [1] outs(%r) : (memref<8xf32>, memref<8xf32>) -> ()
  }
  coll.wait %b
  coll.wait %a
  return
}

// -----

// A shared expert without routing keeps the rows that it was given.
// CHECK-LABEL: func @sum_in_token_order
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @sum_in_token_order(%x: tensor<?x8xf32> {moe.split = array<i64>}, %a: tensor<?x8xf32> {moe.split = array<i64>}) {
  %y = moe.combine %x addend(%a) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: coll.all_gather
  %all = coll.all_gather %y on @ranks axes [0] : (tensor<?x8xf32>) -> tensor<4x?x8xf32>
  return
}
