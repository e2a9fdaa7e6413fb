// RUN: moe-opt %s --moe-expand-copies --verify-diagnostics

func.func @unranked(%a: memref<*xf32>, %b: memref<*xf32>) {
  // expected-error @+1 {{'memref.copy' op moves a buffer without a rank, but ranked ones are expected}}
  memref.copy %a, %b : memref<*xf32> to memref<*xf32>
  return
}
