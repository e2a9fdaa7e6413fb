// RUN: moe-opt %s --canonicalize | FileCheck %s

// A group of one member moves nothing: its collectives fold into reshapes of what
// it has.

shard.grid @ranks(shape = 1x4) {coll.axes = ["ep", "etp"]}

// CHECK-LABEL: func @same_shape
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>, %[[C:.*]]: tensor<1x2xi32>)
func.func @same_shape(%x: tensor<4xf32>, %c: tensor<1x2xi32>) -> (tensor<4xf32>, tensor<1x2xi32>) {
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  %r = coll.all_to_all %c on @ranks axes [0] : (tensor<1x2xi32>) -> tensor<1x2xi32>
  // CHECK-NEXT: return %[[X]], %[[C]]
  return %s, %r : tensor<4xf32>, tensor<1x2xi32>
}

// CHECK-LABEL: func @leading_dimension
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>, %[[M:.*]]: tensor<1x8xf32>)
func.func @leading_dimension(%x: tensor<4xf32>, %m: tensor<1x8xf32>) -> (tensor<1x4xf32>, tensor<8xf32>) {
  // CHECK-DAG: %[[A:.*]] = tensor.expand_shape %[[X]] {{\[\[}}0, 1]] output_shape [1, 4]
  %a = coll.all_gather %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<1x4xf32>
  // CHECK-DAG: %[[R:.*]] = tensor.collapse_shape %[[M]] {{\[\[}}0, 1]]
  %r = coll.reduce_scatter %m on @ranks axes [0] : (tensor<1x8xf32>) -> tensor<8xf32>
  // CHECK: return %[[A]], %[[R]]
  return %a, %r : tensor<1x4xf32>, tensor<8xf32>
}

// CHECK-LABEL: func @ragged
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>,
func.func @ragged(%x: tensor<?x8xf32>, %c: tensor<1x2xi32>, %n: index) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %a = coll.all_gather_v %x counts(%c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<1x2xi32>, index) -> tensor<?x8xf32>
  %b = coll.reduce_scatter_v %x counts(%c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<1x2xi32>, index) -> tensor<?x8xf32>
  %d = coll.all_to_all_v %x counts(%c, %c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<1x2xi32>, tensor<1x2xi32>, index) -> tensor<?x8xf32>
  // CHECK-NEXT: return %[[X]], %[[X]], %[[X]]
  return %a, %b, %d : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// Where only static knowledge differs, a cast keeps the types.
// CHECK-LABEL: func @static_knowledge
// CHECK-SAME: (%[[X:.*]]: tensor<3x8xf32>,
func.func @static_knowledge(%x: tensor<3x8xf32>, %c: tensor<1xi32>, %n: index) -> tensor<?x8xf32> {
  // CHECK: %[[CAST:.*]] = tensor.cast %[[X]] : tensor<3x8xf32> to tensor<?x8xf32>
  %a = coll.all_gather_v %x counts(%c) rows(%n) on @ranks axes [0] : (tensor<3x8xf32>, tensor<1xi32>, index) -> tensor<?x8xf32>
  // CHECK-NEXT: return %[[CAST]]
  return %a : tensor<?x8xf32>
}

// CHECK-LABEL: func @no_axes
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>)
func.func @no_axes(%x: tensor<4xf32>) -> tensor<4xf32> {
  %s = coll.all_reduce %x on @ranks axes [] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: return %[[X]]
  return %s : tensor<4xf32>
}

// Other groups stay, also where nobody uses the result: the others would wait.
// CHECK-LABEL: func @larger_groups
func.func @larger_groups(%x: tensor<4xf32>, %c: tensor<4x2xi32>) {
  // CHECK-NEXT: coll.all_reduce %{{.*}} axes [1]
  %s = coll.all_reduce %x on @ranks axes [1] : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: coll.all_gather %{{.*}} axes [0, 1]
  %a = coll.all_gather %x on @ranks axes [0, 1] : (tensor<4xf32>) -> tensor<4x4xf32>
  // CHECK-NEXT: coll.reduce_scatter %{{.*}} axes [1]
  %r = coll.reduce_scatter %a on @ranks axes [1] : (tensor<4x4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: coll.all_to_all %{{.*}} axes [1]
  %t = coll.all_to_all %c on @ranks axes [1] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  // CHECK-NEXT: return
  return
}

// What only looks at its own rank goes when nobody uses it.
// CHECK-LABEL: func @local_work
func.func @local_work(%x: tensor<?x8xf32>, %c: tensor<4xi32>) {
  %i = coll.index on @ranks axes [1] : index
  %s = coll.share %x on @ranks axes [1] : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK-NEXT: return
  return
}
