// RUN: moe-opt %s --allow-unregistered-dialect --convert-moert-to-llvm | FileCheck %s

// CHECK-LABEL: func @barrier
// CHECK-SAME: (%[[CTX:.*]]: !llvm.ptr, %{{.*}}: i32, %{{.*}}: i32) -> i32
func.func @barrier(%ctx: !llvm.ptr, %thread: i32, %threads: i32) -> i32 {
  %ok = arith.constant 0 : i32
  // CHECK: %[[TABLE:.*]] = llvm.load %[[CTX]] : !llvm.ptr -> !llvm.ptr
  // CHECK: %[[ENTRY:.*]] = llvm.load %[[TABLE]] : !llvm.ptr -> !llvm.ptr
  // CHECK: %[[STATUS:.*]] = llvm.call %[[ENTRY]](%[[CTX]]) : !llvm.ptr, (!llvm.ptr) -> i32
  // CHECK: %[[FAILED:.*]] = llvm.icmp "ne" %[[STATUS]], %{{.*}} : i32
  // CHECK: cf.cond_br %[[FAILED]], ^[[LEAVE:.*]], ^[[GO:.*]]
  // CHECK: ^[[LEAVE]]:
  // CHECK-NEXT: return %[[STATUS]] : i32
  // CHECK: ^[[GO]]:
  moert.team_barrier
  return %ok : i32
}

// CHECK-LABEL: func @place
// CHECK-SAME: (%[[CTX:.*]]: !llvm.ptr, %[[THREAD:.*]]: i32, %[[THREADS:.*]]: i32) -> i32
func.func @place(%ctx: !llvm.ptr, %thread: i32, %threads: i32) -> i32 {
  %ok = arith.constant 0 : i32
  // CHECK: llvm.zext %[[THREAD]] : i32 to i64
  %a = moert.thread : index
  // CHECK: llvm.zext %[[THREADS]] : i32 to i64
  %b = moert.threads : index
  // CHECK: %[[FIELD:.*]] = llvm.getelementptr %[[CTX]][8] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: %[[TABLE:.*]] = llvm.load %[[FIELD]]
  // CHECK: %[[ENTRY:.*]] = llvm.getelementptr %[[TABLE]][2] : (!llvm.ptr) -> !llvm.ptr, i64
  // CHECK: llvm.load %[[ENTRY]] : !llvm.ptr -> i64
  %c = moert.coordinate 2 : index
  // CHECK: %[[TOTAL:.*]] = llvm.getelementptr %[[CTX]][24] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.load %[[TOTAL]] : !llvm.ptr -> i64
  %t = moert.total_tokens : index
  // CHECK: %[[REASON:.*]] = llvm.mlir.constant(3 : i32)
  // CHECK: llvm.call %{{.*}}(%[[CTX]], %[[REASON]], %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i32, i64, i64) -> i32
  moert.fail rows(%a, %b)
  "uses"(%c) : (index) -> ()
  return %ok : i32
}

// CHECK-LABEL: func @counts_of_blocks
func.func @counts_of_blocks(%ctx: !llvm.ptr, %thread: i32, %threads: i32, %a: memref<2x3xf32>, %b: memref<5x2x3xf32>, %n: memref<?x3xi64>) -> i32 {
  %ok = arith.constant 0 : i32
  // CHECK: %[[COUNT:.*]] = llvm.mlir.constant(6 : i64)
  // CHECK: %[[GROUP:.*]] = llvm.mlir.constant(0 : i32)
  // CHECK: %[[DTYPE:.*]] = llvm.mlir.constant(0 : i32)
  // CHECK: llvm.getelementptr %{{.*}}[16] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}}(%{{.*}}, %[[GROUP]], %[[DTYPE]], %{{.*}}, %{{.*}}, %[[COUNT]])
  moert.all_reduce %a, %a group 0 : memref<2x3xf32>, memref<2x3xf32>
  // CHECK: %[[COUNT:.*]] = llvm.mlir.constant(6 : i64)
  // CHECK: llvm.getelementptr %{{.*}}[24] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %[[COUNT]])
  moert.all_gather %a, %b group 1 : memref<2x3xf32>, memref<5x2x3xf32>
  // CHECK: %[[COUNT:.*]] = llvm.mlir.constant(6 : i64)
  // CHECK: llvm.getelementptr %{{.*}}[32] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %[[COUNT]])
  moert.reduce_scatter %b, %a group 1 : memref<5x2x3xf32>, memref<2x3xf32>
  // CHECK: %[[COUNT:.*]] = llvm.mlir.constant(6 : i64)
  // CHECK: llvm.getelementptr %{{.*}}[40] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %[[COUNT]])
  moert.all_to_all %b, %b group 1 : memref<5x2x3xf32>, memref<5x2x3xf32>
  // CHECK: %[[ROW:.*]] = llvm.mlir.constant(3 : i64)
  // CHECK: %[[ROWS:.*]] = llvm.extractvalue %{{.*}}[3, 0]
  // CHECK: %[[COUNT:.*]] = llvm.mul %[[ROW]], %[[ROWS]] : i64
  // CHECK: llvm.mlir.constant(3 : i32)
  // CHECK: llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %[[COUNT]])
  moert.all_reduce %n, %n group 0 : memref<?x3xi64>, memref<?x3xi64>
  return %ok : i32
}

// CHECK-LABEL: func @counts_of_rows
func.func @counts_of_rows(%ctx: !llvm.ptr, %thread: i32, %threads: i32, %a: memref<?x8xbf16>, %c: memref<2x3x5xi32>, %peer: index) -> i32 {
  %ok = arith.constant 0 : i32
  // CHECK: %[[GROUP:.*]] = llvm.mlir.constant(1 : i32)
  // CHECK: %[[BF16:.*]] = llvm.mlir.constant(1 : i32)
  // CHECK: %[[ROW:.*]] = llvm.mlir.constant(8 : i64)
  // CHECK: %[[INNER:.*]] = llvm.mlir.constant(15 : i64)
  // CHECK: llvm.getelementptr %{{.*}}[48] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}}(%{{.*}}, %[[GROUP]], %[[BF16]], %[[ROW]], %{{.*}}, %{{.*}}, %{{.*}}, %[[INNER]]) : !llvm.ptr, (!llvm.ptr, i32, i32, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> i32
  moert.all_gather_v %a, %a counts(%c) group 1 : memref<?x8xbf16>, memref<?x8xbf16>, memref<2x3x5xi32>
  // CHECK: llvm.getelementptr %{{.*}}[56] : (!llvm.ptr) -> !llvm.ptr, i8
  moert.reduce_scatter_v %a, %a counts(%c) group 1 : memref<?x8xbf16>, memref<?x8xbf16>, memref<2x3x5xi32>
  // CHECK: llvm.getelementptr %{{.*}}[64] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}} : !llvm.ptr, (!llvm.ptr, i32, i32, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> i32
  moert.all_to_all_v %a, %a counts(%c, %c) group 1 : memref<?x8xbf16>, memref<?x8xbf16>, memref<2x3x5xi32>, memref<2x3x5xi32>
  // CHECK: llvm.getelementptr %{{.*}}[72] : (!llvm.ptr) -> !llvm.ptr, i8
  // CHECK: llvm.call %{{.*}} : !llvm.ptr, (!llvm.ptr, i32, i32, i32, !llvm.ptr, i64) -> i32
  moert.send %a to %peer group 1 : memref<?x8xbf16>
  // CHECK: llvm.getelementptr %{{.*}}[80] : (!llvm.ptr) -> !llvm.ptr, i8
  moert.recv %a from %peer group 1 : memref<?x8xbf16>
  return %ok : i32
}

// A mark is a call as well; without a number it is -1.
// CHECK-LABEL: func @marks
// CHECK-SAME: (%[[CTX:.*]]: !llvm.ptr, %{{.*}}: i32, %{{.*}}: i32) -> i32
func.func @marks(%ctx: !llvm.ptr, %thread: i32, %threads: i32) -> i32 {
  %ok = arith.constant 0 : i32
  // CHECK-DAG: %[[STEP:.*]] = llvm.mlir.constant(3 : i32)
  // CHECK: llvm.call %{{.*}}(%[[CTX]], %[[STEP]]) : !llvm.ptr, (!llvm.ptr, i32) -> i32
  moert.mark 3
  // CHECK: %[[NONE:.*]] = llvm.mlir.constant(-1 : i32)
  // CHECK: llvm.call %{{.*}}(%[[CTX]], %[[NONE]]) : !llvm.ptr, (!llvm.ptr, i32) -> i32
  moert.mark
  return %ok : i32
}

// CHECK-LABEL: func.func @variants
// CHECK-SAME: %[[CTX:.*]]: !llvm.ptr,
func.func @variants(%ctx: !llvm.ptr, %thread: i32, %threads: i32, %word: memref<1xi32>) -> i32 {
  %ok = arith.constant 0 : i32
  // CHECK: %[[CHOICE:.*]] = llvm.mlir.constant(2 : i32)
  // CHECK: llvm.call %{{.*}}(%[[CTX]], %[[CHOICE]], %{{.*}}) : !llvm.ptr, (!llvm.ptr, i32, !llvm.ptr) -> i32
  moert.variant 2, %word : memref<1xi32>
  return %ok : i32
}
