// RUN: moe-opt %s --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}

// The examples of the operations' documentation.
// CHECK-LABEL: func @local
func.func @local(%recv: tensor<4x2xi32>, %x: tensor<?x64xf32>) {
  // CHECK: coll.index on @ranks axes [0] : index
  %me = coll.index on @ranks axes [0] : index
  // CHECK: coll.rows %{{.*}} bound(#{{.*}}) on @ranks : tensor<4x2xi32>
  %n = coll.rows %recv bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : tensor<4x2xi32>
  // CHECK: coll.share %{{.*}} on @ranks axes [0, 1] : (tensor<?x64xf32>) -> tensor<?x64xf32>
  %mine = coll.share %x on @ranks axes [0, 1] : (tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}

// CHECK-LABEL: func @fixed_size
func.func @fixed_size(%x: tensor<4xf32>, %c: tensor<4x2xi32>, %m: tensor<4x8xf32>) {
  // CHECK: coll.all_reduce %{{.*}} on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: coll.all_gather %{{.*}} on @ranks axes [1] : (tensor<4x2xi32>) -> tensor<2x4x2xi32>
  %all = coll.all_gather %c on @ranks axes [1] : (tensor<4x2xi32>) -> tensor<2x4x2xi32>
  // CHECK: coll.reduce_scatter %{{.*}} on @ranks axes [0] : (tensor<4x8xf32>) -> tensor<8xf32>
  %r = coll.reduce_scatter %m on @ranks axes [0] : (tensor<4x8xf32>) -> tensor<8xf32>
  // CHECK: coll.all_to_all %{{.*}} on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  %recv = coll.all_to_all %c on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  return
}

// CHECK-LABEL: func @ragged
func.func @ragged(%x: tensor<?x64xf32>, %all: tensor<2x4x2xi32>, %send: tensor<4x2xi32>, %recv: tensor<4x2xi32>, %n: index, %m: index) {
  // CHECK: coll.all_gather_v %{{.*}} counts(%{{.*}}) rows(%{{.*}}) on @ranks axes [1] : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
  %a = coll.all_gather_v %x counts(%all) rows(%n) on @ranks axes [1]
      : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
  // CHECK: coll.reduce_scatter_v %{{.*}} counts(%{{.*}}) rows(%{{.*}}) on @ranks axes [1]
  %q = coll.reduce_scatter_v %a counts(%all) rows(%m) on @ranks axes [1]
      : (tensor<?x64xf32>, tensor<2x4x2xi32>, index) -> tensor<?x64xf32>
  // CHECK: coll.all_to_all_v %{{.*}} counts(%{{.*}}, %{{.*}}) rows(%{{.*}}) on @ranks axes [0]
  %in = coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0]
      : (tensor<?x64xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x64xf32>
  return
}

// CHECK-LABEL: func @point_to_point
func.func @point_to_point(%x: tensor<4xf32>, %peer: index, %rows: index) {
  // CHECK: coll.send %{{.*}} to %{{.*}} on @ranks axes [0] : tensor<4xf32>
  coll.send %x to %peer on @ranks axes [0] : tensor<4xf32>
  // CHECK: coll.recv from %{{.*}} on @ranks axes [0] : (index) -> tensor<4xf32>
  %y = coll.recv from %peer on @ranks axes [0] : (index) -> tensor<4xf32>
  // CHECK: coll.recv from %{{.*}} rows(%{{.*}}) on @ranks axes [0] : (index, index) -> tensor<?x4xf32>
  %z = coll.recv from %peer rows(%rows) on @ranks axes [0] : (index, index) -> tensor<?x4xf32>
  return
}

// CHECK-LABEL: func @buffers
func.func @buffers(%x: memref<4xf32>, %s: memref<4xf32>, %m: memref<4x8xf32>, %b: memref<8xf32>, %c: memref<4x2xi32>, %d: memref<4x2xi32>,
    %all: memref<2x4x2xi32>, %rows: memref<?x64xf32>, %out: memref<?x64xf32>, %n: index) {
  // CHECK: coll.all_reduce %{{.*}} on @ranks axes [0] outs(%{{.*}}) : (memref<4xf32>, memref<4xf32>) -> ()
  coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<4xf32>, memref<4xf32>) -> ()
  // CHECK: coll.all_gather %{{.*}} outs(
  coll.all_gather %c on @ranks axes [1] outs(%all) : (memref<4x2xi32>, memref<2x4x2xi32>) -> ()
  // CHECK: coll.reduce_scatter %{{.*}} outs(
  coll.reduce_scatter %m on @ranks axes [0] outs(%b) : (memref<4x8xf32>, memref<8xf32>) -> ()
  // CHECK: coll.all_to_all %{{.*}} outs(
  coll.all_to_all %c on @ranks axes [0] outs(%d) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
  // CHECK: coll.all_gather_v %{{.*}} outs(
  coll.all_gather_v %rows counts(%all) rows(%n) on @ranks axes [1] outs(%out)
      : (memref<?x64xf32>, memref<2x4x2xi32>, index, memref<?x64xf32>) -> ()
  // CHECK: coll.reduce_scatter_v %{{.*}} outs(
  coll.reduce_scatter_v %rows counts(%all) rows(%n) on @ranks axes [1] outs(%out)
      : (memref<?x64xf32>, memref<2x4x2xi32>, index, memref<?x64xf32>) -> ()
  // CHECK: coll.all_to_all_v %{{.*}} outs(
  coll.all_to_all_v %rows counts(%c, %d) rows(%n) on @ranks axes [0] outs(%out)
      : (memref<?x64xf32>, memref<4x2xi32>, memref<4x2xi32>, index, memref<?x64xf32>) -> ()
  // CHECK: coll.share %{{.*}} outs(
  coll.share %rows on @ranks axes [0, 1] outs(%out) : (memref<?x64xf32>, memref<?x64xf32>) -> ()
  // CHECK: coll.rows %{{.*}} : memref<4x2xi32>
  %m2 = coll.rows %c bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : memref<4x2xi32>
  // CHECK: coll.send %{{.*}} : memref<4xf32>
  coll.send %x to %n on @ranks axes [0] : memref<4xf32>
  // CHECK: coll.recv from %{{.*}} outs(
  coll.recv from %n on @ranks axes [0] outs(%s) : (index, memref<4xf32>) -> ()
  return
}

// CHECK-LABEL: func @started
func.func @started(%x: memref<4xf32>, %s: memref<4xf32>) {
  // CHECK: %[[T:.*]] = coll.start {
  // CHECK-NEXT: coll.all_reduce
  // CHECK-NEXT: }
  %t = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<4xf32>, memref<4xf32>) -> ()
  }
  // CHECK: coll.wait %[[T]]
  coll.wait %t
  return
}

// Dynamic sizes agree with everything; no axes at all make a group of one.
// CHECK-LABEL: func @corners
func.func @corners(%x: tensor<?x?xf32>, %y: tensor<f32>, %c: tensor<?x2xi32>) {
  // CHECK: coll.all_to_all
  %a = coll.all_to_all %x on @ranks axes [0] : (tensor<?x?xf32>) -> tensor<?x?xf32>
  // CHECK: coll.all_gather %{{.*}} : (tensor<f32>) -> tensor<8xf32>
  %b = coll.all_gather %y on @ranks axes [1, 0] : (tensor<f32>) -> tensor<8xf32>
  // CHECK: coll.all_gather %{{.*}} axes [] : (tensor<f32>) -> tensor<1xf32>
  %one = coll.all_gather %y on @ranks axes [] : (tensor<f32>) -> tensor<1xf32>
  return
}
