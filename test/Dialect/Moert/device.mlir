// RUN: moe-opt %s --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK: moert.kernels = [#moert.kernel<name = "up", threads = 384, shared_bytes = 213088, params = ["ptr", "map", "i32"]>
// CHECK-SAME: early = false
module attributes {moert.kernels = [#moert.kernel<name = "up", threads = 384, shared_bytes = 213088, params = ["ptr", "map", "i32"]>,
    #moert.kernel<name = "up", threads = 384, shared_bytes = 213088, early = false, params = ["ptr", "map", "i32"]>,
    #moert.kernel<name = "sum", threads = 256, ctas_per_sm = 8, params = ["ptr", "ptr", "i64", "i64", "i32"]>], moert.sums = {bf16 = 2 : i32}} {
  // CHECK-LABEL: func @calls
  func.func @calls(%x: memref<?x64xbf16>, %y: memref<?x64xbf16>, %n: index, %i: i32, %c: memref<4x2xi32>, %d: memref<4x2xi32>) {
    // CHECK: moert.launch 0 grid(%{{.*}}) (%{{.*}}, %{{.*}}, %{{.*}} : memref<?x64xbf16>, i32, i32)
    moert.launch 0 grid(%n) (%x, %i, %i : memref<?x64xbf16>, i32, i32)
    // CHECK: moert.tensor_map 0 %{{.*}} rows(%{{.*}}) columns 64 pitch 64 box[128, 64] ragged : memref<?x64xbf16>
    moert.tensor_map 0 %x rows(%n) columns 64 pitch 64 box [128, 64] ragged : memref<?x64xbf16>
    // CHECK: moert.tensor_map 1 %{{.*}} rows(%{{.*}}) columns 64 pitch 64 box[128, 64] blocked : memref<?x64xbf16>
    moert.tensor_map 1 %x rows(%n) columns 64 pitch 64 box [128, 64] blocked : memref<?x64xbf16>
    // CHECK: moert.copy
    moert.copy %x, %y : memref<?x64xbf16>, memref<?x64xbf16>
    // CHECK: moert.read
    moert.read %c, %d : memref<4x2xi32>, memref<4x2xi32>
    // CHECK: moert.status : memref<1xi32>
    %s = moert.status : memref<1xi32>
    return
  }
}
