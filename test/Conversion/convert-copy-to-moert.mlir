// RUN: moe-opt %s --convert-copy-to-moert | FileCheck %s

// CHECK-LABEL: func @rows_of_a_share
func.func @rows_of_a_share(%x: memref<?x64xbf16>, %y: memref<?x64xbf16>, %start: index, %n: index) {
  %s = memref.subview %x[%start, 0] [%n, 64] [1, 1] : memref<?x64xbf16> to memref<?x64xbf16, strided<[64, 1], offset: ?>>
  // CHECK: moert.copy %{{.*}}, %{{.*}} : memref<?x64xbf16, strided<[64, 1], offset: ?>>, memref<?x64xbf16>
  memref.copy %s, %y : memref<?x64xbf16, strided<[64, 1], offset: ?>> to memref<?x64xbf16>
  return
}
