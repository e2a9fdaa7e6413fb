// RUN: moe-opt %s --moe-pack-weights=cpu=x86-64-v3 | FileCheck %s

#w = #moe.checkpoint<names = ["w.{e}"], file_shape = [48, 64], map = affine_map<(e, n, k) -> (n, k)>, expert_dim = 0>

// CHECK-LABEL: func @f(
// CHECK-SAME: %[[X:.*]]: memref<?x64xf32>, %[[W:.*]]: memref<6144xf32>,
func.func @f(%x: memref<?x64xf32>, %w: memref<2x48x64xf32> {moe.weight = #w}, %n: index, %o: memref<3xi32>, %y: memref<?x48xf32>) {
  // CHECK: moe.grouped_matmul %[[X]], %[[W]] {{.*}} packed(<groups = 2, parts = 1, columns = 48, depth = 64, width = 16, streams = 2>)
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) outs(%y) : (memref<?x64xf32>, memref<2x48x64xf32>, index, memref<3xi32>, memref<?x48xf32>) -> ()
  return
}
// CHECK-LABEL: func @f_prepare(
// CHECK-SAME: %[[RAW:.*]]: memref<2x48x64xf32> {moe.weight = #{{.*}}}, %[[PACKED:.*]]: memref<6144xf32>)
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[RAW]]
// CHECK: moert.thread
// CHECK: scf.for
// CHECK: memref.load %[[FLAT]]
// Even values of K, then odd ones.
// CHECK: %[[TWO:.*]] = arith.constant 2 : index
// CHECK: %[[WITHIN:.*]] = arith.divui %{{.*}}, %[[TWO]] : index
// CHECK: %[[STREAM:.*]] = arith.remui %{{.*}}, %[[TWO]] : index
// CHECK: %[[LENGTH:.*]] = arith.constant 32 : index
// CHECK: %[[FIRST:.*]] = arith.muli %[[STREAM]], %[[LENGTH]] : index
// CHECK: arith.addi %[[FIRST]], %[[WITHIN]] : index
// CHECK: memref.store %{{.*}}, %[[PACKED]]
// CHECK: moert.team_barrier
// CHECK-NEXT: return

// A shared expert's weights get a group by a reshape, which disappears; its gate stays as it is.
// CHECK-LABEL: func @shared(
// CHECK-SAME: %{{.*}}: memref<?x63xbf16>, %[[UP:.*]]: memref<3072xbf16>, %[[GATE:.*]]: memref<63xbf16>
func.func @shared(%x: memref<?x63xbf16>, %up: memref<2x17x63xbf16>, %gate: memref<1x63xbf16>, %n: index, %h: memref<?x17xbf16>, %g: memref<?x1xf32>) {
  // CHECK: %[[SHAPED:.*]] = memref.expand_shape %[[GATE]] {{.*}} into memref<1x63xbf16>
  // CHECK-NOT: memref.expand_shape
  %w = memref.expand_shape %up [[0, 1], [2], [3]] output_shape [1, 2, 17, 63] : memref<2x17x63xbf16> into memref<1x2x17x63xbf16>
  // CHECK: moe.grouped_matmul %{{.*}}, %[[UP]] {{.*}} packed(<groups = 1, parts = 2, columns = 17, depth = 63, width = 16, interleave = 2>)
  moe.grouped_matmul %x, %w rows(%n) activation(<kind = silu>) outs(%h)
      : (memref<?x63xbf16>, memref<1x2x17x63xbf16>, index, memref<?x17xbf16>) -> ()
  // CHECK: moe.token_gate %{{.*}}, %[[SHAPED]]
  moe.token_gate %x, %gate outs(%g) : (memref<?x63xbf16>, memref<1x63xbf16>, memref<?x1xf32>) -> ()
  return
}
// CHECK-LABEL: func @shared_prepare(
// CHECK-SAME: memref<2x17x63xbf16>, %{{.*}}: memref<1x63xbf16>, %{{.*}}: memref<3072xbf16>, %{{.*}}: memref<63xbf16>)

// A router in f32 on bf16 rows: the weight keeps its type. On f32 rows a bf16 weight is widened once.
// CHECK-LABEL: func @router_types(
// CHECK-SAME: %{{.*}}: memref<?x8xbf16>, %{{.*}}: memref<128xf32>, %{{.*}}: memref<?x8xf32>, %{{.*}}: memref<128xf32>
func.func @router_types(%x: memref<?x8xbf16>, %w: memref<4x8xf32>, %x32: memref<?x8xf32>, %w16: memref<4x8xbf16>, %y: memref<?x4xf32>) {
  moe.router_logits %x, %w f32 outs(%y) : (memref<?x8xbf16>, memref<4x8xf32>, memref<?x4xf32>) -> ()
  moe.router_logits %x32, %w16 outs(%y) : (memref<?x8xf32>, memref<4x8xbf16>, memref<?x4xf32>) -> ()
  return
}

// A quantised weight becomes numbers of the rows' type; its scales are of use to `prepare` alone.
// CHECK-LABEL: func @quantized(
// CHECK-SAME: %{{[^:]*}}: memref<?x256xbf16>, %[[W:[^:]*]]: memref<73728xbf16>, %{{[^:]*}}: index
func.func @quantized(%x: memref<?x256xbf16>, %w: memref<2x130x256xf8E4M3FN> {moe.weight = #w}, %s: memref<2x2x2xf32> {moe.weight = #w}, %n: index,
    %o: memref<3xi32>, %y: memref<?x130xbf16>) {
  // CHECK: moe.grouped_matmul %{{.*}}, %[[W]] rows(%{{.*}}) offsets(%{{.*}}) packed(
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) scales(%s) outs(%y)
      : (memref<?x256xbf16>, memref<2x130x256xf8E4M3FN>, index, memref<3xi32>, memref<2x2x2xf32>, memref<?x130xbf16>) -> ()
  return
}
// CHECK-LABEL: func @quantized_prepare(
// CHECK-SAME: %{{[^:]*}}: memref<66560xi8>, %[[S:[^:]*]]: memref<2x2x2xf32> {{.*}}, %[[P:[^:]*]]: memref<73728xbf16>)
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[S]]
// CHECK: memref.load %[[FLAT]]
// CHECK: memref.load %{{.*}} : memref<66560xi8>
// CHECK: arith.mulf
// CHECK: memref.store %{{.*}}, %[[P]]

// CHECK-LABEL: func @four_bits(
// CHECK-LABEL: func @four_bits_prepare(
// CHECK-SAME: memref<1024xi8>, %{{.*}}: memref<2x16x2xi8>, %{{.*}}: memref<2048xf32>)
// Two elements to a byte.
// CHECK: memref.load %{{.*}} : memref<1024xi8>
// CHECK: arith.extui
// CHECK: arith.shrui
func.func @four_bits(%x: memref<?x64xf32>, %w: memref<2x16x64xf4E2M1FN>, %s: memref<2x16x2xi8>, %n: index, %o: memref<3xi32>, %y: memref<?x16xf32>) {
  moe.grouped_matmul %x, %w rows(%n) offsets(%o) scales(%s) outs(%y)
      : (memref<?x64xf32>, memref<2x16x64xf4E2M1FN>, index, memref<3xi32>, memref<2x16x2xi8>, memref<?x16xf32>) -> ()
  return
}

// No weights, no prepare function.
// CHECK-LABEL: func @nothing
// CHECK-NOT: nothing_prepare
func.func @nothing(%x: memref<?x8xf32>) {
  return
}
