// RUN: moe-opt %s --convert-coll-to-moert --split-input-file | FileCheck %s

// CHECK: module attributes {moert.groups = [array<i64: 1>]}
// CHECK-LABEL: func @exchange_of_counts
shard.grid @ranks(shape = 2x2)
func.func @exchange_of_counts(%a: memref<2x4xi32>, %b: memref<2x4xi32>) {
  // CHECK: %[[THREAD:.*]] = moert.thread : index
  // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[THREAD]], %{{.*}} : index
  // CHECK: scf.if %[[FIRST]] {
  // CHECK-NEXT: moert.all_to_all %{{.*}}, %{{.*}} group 0 : memref<2x4xi32>, memref<2x4xi32>
  // CHECK-NEXT: }
  // CHECK-NEXT: moert.team_barrier
  coll.all_to_all %a on @ranks axes [1] outs(%b) : (memref<2x4xi32>, memref<2x4xi32>) -> ()
  return
}

// -----

// Groups are numbered in order of first use, over all functions.
// CHECK: module attributes {moert.groups = [array<i64: 2>, array<i64: 0, 1>]}
shard.grid @ranks(shape = 2x1x2)
// CHECK-LABEL: func @first_user
func.func @first_user(%a: memref<4xf32>, %b: memref<4xf32>, %c: memref<2x4xf32>) {
  // CHECK: moert.all_reduce {{.*}} group 0
  coll.all_reduce %a on @ranks axes [2] outs(%b) : (memref<4xf32>, memref<4xf32>) -> ()
  // CHECK: moert.all_gather {{.*}} group 1
  coll.all_gather %a on @ranks axes [0, 1] outs(%c) : (memref<4xf32>, memref<2x4xf32>) -> ()
  // CHECK: moert.reduce_scatter {{.*}} group 0
  coll.reduce_scatter %c on @ranks axes [2] outs(%a) : (memref<2x4xf32>, memref<4xf32>) -> ()
  return
}
// CHECK-LABEL: func @second_user
func.func @second_user(%a: memref<?x4xf32>, %b: memref<?x4xf32>, %c: memref<2x3xi32>, %n: index, %peer: index) {
  // CHECK: moert.all_gather_v {{.*}} counts(%{{.*}}) group 1
  coll.all_gather_v %a counts(%c) rows(%n) on @ranks axes [0, 1] outs(%b) : (memref<?x4xf32>, memref<2x3xi32>, index, memref<?x4xf32>) -> ()
  // CHECK: moert.reduce_scatter_v {{.*}} counts(%{{.*}}) group 1
  coll.reduce_scatter_v %b counts(%c) rows(%n) on @ranks axes [0, 1] outs(%a) : (memref<?x4xf32>, memref<2x3xi32>, index, memref<?x4xf32>) -> ()
  // CHECK: moert.all_to_all_v %[[A:.*]], %[[B:.*]] counts(%{{.*}}, %{{.*}}) group 0
  coll.all_to_all_v %a counts(%c, %c) rows(%n) on @ranks axes [2] outs(%b) : (memref<?x4xf32>, memref<2x3xi32>, memref<2x3xi32>, index, memref<?x4xf32>) -> ()
  // CHECK: moert.send %[[A]] to %{{.*}} group 0
  coll.send %a to %peer on @ranks axes [2] : memref<?x4xf32>
  // CHECK: moert.recv %[[B]] from %{{.*}} group 0
  coll.recv from %peer rows(%n) on @ranks axes [2] outs(%b) : (index, index, memref<?x4xf32>) -> ()
  return
}

// -----

// CHECK: module attributes {moert.groups = []}
shard.grid @ranks(shape = 2x3)
// CHECK-LABEL: func @member_number_reads_digits
func.func @member_number_reads_digits() -> index {
  // CHECK: %[[C0:.*]] = arith.constant 0 : index
  // CHECK: %[[C3:.*]] = arith.constant 3 : index
  // CHECK: %[[SLOW:.*]] = moert.coordinate 1 : index
  // CHECK: %[[A:.*]] = arith.muli %[[C0]], %[[C3]]
  // CHECK: %[[B:.*]] = arith.addi %[[A]], %[[SLOW]]
  // CHECK: %[[C2:.*]] = arith.constant 2 : index
  // CHECK: %[[FAST:.*]] = moert.coordinate 0 : index
  // CHECK: %[[C:.*]] = arith.muli %[[B]], %[[C2]]
  // CHECK: %[[D:.*]] = arith.addi %[[C]], %[[FAST]]
  // CHECK: return %[[D]]
  %me = coll.index on @ranks axes [1, 0] : index
  return %me : index
}

// CHECK-LABEL: func @rows_are_summed_and_bounded
// CHECK-SAME: (%[[COUNTS:.*]]: memref<2x4xi32>, %[[MAX:.*]]: index
func.func @rows_are_summed_and_bounded(%c: memref<2x4xi32>, %max: index {moert.max_tokens}) -> index {
  // CHECK: %[[SUM:.*]] = scf.for %[[I:.*]] = {{.*}} iter_args(%{{.*}} = %{{.*}}) -> (index)
  // CHECK: %[[ROW:.*]] = scf.for %[[J:.*]] = {{.*}} iter_args(%[[ACC:.*]] = %{{.*}}) -> (index)
  // CHECK: %[[COUNT:.*]] = memref.load %[[COUNTS]][%[[I]], %[[J]]]
  // CHECK: %[[WIDE:.*]] = arith.index_cast %[[COUNT]] : i32 to index
  // CHECK: arith.addi %[[ACC]], %[[WIDE]]
  // CHECK: %[[TWO:.*]] = arith.constant 2 : index
  // CHECK: %[[LIMIT:.*]] = arith.muli %[[MAX]], %[[TWO]]
  // CHECK: %[[OVER:.*]] = arith.cmpi ugt, %[[SUM]], %[[LIMIT]]
  // CHECK: scf.if %[[OVER]] {
  // CHECK-NEXT: moert.fail rows(%[[SUM]], %[[LIMIT]])
  // CHECK: return %[[SUM]]
  %n = coll.rows %c bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : memref<2x4xi32>
  return %n : index
}

// CHECK-LABEL: func @share_is_a_copy_of_rows
// CHECK-SAME: (%[[X:.*]]: memref<?x4xf32>, %[[MINE:.*]]: memref<?x4xf32>)
func.func @share_is_a_copy_of_rows(%x: memref<?x4xf32>, %mine: memref<?x4xf32>) {
  // CHECK: %[[SIX:.*]] = arith.constant 6 : index
  // CHECK: %[[ME:.*]] = arith.addi
  // CHECK: %[[ME2:.*]] = arith.addi
  // CHECK: %[[T:.*]] = memref.dim %[[X]]
  // CHECK: %[[Q:.*]] = arith.divui %[[T]], %[[SIX]]
  // CHECK: %[[R:.*]] = arith.remui %[[T]], %[[SIX]]
  // CHECK-DAG: %[[P:.*]] = arith.muli %[[ME2]], %[[Q]]
  // CHECK-DAG: %[[E:.*]] = arith.minui %[[ME2]], %[[R]]
  // CHECK: %[[START:.*]] = arith.addi %[[P]], %[[E]]
  // CHECK: %[[ROWS:.*]] = memref.dim %[[MINE]]
  // CHECK: %[[PART:.*]] = memref.subview %[[X]][%[[START]], 0] [%[[ROWS]], 4] [1, 1]
  // CHECK: memref.copy %[[PART]], %[[MINE]]
  coll.share %x on @ranks axes [0, 1] outs(%mine) : (memref<?x4xf32>, memref<?x4xf32>) -> ()
  return
}

// -----

// Threads of a rank have no stream beside them: what is started runs at once.
// CHECK-LABEL: func @started
shard.grid @ranks(shape = 2)
func.func @started(%a: memref<4xf32>, %b: memref<4xf32>) {
  // CHECK: moert.all_reduce
  // CHECK: moert.team_barrier
  // CHECK-NOT: coll.
  %t = coll.start {
    coll.all_reduce %a on @ranks axes [0] outs(%b) : (memref<4xf32>, memref<4xf32>) -> ()
  }
  coll.wait %t
  // CHECK: return
  return
}
