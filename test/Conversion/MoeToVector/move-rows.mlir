// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3 --canonicalize --cse | FileCheck %s

// What moves rows and counts them; results are compared with numpy in move-rows-run.test.

// One thread writes what is too small to share; all wait for it.
// CHECK-LABEL: func @counts
// CHECK-SAME: %[[OFFSETS:.*]]: memref<9xi32>, %[[COUNTS:.*]]: memref<4x2xi32>
func.func @counts(%off: memref<9xi32>, %c: memref<4x2xi32>) {
  // CHECK: %[[ME:.*]] = moert.thread
  // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[ME]]
  // CHECK: scf.if %[[FIRST]]
  // CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[COUNTS]]
  // CHECK: scf.for %[[I:.*]] =
  // CHECK: %[[NEXT:.*]] = arith.addi %[[I]]
  // CHECK: %[[LOW:.*]] = memref.load %[[OFFSETS]][%[[I]]]
  // CHECK: %[[HIGH:.*]] = memref.load %[[OFFSETS]][%[[NEXT]]]
  // CHECK: %[[N:.*]] = arith.subi %[[HIGH]], %[[LOW]]
  // CHECK: memref.store %[[N]], %[[FLAT]][%[[I]]]
  // CHECK: moert.team_barrier
  moe.counts %off outs(%c) : (memref<9xi32>, memref<4x2xi32>) -> ()
  return
}

// The team shares the rows: thread t of n takes rows * t / n up to rows * (t + 1) / n.
// CHECK-LABEL: func @take
// CHECK-SAME: %[[X:.*]]: memref<?x64xf32>, %[[ORDER:.*]]: memref<?xi32>, %[[ROWS:.*]]: index, %[[W:.*]]: memref<?x2xf32>, %[[OUT:.*]]: memref<?x64xf32>
func.func @take(%x: memref<?x64xf32>, %order: memref<?xi32>, %n: index, %w: memref<?x2xf32>, %r: memref<?x64xf32>) {
  // CHECK-DAG: %[[ME:.*]] = moert.thread
  // CHECK-DAG: %[[ALL:.*]] = moert.threads
  // CHECK: %[[PRODUCT:.*]] = arith.muli %[[ROWS]], %[[ME]]
  // CHECK: %[[FROM:.*]] = arith.divui %[[PRODUCT]], %[[ALL]]
  // CHECK: scf.for %[[ROW:.*]] = %[[FROM]] to
  // CHECK: memref.load %[[ORDER]][%[[ROW]]]
  // A pair is token * k + slot.
  // CHECK: %[[TOKEN:.*]] = arith.divui
  // CHECK: %[[SLOT:.*]] = arith.remui
  // CHECK: memref.load %[[W]][%[[TOKEN]], %[[SLOT]]]
  // CHECK: vector.load %[[X]][%[[TOKEN]], {{.*}} vector<32xf32>
  // CHECK: arith.mulf
  // CHECK: vector.store {{.*}}, %[[OUT]][%[[ROW]]
  // CHECK: moert.team_barrier
  moe.take %x, %order rows(%n) top_k 2 weights(%w) outs(%r) : (memref<?x64xf32>, memref<?xi32>, index, memref<?x2xf32>, memref<?x64xf32>) -> ()
  return
}

// Sums in the order of a token's slots, in f32, rounded once. A negative position holds no row.
// CHECK-LABEL: func @combine
// CHECK-SAME: %[[R:.*]]: memref<?x64xbf16>, %[[POS:.*]]: memref<?x2xi32>, %[[W:.*]]: memref<?x2xf32>, %[[Y:.*]]: memref<?x64xbf16>
func.func @combine(%r: memref<?x64xbf16>, %pos: memref<?x2xi32>, %w: memref<?x2xf32>, %y: memref<?x64xbf16>) {
  // CHECK: scf.for %[[T:.*]] =
  // CHECK: %[[SUM:.*]] = scf.for %[[K:.*]] = {{.*}} iter_args(%[[ACC:.*]] = %{{.*}}) -> (vector<32xf32>)
  // CHECK: %[[P:.*]] = memref.load %[[POS]][%[[T]], %[[K]]]
  // CHECK: %[[HELD:.*]] = arith.cmpi sge, %[[P]]
  // CHECK: scf.if %[[HELD]]
  // CHECK: vector.load %[[R]]
  // CHECK: memref.load %[[W]][%[[T]], %[[K]]]
  // CHECK: %[[TERM:.*]] = arith.mulf {{.*}} : vector<32xf32>
  // CHECK: arith.addf %[[ACC]], %[[TERM]] : vector<32xf32>
  // CHECK: else
  // CHECK: scf.yield %[[ACC]]
  // CHECK: arith.bitcast %[[SUM]] : vector<32xf32> to vector<32xi32>
  // CHECK: arith.trunci
  // CHECK: vector.store {{.*}}, %[[Y]][%[[T]]
  // CHECK: moert.team_barrier
  moe.combine %r, %pos weights(%w) outs(%y) : (memref<?x64xbf16>, memref<?x2xi32>, memref<?x2xf32>, memref<?x64xbf16>) -> ()
  return
}

// Rows by (member, slot) come to stand by (slot, member).
// CHECK-LABEL: func @regroup
// CHECK-SAME: %[[C:.*]]: memref<2x2xi32>, %[[N:.*]]: index, %[[ORDER:.*]]: memref<?xi32>, %[[OFF:.*]]: memref<3xi32>
func.func @regroup(%c: memref<2x2xi32>, %n: index, %order: memref<?xi32>, %off: memref<3xi32>) {
  // CHECK: %[[STARTS:.*]] = memref.alloca() {{.*}} : memref<4xi32>
  // CHECK: moert.thread
  // CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[C]]
  // Where each member's rows of each slot start.
  // CHECK: scf.for
  // CHECK: memref.store {{.*}}, %[[STARTS]]
  // CHECK: scf.for %[[SLOT:.*]] = %{{.*}} iter_args(%[[DONE:.*]] =
  // CHECK: memref.store {{.*}}, %[[OFF]][%[[SLOT]]]
  // CHECK: scf.for %[[BLOCK:.*]] = %[[SLOT]]
  // CHECK: memref.load %[[FLAT]][%[[BLOCK]]]
  // CHECK: memref.load %[[STARTS]][%[[BLOCK]]]
  // CHECK: scf.for
  // CHECK: memref.store {{.*}}, %[[ORDER]]
  // CHECK: moert.team_barrier
  moe.regroup %c rows(%n) outs(%order, %off) : (memref<2x2xi32>, index, memref<?xi32>, memref<3xi32>) -> ()
  return
}

// A counting sort by one thread; ids out of range and ids named twice end the program.
// CHECK-LABEL: func @sort
// CHECK-SAME: %[[IDS:.*]]: memref<?x2xi32>, %[[ORDER:.*]]: memref<?xi32>, %[[POS:.*]]: memref<?x2xi32>, %[[OFF:.*]]: memref<5xi32>, %[[FIRST:.*]]: index
func.func @sort(%ids: memref<?x2xi32>, %order: memref<?xi32>, %pos: memref<?x2xi32>, %off: memref<5xi32>, %first: index) {
  // The slot of each expert.
  // CHECK: arith.constant dense<[1, 0, 2, 3, 4, 5, 6, 7]> : vector<8xi32>
  // CHECK: %[[ID:.*]] = memref.load %[[IDS]]
  // CHECK: arith.cmpi ult, %[[ID]]
  // CHECK: moert.fail duplicate_id
  // Slots outside the window hold no row here.
  // CHECK: %[[BASE:.*]] = arith.index_cast %[[FIRST]]
  // CHECK: %[[LOCAL:.*]] = arith.subi %{{.*}}, %[[BASE]]
  // CHECK: arith.cmpi ult, %[[LOCAL]]
  // CHECK: moert.fail expert_id
  // CHECK: memref.store {{.*}}, %[[OFF]]
  // CHECK: memref.store {{.*}}, %[[POS]]
  // CHECK: memref.store {{.*}}, %[[ORDER]]
  // CHECK: moert.team_barrier
  moe.sort %ids first(%first) experts 8 slots [1, 0, 2, 3, 4, 5, 6, 7] window 4 outs(%order, %pos, %off) : (memref<?x2xi32>, index, memref<?xi32>, memref<?x2xi32>, memref<5xi32>) -> ()
  return
}
