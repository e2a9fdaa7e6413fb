// RUN: moe-opt %s --convert-copy-to-moert --split-input-file --verify-diagnostics

func.func @no_rank(%x: memref<*xf32>, %y: memref<*xf32>) {
  // expected-error @+1 {{moves a buffer without a rank, but ranked ones are expected}}
  memref.copy %x, %y : memref<*xf32> to memref<*xf32>
  return
}

// -----

func.func @rows_apart(%x: memref<4x64xf32, strided<[128, 1]>>, %y: memref<4x64xf32>) {
  // expected-error @+1 {{'moert.copy' op `send` is 'memref<4x64xf32, strided<[128, 1]>>', but dense row-major memory is expected}}
  memref.copy %x, %y : memref<4x64xf32, strided<[128, 1]>> to memref<4x64xf32>
  return
}
