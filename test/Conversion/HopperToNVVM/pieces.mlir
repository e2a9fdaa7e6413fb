// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize --cse --split-input-file | FileCheck %s

// Eight columns are four registers.
// CHECK-LABEL: func.func @columns_are_registers
func.func @columns_are_registers(%x: !hopper.fragment<64x16>) -> !hopper.fragment<64x16> {
  %second = hopper.take_columns %x from 8 : !hopper.fragment<64x16> -> !hopper.fragment<64x8>
  %first = hopper.take_columns %x from 0 : !hopper.fragment<64x16> -> !hopper.fragment<64x8>
  %y = hopper.join_columns %second, %first : !hopper.fragment<64x8>, !hopper.fragment<64x8> -> !hopper.fragment<64x16>
  // CHECK: return %arg4, %arg5, %arg6, %arg7, %arg0, %arg1, %arg2, %arg3
  return %y : !hopper.fragment<64x16>
}

// -----

// Four values of eight registers, where one stmatrix finds them; the other registers hold what they held.
// CHECK-LABEL: func.func @packed_in_place
func.func @packed_in_place(%x: !hopper.fragment<64x16>, %out: !hopper.staging<2, <192x64xbf16>>) -> !hopper.fragment<64x16> {
  // CHECK-DAG: %[[A:.*]] = nvvm.convert.f32x2.to.bf16x2 %arg1, %arg0
  // CHECK-DAG: %[[B:.*]] = nvvm.convert.f32x2.to.bf16x2 %arg7, %arg6
  // CHECK-DAG: %[[FIRST:.*]] = llvm.bitcast %[[A]]
  // CHECK-DAG: %[[LAST:.*]] = llvm.bitcast %[[B]]
  %packed = hopper.pack_over %x, %x : !hopper.fragment<64x16> over !hopper.fragment<64x16>
  // The second buffer begins at 192 * 128 bytes, row 32 at 32 * 128 of it.
  // CHECK: llvm.getelementptr %arg8[28672]
  // CHECK: nvvm.stmatrix %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {{.*}}layout = #nvvm.mma_layout<col>
  // CHECK-NOT: nvvm.stmatrix
  hopper.write_staging %packed, %out[1] from 32 : !hopper.fragment<64x16>, !hopper.staging<2, <192x64xbf16>>
  // CHECK: return %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %arg4, %arg5, %arg6, %arg7
  return %packed : !hopper.fragment<64x16>
}

// -----

// Paired rows: two values of eight registers.
// CHECK-LABEL: func.func @half_as_many
func.func @half_as_many(%x: !hopper.fragment<32x16>, %part: !hopper.fragment<64x16>, %out: !hopper.staging<1, <192x32xbf16>>) -> !hopper.fragment<64x16> {
  %packed = hopper.pack_over %x, %part : !hopper.fragment<32x16> over !hopper.fragment<64x16>
  // CHECK: nvvm.stmatrix %{{.*}}, %{{.*}}, %{{[^,]*}} {{.*}}layout = #nvvm.mma_layout<col>
  hopper.write_staging %packed, %out[0] from 0 : !hopper.fragment<64x16>, !hopper.staging<1, <192x32xbf16>>
  // CHECK: return %{{[0-9]+}}, %{{[0-9]+}}, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11
  return %packed : !hopper.fragment<64x16>
}

// -----

// CHECK-LABEL: func.func @staging_comes_and_goes
func.func @staging_comes_and_goes(%out: !hopper.staging<2, <192x64xbf16>>, %map: !llvm.ptr, %column: i32, %row: i32, %count: i32) {
  // CHECK: nvvm.cp.async.bulk.wait_group 0 {read}
  // CHECK: nvvm.barrier id = %{{.*}} number_of_threads
  hopper.acquire_staging %out : !hopper.staging<2, <192x64xbf16>>
  // CHECK: nvvm.fence.proxy
  // CHECK: nvvm.barrier id = %{{.*}} number_of_threads
  // CHECK: nvvm.cp.async.bulk.tensor.global.shared.cta %arg1, %arg0, box[%arg2,
  // CHECK: nvvm.cp.async.bulk.commit.group
  // CHECK: %[[BESIDE:.*]] = arith.addi %arg2, %c64
  // CHECK: nvvm.cp.async.bulk.tensor.global.shared.cta %arg1, %{{.*}}, box[%[[BESIDE]],
  // CHECK: nvvm.cp.async.bulk.commit.group
  hopper.send_staging %out boxes 2, %map[%column, %row] rows %count : !hopper.staging<2, <192x64xbf16>>
  return
}

// -----

// Who may not arrive is told by a predicate, without a branch.
// CHECK-LABEL: func.func @release_without_a_branch
func.func @release_without_a_branch(%ring: !hopper.ring<3, <128x64xbf16>>, %position: i32, %when: i1) {
  // CHECK: nvvm.bar.warp.sync
  // CHECK: %[[ARRIVES:.*]] = arith.andi %{{.*}}, %arg2 : i1
  // CHECK-NOT: scf.if
  // CHECK: %[[WORD:.*]] = arith.extui %[[ARRIVES]]
  // CHECK: llvm.inline_asm has_side_effects "{{.*}}@arrives mbarrier.arrive.shared.b64 _, [$0];{{.*}}", "l,r,~{memory}" %{{.*}}, %[[WORD]]
  hopper.release %ring[%position] when %when : !hopper.ring<3, <128x64xbf16>>
  return
}
