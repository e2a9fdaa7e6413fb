// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize | FileCheck %s

// Lanes take every 32nd expert; those behind the last find no rows.
// CHECK-LABEL: func.func @tiles_of_all_experts
func.func @tiles_of_all_experts(%offsets: !llvm.ptr) -> i32 {
  // CHECK-DAG: %[[EXPERTS:.*]] = arith.constant 40 : i32
  // CHECK: scf.for
  // CHECK: arith.minsi %{{.*}}, %[[EXPERTS]]
  // CHECK: %[[BEGIN:.*]] = llvm.load
  // CHECK: arith.minsi %{{.*}}, %[[EXPERTS]]
  // CHECK: %[[END:.*]] = llvm.load
  // CHECK: arith.subi %[[END]], %[[BEGIN]]
  // CHECK: %[[ALL:.*]] = nvvm.redux.sync add
  // CHECK: arith.muli %[[ALL]], %{{.*}}
  %tiles = hopper.count_tiles %offsets experts 40 columns 4096 tile 32x128
  return %tiles : i32
}

// CHECK-LABEL: func.func @ticket
func.func @ticket(%counter: !llvm.ptr) -> i32 {
  // CHECK: llvm.inline_asm has_side_effects "atom.relaxed.gpu.global.add.u32 $0, [$1], 1;"
  %number = hopper.draw_ticket %counter
  return %number : i32
}

// 16 registers a thread are four stores, 2048 bytes apart for 128 threads.
// CHECK-LABEL: func.func @part
func.func @part(%values: !hopper.fragment<64x32>, %parts: !llvm.ptr, %number: i32) {
  // CHECK: %[[SIZE:.*]] = arith.constant 8192 : i64
  // CHECK: arith.muli %{{.*}}, %[[SIZE]] : i64
  // CHECK-COUNT-4: llvm.store %{{.*}} {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
  // CHECK-NOT: llvm.store
  hopper.store_part %values, %parts[%number] : !hopper.fragment<64x32>
  return
}

// All threads have stored, one adds with the order of all; all learn whether it was the last, who clears the counter.
// CHECK-LABEL: func.func @arrival
func.func @arrival(%counters: !llvm.ptr, %number: i32) -> i1 {
  // CHECK: nvvm.barrier id = %[[GROUP:.*]] number_of_threads =
  // CHECK: %[[OLD:.*]] = llvm.inline_asm has_side_effects "atom.acq_rel.gpu.global.add.u32 $0, [$1], 1;"
  // CHECK: %[[LAST:.*]] = arith.cmpi eq, %[[OLD]], %c3_i32
  // CHECK: scf.if %[[LAST]]
  // CHECK: llvm.store %c0_i32
  // CHECK: llvm.inline_asm has_side_effects "{{.*}}barrier.red.or.pred q, $1, 128, p;{{.*}} %[[GROUP]],
  %last = hopper.arrive_part %counters[%number] of 4
  return %last : i1
}

// CHECK-LABEL: func.func @sum
func.func @sum(%parts: !llvm.ptr, %first: i32) -> !hopper.fragment<64x8> {
  // CHECK: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
  // CHECK: scf.for {{.*}} iter_args
  // CHECK: llvm.load
  // CHECK-COUNT-4: arith.addf
  %values = hopper.sum_parts %parts[%first] count 3 : !hopper.fragment<64x8>
  return %values : !hopper.fragment<64x8>
}
