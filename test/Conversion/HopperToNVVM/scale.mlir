// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize --cse --split-input-file | FileCheck %s

!ring = !hopper.ring<4, <128x128xf8E4M3FN>, <128x128xf8E4M3FN>>

// The first product decides at run time whether the accumulators count, so that they stay in their registers.
// CHECK-LABEL: func.func @partial_sums
func.func @partial_sums(%ring: !ring, %acc: !hopper.acc<64x8>, %position: i32, %row: i32, %keep: i1) {
  // CHECK: llvm.inline_asm has_side_effects "{\0A.reg .pred first, more;\0Asetp.ne.b32 more, 1, 0;\0Asetp.ne.b32 first, $16, 0;\0A
  // CHECK-SAME: wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {$0, $1, $2, $3}, $8, $9, first, 1, 1;\0A
  // CHECK-SAME-COUNT-3: wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {{[^;]*}} more, 1, 1;\0A
  // CHECK-SAME: }", "=f,=f,=f,=f,0,1,2,3,l,l,l,l,l,l,l,l,r"
  %next = hopper.mma %ring[%position] lhs 0 from %row rhs 1 first 64 into %acc zero unless %keep : !ring -> !hopper.acc<64x8>
  // CHECK: llvm.inline_asm has_side_effects "wgmma.wait_group.sync.aligned 0;"
  %values = hopper.mma_wait %next : !hopper.acc<64x8> -> !hopper.fragment<64x8>
  return
}

// -----

// Registers 0 and 1 are of the first row of a thread, 2 and 3 of the second; columns from 16 on are registers 8 to 15 of the sum. Arguments are 8 registers,
// 2 values of gate, 2 of up, and the sum's.
// CHECK-LABEL: func.func @promoted
func.func @promoted(%x: !hopper.fragment<64x16>, %gate: !hopper.slice<rows, 64x16>, %up: !hopper.slice<rows, 64x16>,
                    %sum: !hopper.fragment<64x32>) -> !hopper.fragment<64x32> {
  // CHECK: %[[S11:.*]] = llvm.intr.fma(%arg3, %arg9, %arg23)
  // CHECK: %[[S12:.*]] = llvm.intr.fma(%arg4, %arg10, %arg24)
  // CHECK: return %arg12, {{.*}}, %[[S11]], %[[S12]],
  %y = hopper.promote %x by %gate, %up alternate columns into %sum first 16
      : !hopper.fragment<64x16>, !hopper.slice<rows, 64x16>, !hopper.slice<rows, 64x16> into !hopper.fragment<64x32>
  return %y : !hopper.fragment<64x32>
}

// -----

// One ratio for each row of a thread.
// CHECK-LABEL: func.func @rescaled
func.func @rescaled(%x: !hopper.fragment<64x8>, %from: !hopper.slice<rows, 64x8>, %to: !hopper.slice<rows, 64x8>)
    -> !hopper.fragment<64x8> {
  // CHECK-COUNT-2: nvvm.rcp.approx.ftz.f
  // CHECK-NOT: nvvm.rcp.approx.ftz.f
  %y = hopper.rescale %x from %from to %to : !hopper.fragment<64x8>, !hopper.slice<rows, 64x8> to !hopper.slice<rows, 64x8>
  return %y : !hopper.fragment<64x8>
}

// -----

// Two scales for a thread, 16 matrices of two-byte elements, one box.
// CHECK-LABEL: func.func @quantized
func.func @quantized(%x: !hopper.fragment<64x128>, %out: !hopper.staging<1, <64x64xbf16>>, %map: !llvm.ptr, %column: i32,
                     %row: i32, %count: i32, %scales: !llvm.ptr, %pitch: i32) {
  // CHECK-COUNT-64: arith.maxsi
  // CHECK-COUNT-2: nvvm.shfl.sync bfly
  // CHECK: scf.if
  // CHECK-NEXT: arith.addi
  // CHECK: llvm.store %{{.*}} : f32, !llvm.ptr<1>
  // CHECK-COUNT-2: nvvm.shfl.sync bfly
  // CHECK: llvm.store %{{.*}} : f32, !llvm.ptr<1>
  // CHECK-COUNT-32: nvvm.convert.f32x2.to.f8x2
  // CHECK: nvvm.cp.async.bulk.wait_group 0 {read}
  // CHECK-COUNT-4: nvvm.stmatrix
  // CHECK: nvvm.fence.proxy
  // CHECK: nvvm.cp.async.bulk.tensor.global.shared.cta
  hopper.store_quantized %x, %out, %map[%column, %row] rows %count of 2048 scales %scales pitch %pitch
      : !hopper.fragment<64x128>, !hopper.staging<1, <64x64xbf16>>
  return
}
