// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize --cse --split-input-file | FileCheck %s

// The warpgroup meets, then each thread copies the words of its live rows: 192 rows are two passes of 128 threads.
// CHECK-LABEL: func.func @words_are_copied
func.func @words_are_copied(%places: !hopper.places<192>, %index: !llvm.ptr, %factors: !llvm.ptr, %row: i32, %count: i32) {
  // CHECK: nvvm.barrier
  // CHECK: %[[LIVE:.*]] = arith.minsi %arg4, %c192_i32
  // CHECK: scf.if
  // CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 4, cache =  ca
  // CHECK: scf.if
  // CHECK: nvvm.cp.async.shared.global
  hopper.ask_places %places, %index[%row] rows %count : !hopper.places<192>
  // Factors lie behind 192 words; a thread reads the places that it has copied.
  // CHECK: cp.async.wait_all
  // CHECK-NOT: nvvm.barrier
  // CHECK: scf.if
  // CHECK: llvm.load %{{.*}} : !llvm.ptr<3> -> i32
  // CHECK: llvm.getelementptr %{{.*}}[768]
  // CHECK: nvvm.cp.async.shared.global
  hopper.ask_factors %places, %factors rows %count : !hopper.places<192>
  return
}

// -----

// 24 rows are two passes of 16, of which the second has 8; all is loaded before any is stored, without a branch.
// CHECK-LABEL: func.func @boxes_are_stored_row_by_row
func.func @boxes_are_stored_row_by_row(%out: !hopper.staging<1, <24x64xbf16>>, %places: !hopper.places<32>, %y: !llvm.ptr, %column: i32, %count: i32) {
  // CHECK: cp.async.wait_all
  // CHECK: nvvm.barrier
  // CHECK-NOT: scf.if
  // CHECK: arith.cmpi slt, %{{.*}}, %c208_i32
  // CHECK-COUNT-2: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xi32>
  // CHECK: arith.extui %{{.*}} : i32 to i64
  // CHECK: arith.muli %{{.*}}, %c416_i64
  // CHECK: llvm.inline_asm has_side_effects {{.*}}st.global.v4.b32
  // CHECK: llvm.inline_asm has_side_effects {{.*}}st.global.v4.b32
  // CHECK-NOT: st.global
  hopper.scatter_staging %out boxes 1, %places, %y[%column] rows %count of 208 : !hopper.staging<1, <24x64xbf16>>, !hopper.places<32>
  return
}

// -----

// A rounded row times its factor, rounded again; a second box of the only buffer waits until all have read the first one.
// CHECK-LABEL: func.func @one_buffer_for_two_boxes
func.func @one_buffer_for_two_boxes(%x: !hopper.fragment<64x16>, %out: !hopper.staging<1, <8x64xbf16>>, %places: !hopper.places<16>, %y: !llvm.ptr, %column: i32, %count: i32) {
  // CHECK: nvvm.stmatrix
  // CHECK: cp.async.wait_all
  // CHECK: nvvm.barrier
  // CHECK: llvm.load %{{.*}} : !llvm.ptr<3> -> f32
  // CHECK-COUNT-8: arith.mulf
  // CHECK: st.global
  // CHECK: nvvm.barrier
  // CHECK: nvvm.stmatrix
  // CHECK-NOT: cp.async.wait_all
  // CHECK: nvvm.barrier
  // CHECK: st.global
  hopper.scatter_tile %x, %out, %places, %y[%column] rows %count of 64 scaled transposed
      : !hopper.fragment<64x16>, !hopper.staging<1, <8x64xbf16>>, !hopper.places<16>
  return
}
