// RUN: moe-opt %s --split-input-file --convert-shard-to-coll | FileCheck %s

// A dimension of the tensor is joined or cut; the members' blocks stack in front.
// CHECK-LABEL: func @first_dimension
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>)
shard.grid @grid(shape = 2x4)
func.func @first_dimension(%0: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK-NEXT: %[[A:.*]] = coll.all_gather %[[X]] on @grid axes [1] : (tensor<2x3xf32>) -> tensor<4x2x3xf32>
  // CHECK-NEXT: %[[ALL:.*]] = tensor.collapse_shape %[[A]] {{\[\[}}0, 1], [2]] : tensor<4x2x3xf32> into tensor<8x3xf32>
  %1 = shard.all_gather %0 on @grid grid_axes = [1] gather_axis = 0 : tensor<2x3xf32> -> tensor<8x3xf32>
  // CHECK-NEXT: %[[S:.*]] = tensor.expand_shape %[[ALL]] {{\[\[}}0, 1], [2]] output_shape [4, 2, 3] : tensor<8x3xf32> into tensor<4x2x3xf32>
  // CHECK-NEXT: %[[E:.*]] = coll.all_to_all %[[S]] on @grid axes [1] : (tensor<4x2x3xf32>) -> tensor<4x2x3xf32>
  // CHECK-NEXT: %[[J:.*]] = tensor.collapse_shape %[[E]] {{\[\[}}0, 1], [2]]
  %2 = shard.all_to_all %1 on @grid grid_axes = [1] split_axis = 0 concat_axis = 0 : tensor<8x3xf32> -> tensor<8x3xf32>
  // CHECK-NEXT: %[[T:.*]] = tensor.expand_shape %[[J]] {{\[\[}}0, 1], [2]] output_shape [4, 2, 3]
  // CHECK-NEXT: %[[R:.*]] = coll.reduce_scatter %[[T]] on @grid axes [1] : (tensor<4x2x3xf32>) -> tensor<2x3xf32>
  %3 = shard.reduce_scatter %2 on @grid grid_axes = [1] scatter_axis = 0 : tensor<8x3xf32> -> tensor<2x3xf32>
  // CHECK-NEXT: coll.all_reduce %[[R]] on @grid axes [0, 1] : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %4 = shard.all_reduce %3 on @grid grid_axes = [0, 1] : tensor<2x3xf32> -> tensor<2x3xf32>
  return %4 : tensor<2x3xf32>
}

// -----

// Other dimensions are brought to the front and back.
// CHECK-LABEL: func @other_dimensions
// CHECK-SAME: (%[[X:.*]]: tensor<2x8xf32>)
shard.grid @grid(shape = 4)
func.func @other_dimensions(%0: tensor<2x8xf32>) -> (tensor<2x32xf32>, tensor<8x2xf32>, tensor<2x2xf32>) {
  // CHECK: %[[A:.*]] = coll.all_gather %[[X]] on @grid axes [0] : (tensor<2x8xf32>) -> tensor<4x2x8xf32>
  // CHECK: %[[M:.*]] = linalg.transpose ins(%[[A]] : tensor<4x2x8xf32>) outs(%{{.*}} : tensor<2x4x8xf32>) permutation = [1, 0, 2]
  // CHECK: %[[G:.*]] = tensor.collapse_shape %[[M]] {{\[\[}}0], [1, 2]] : tensor<2x4x8xf32> into tensor<2x32xf32>
  %1 = shard.all_gather %0 on @grid grid_axes = [0] gather_axis = 1 : tensor<2x8xf32> -> tensor<2x32xf32>
  // CHECK: %[[S:.*]] = tensor.expand_shape %[[X]] {{\[\[}}0], [1, 2]] output_shape [2, 4, 2] : tensor<2x8xf32> into tensor<2x4x2xf32>
  // CHECK: %[[F:.*]] = linalg.transpose ins(%[[S]] : tensor<2x4x2xf32>) outs(%{{.*}} : tensor<4x2x2xf32>) permutation = [1, 0, 2]
  // CHECK: %[[E:.*]] = coll.all_to_all %[[F]] on @grid axes [0]
  // CHECK: %[[C:.*]] = tensor.collapse_shape %[[E]] {{\[\[}}0, 1], [2]] : tensor<4x2x2xf32> into tensor<8x2xf32>
  %2 = shard.all_to_all %0 on @grid grid_axes = [0] split_axis = 1 concat_axis = 0 : tensor<2x8xf32> -> tensor<8x2xf32>
  // CHECK: %[[R:.*]] = coll.reduce_scatter %{{.*}} on @grid axes [0] : (tensor<4x2x2xf32>) -> tensor<2x2xf32>
  %3 = shard.reduce_scatter %0 on @grid grid_axes = [0] scatter_axis = 1 : tensor<2x8xf32> -> tensor<2x2xf32>
  // CHECK: return %[[G]], %[[C]], %[[R]]
  return %1, %2, %3 : tensor<2x32xf32>, tensor<8x2xf32>, tensor<2x2xf32>
}

// -----

// Unknown sizes are divided where the program runs.
// CHECK-LABEL: func @unknown_sizes
// CHECK-SAME: (%[[X:.*]]: tensor<?x3xf32>)
shard.grid @grid(shape = 4)
func.func @unknown_sizes(%0: tensor<?x3xf32>) -> tensor<?x3xf32> {
  // CHECK: %[[D:.*]] = tensor.dim %[[X]]
  // CHECK: %[[Q:.*]] = arith.divui %[[D]], %{{.*}}
  // CHECK: tensor.expand_shape %[[X]] {{\[\[}}0, 1], [2]] output_shape [4, %[[Q]], 3] : tensor<?x3xf32> into tensor<4x?x3xf32>
  // CHECK: coll.reduce_scatter %{{.*}} : (tensor<4x?x3xf32>) -> tensor<?x3xf32>
  %1 = shard.reduce_scatter %0 on @grid grid_axes = [0] scatter_axis = 0 : tensor<?x3xf32> -> tensor<?x3xf32>
  return %1 : tensor<?x3xf32>
}

// -----

// Sums are made in the type of the result.
// CHECK-LABEL: func @wider_sum
shard.grid @grid(shape = 4)
func.func @wider_sum(%0: tensor<8xbf16>) -> tensor<8xf32> {
  // CHECK: %[[W:.*]] = arith.extf %{{.*}} : tensor<8xbf16> to tensor<8xf32>
  // CHECK: coll.all_reduce %[[W]]
  %1 = shard.all_reduce %0 on @grid grid_axes = [0] : tensor<8xbf16> -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

// A slice needs nobody else.
// CHECK-LABEL: func @slice
// CHECK-SAME: (%[[X:.*]]: tensor<8x3xf32>)
shard.grid @grid(shape = 4)
func.func @slice(%0: tensor<8x3xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[ME:.*]] = coll.index on @grid axes [0] : index
  // CHECK: %[[AT:.*]] = arith.muli %[[ME]], %{{.*}} : index
  // CHECK: tensor.extract_slice %[[X]][%[[AT]], 0] [2, 3] [1, 1] : tensor<8x3xf32> to tensor<2x3xf32>
  %1 = shard.all_slice %0 on @grid grid_axes = [0] slice_axis = 0 : tensor<8x3xf32> -> tensor<2x3xf32>
  return %1 : tensor<2x3xf32>
}

// -----

// The peer's coordinates become its number in the group.
// CHECK-LABEL: func @point_to_point
// CHECK-SAME: (%[[X:.*]]: tensor<8xf32>, %[[I:.*]]: index)
shard.grid @grid(shape = 2x4)
func.func @point_to_point(%0: tensor<8xf32>, %i: index) -> (tensor<8xf32>, tensor<8xf32>) {
  // CHECK: %[[SIX:.*]] = arith.constant 6 : index
  // CHECK: coll.send %[[X]] to %[[SIX]] on @grid axes [0, 1] : tensor<8xf32>
  %1 = shard.send %0 on @grid grid_axes = [0, 1] destination = [1, 2] : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: %[[N:.*]] = arith.addi %[[I]], %{{.*}} : index
  // CHECK: coll.recv from %[[N]] on @grid axes [0, 1] : (index) -> tensor<8xf32>
  %2 = shard.recv %0 on @grid grid_axes = [0, 1] source = [1, %i] : (tensor<8xf32>, index) -> tensor<8xf32>
  return %1, %2 : tensor<8xf32>, tensor<8xf32>
}

// -----

// What a rank knows about itself and the grid.
// CHECK-LABEL: func @indices
shard.grid @grid(shape = 2x4)
func.func @indices() -> (index, index, index, index) {
  // CHECK-DAG: %[[R:.*]] = coll.index on @grid axes [0, 1] : index
  %r = shard.process_linear_index on @grid : index
  // CHECK-DAG: %[[J:.*]] = coll.index on @grid axes [1] : index
  // CHECK-DAG: %[[I:.*]] = coll.index on @grid axes [0] : index
  %j, %i = shard.process_multi_index on @grid axes = [1, 0] : index, index
  // CHECK-DAG: %[[N:.*]] = arith.constant 4 : index
  %n = shard.grid_shape @grid axes = [1] : index
  // CHECK: return %[[R]], %[[J]], %[[I]], %[[N]]
  return %r, %j, %i, %n : index, index, index, index
}
