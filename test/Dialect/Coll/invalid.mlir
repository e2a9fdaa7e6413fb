// RUN: moe-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// Grids and axes (C3)
//===----------------------------------------------------------------------===//

func.func @no_such_grid(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op names the grid `nowhere`, but there is no `shard.grid` of that name}}
  %s = coll.all_reduce %x on @nowhere axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @rows_without_a_grid(%c: tensor<4xi32>) {
  // expected-error @below {{'coll.rows' op names the grid `nowhere`, but there is no `shard.grid` of that name}}
  %n = coll.rows %c bound(affine_map<()[s0] -> (s0)>) on @nowhere : tensor<4xi32>
  return
}

// -----

shard.grid @ranks(shape = 0x2)
func.func @no_ranks(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op names the grid `ranks` of 0x2 ranks, expected 1 to 2147483647; nearest legal choice: 1x2}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

shard.grid @ranks(shape = 65536x?x65536)
func.func @more_ranks_than_are_numbered(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op names the grid `ranks` of 65536x?x65536 ranks, expected 1 to 2147483647; nearest legal choice: 65536x?x32767}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

// expected-note @below {{the grid is declared here}}
shard.grid @ranks(shape = 4x2)
func.func @axis_outside(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op communicates over axis 2, but the grid `ranks` has axes 0 to 1}}
  %s = coll.all_reduce %x on @ranks axes [2] : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

// expected-note @below {{the grid is declared here}}
shard.grid @ranks(shape = 4x2)
func.func @negative_axis() {
  // expected-error @below {{'coll.index' op communicates over axis -1, but the grid `ranks` has axes 0 to 1}}
  %i = coll.index on @ranks axes [-1] : index
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @axis_twice(%x: tensor<?xf32>) {
  // expected-error @below {{'coll.share' op names axis 0 twice}}
  %s = coll.share %x on @ranks axes [0, 0] : (tensor<?xf32>) -> tensor<?xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x?)
func.func @axis_of_unknown_size(%x: tensor<4xf32>, %peer: index) {
  // expected-error @below {{'coll.send' op communicates over axis 1 of `ranks`, whose size is not known}}
  coll.send %x to %peer on @ranks axes [1] : tensor<4xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// The size of the group in types
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4x2)
func.func @gather_for_another_group(%x: tensor<8xf32>) {
  // expected-error @below {{'coll.all_gather' op `result` is 'tensor<4x8xf32>', but the group over axes [1] has 2 members, so its first dimension must be 2}}
  %s = coll.all_gather %x on @ranks axes [1] : (tensor<8xf32>) -> tensor<4x8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @scatter_for_another_group(%x: tensor<4x8xf32>) {
  // expected-error @below {{'coll.reduce_scatter' op `source` is 'tensor<4x8xf32>', but the group over axes [0, 1] has 8 members, so its first dimension must be 8}}
  %s = coll.reduce_scatter %x on @ranks axes [0, 1] : (tensor<4x8xf32>) -> tensor<8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @exchange_for_another_group(%x: tensor<3x8xf32>) {
  // expected-error @below {{'coll.all_to_all' op `source` is 'tensor<3x8xf32>', but the group over axes [0] has 4 members, so its first dimension must be 4}}
  %s = coll.all_to_all %x on @ranks axes [0] : (tensor<3x8xf32>) -> tensor<3x8xf32>
  return
}

// -----

// (C2)
shard.grid @ranks(shape = 4x2)
func.func @counts_for_another_group(%x: tensor<?x8xf32>, %c: tensor<3xi32>, %n: index) {
  // expected-error @below {{'coll.all_gather_v' op `counts` is 'tensor<3xi32>', but the group over axes [0] has 4 members, so its first dimension must be 4}}
  %s = coll.all_gather_v %x counts(%c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<3xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @scatter_counts_for_another_group(%x: tensor<?x8xf32>, %c: tensor<4xi32>, %n: index) {
  // expected-error @below {{'coll.reduce_scatter_v' op `counts` is 'tensor<4xi32>', but the group over axes [1] has 2 members, so its first dimension must be 2}}
  %s = coll.reduce_scatter_v %x counts(%c) rows(%n) on @ranks axes [1] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @counts_without_members(%x: tensor<?x8xf32>, %c: tensor<i32>, %n: index) {
  // expected-error @below {{'coll.all_to_all_v' op `counts` is 'tensor<i32>', but the group over axes [0] has 4 members, so its first dimension must be 4}}
  %s = coll.all_to_all_v %x counts(%c, %c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<i32>, tensor<i32>, index) -> tensor<?x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Shapes (C1, C2)
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4x2)
func.func @sum_of_another_shape(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op sums 'tensor<4xf32>' into 'tensor<8xf32>', but equal types are expected}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @sum_of_another_type(%x: tensor<4xbf16>) {
  // expected-error @below {{'coll.all_reduce' op sums 'tensor<4xbf16>' into 'tensor<4xf32>', but equal types are expected}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xbf16>) -> tensor<4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @sum_of_indices(%x: tensor<4xindex>) {
  // expected-error @below {{'coll.all_reduce' op sums elements of type 'index', but floats or integers are expected}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xindex>) -> tensor<4xindex>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @gather_without_a_leading_dimension(%x: tensor<4x8xf32>) {
  // expected-error @below {{'coll.all_gather' op result is 'tensor<16x8xf32>', but a leading dimension before the shape of 'tensor<4x8xf32>' is expected}}
  %s = coll.all_gather %x on @ranks axes [0] : (tensor<4x8xf32>) -> tensor<16x8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @scatter_of_another_shape(%x: tensor<4x8xf32>) {
  // expected-error @below {{'coll.reduce_scatter' op source is 'tensor<4x8xf32>', but a leading dimension before the shape of 'tensor<4xf32>' is expected}}
  %s = coll.reduce_scatter %x on @ranks axes [0] : (tensor<4x8xf32>) -> tensor<4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @exchange_of_another_shape(%x: tensor<4x8xf32>) {
  // expected-error @below {{'coll.all_to_all' op exchanges 'tensor<4x8xf32>' for 'tensor<4x4xf32>', but equal types are expected}}
  %s = coll.all_to_all %x on @ranks axes [0] : (tensor<4x8xf32>) -> tensor<4x4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @rows_of_another_shape(%x: tensor<?x8xf32>, %c: tensor<4xi32>, %n: index) {
  // expected-error @below {{'coll.all_gather_v' op moves rows of 'tensor<?x8xf32>' into 'tensor<?x4xf32>', but rows of one shape and element type are expected}}
  %s = coll.all_gather_v %x counts(%c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @rows_of_another_type(%x: tensor<?x8xf32>, %c: tensor<4xi32>, %n: index) {
  // expected-error @below {{'coll.reduce_scatter_v' op moves rows of 'tensor<?x8xf32>' into 'tensor<?x8xbf16>', but rows of one shape and element type are expected}}
  %s = coll.reduce_scatter_v %x counts(%c) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x8xbf16>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @share_without_rows(%x: tensor<f32>) {
  // expected-error @below {{'coll.share' op moves rows of 'tensor<f32>' into 'tensor<f32>', but rows of one shape and element type are expected}}
  %s = coll.share %x on @ranks axes [0] : (tensor<f32>) -> tensor<f32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @counts_of_two_types(%x: tensor<?x8xf32>, %c: tensor<4x2xi32>, %d: tensor<4x3xi32>, %n: index) {
  // expected-error @below {{'coll.all_to_all_v' op has send counts of type 'tensor<4x2xi32>' and receive counts of type 'tensor<4x3xi32>', but equal types are expected}}
  %s = coll.all_to_all_v %x counts(%c, %d) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x3xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @received_with_unknown_inner_size(%peer: index, %n: index) {
  // expected-error @below {{'coll.recv' op receives 'tensor<?x?xf32>', but only the first dimension may be dynamic}}
  %s = coll.recv from %peer rows(%n) on @ranks axes [0] : (index, index) -> tensor<?x?xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @received_without_rows(%peer: index) {
  // expected-error @below {{'coll.recv' op receives 'tensor<?x4xf32>', but `rows` is expected exactly when the first dimension is dynamic}}
  %s = coll.recv from %peer on @ranks axes [0] : (index) -> tensor<?x4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @received_with_needless_rows(%peer: index, %n: index) {
  // expected-error @below {{'coll.recv' op receives 'tensor<3x4xf32>', but `rows` is expected exactly when the first dimension is dynamic}}
  %s = coll.recv from %peer rows(%n) on @ranks axes [0] : (index, index) -> tensor<3x4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @bound_of_two_symbols(%c: tensor<4xi32>) {
  // expected-error @below {{'coll.rows' op has the bound affine_map<()[s0, s1] -> (s0 + s1)>, but a map of one symbol (the maximum of tokens) to one result is expected}}
  %n = coll.rows %c bound(affine_map<()[s0, s1] -> (s0 + s1)>) on @ranks : tensor<4xi32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @counts_that_are_not_i32(%c: tensor<4xi64>) {
  // expected-error @below {{'coll.rows' op operand #0 must be tensor or memref of i32, but got 'tensor<4xi64>'}}
  %n = "coll.rows"(%c) {bound = affine_map<()[s0] -> (s0)>, grid = @ranks} : (tensor<4xi64>) -> index
  return
}

// -----

//===----------------------------------------------------------------------===//
// Two forms
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4x2)
func.func @neither_result_nor_outs(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op has 0 results and 0 outs, but either 1 results (on tensors) or 1 outs (on memrefs) are expected}}
  "coll.all_reduce"(%x) {grid = @ranks, axes = array<i64: 0>} : (tensor<4xf32>) -> ()
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @both_result_and_outs(%x: memref<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op has 1 results and 1 outs, but either 1 results (on tensors) or 1 outs (on memrefs) are expected}}
  %s = coll.all_reduce %x on @ranks axes [0] outs(%x) : (memref<4xf32>, memref<4xf32>) -> tensor<4xf32>
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @tensor_with_outs(%x: tensor<4xf32>, %s: memref<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op has an operand of type 'tensor<4xf32>', but memrefs are expected with outs}}
  coll.all_reduce %x on @ranks axes [0] outs(%s) : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @memref_without_outs(%x: memref<4xf32>) {
  // expected-error @below {{'coll.all_reduce' op has an operand of type 'memref<4xf32>', but tensors are expected without outs}}
  %s = coll.all_reduce %x on @ranks axes [0] : (memref<4xf32>) -> tensor<4xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Started collectives
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4x2)
func.func @start_of_two(%x: memref<4xf32>, %s: memref<4xf32>) {
  // expected-error @below {{'coll.start' op starts something else than one collective in buffer form}}
  %t = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<4xf32>, memref<4xf32>) -> ()
    coll.all_reduce %x on @ranks axes [1] outs(%s) : (memref<4xf32>, memref<4xf32>) -> ()
  }
  coll.wait %t
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @start_of_a_value_form(%x: tensor<4xf32>) {
  // expected-error @below {{'coll.start' op starts something else than one collective in buffer form}}
  %t = coll.start {
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  }
  coll.wait %t
  return
}

// -----

shard.grid @ranks(shape = 4x2)
func.func @start_of_local_work(%x: memref<?x4xf32>, %s: memref<?x4xf32>) {
  // expected-error @below {{'coll.start' op starts something else than one collective in buffer form}}
  %t = coll.start {
    coll.share %x on @ranks axes [0] outs(%s) : (memref<?x4xf32>, memref<?x4xf32>) -> ()
  }
  coll.wait %t
  return
}

// -----

shard.grid @ranks(shape = 4x2)
// (C4)
func.func @unknown_payload(%x: tensor<?x8xf32>, %c: tensor<4x2xi32>, %n: index) {
  // expected-error @below {{'coll.all_to_all_v' op moves `tokens`, but a payload of rows, ids or weights is expected}}
  %s = coll.all_to_all_v %x counts(%c, %c) rows(%n) on @ranks axes [0] {payload = "tokens"}
      : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x8xf32>
  return
}
