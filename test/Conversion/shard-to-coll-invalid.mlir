// RUN: moe-opt %s --split-input-file --verify-diagnostics --convert-shard-to-coll

shard.grid @grid(shape = 4)
func.func @largest(%0: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.all_reduce' op reduces by `max`, but `coll` only sums}}
  %1 = shard.all_reduce %0 on @grid grid_axes = [0] reduction = max : tensor<8xf32> -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

shard.grid @grid(shape = 4)
func.func @narrower_sum(%0: tensor<8xf32>) -> tensor<8xbf16> {
  // expected-error @below {{'shard.all_reduce' op reduces elements of type 'f32' into 'bf16', but an equal or wider float is expected}}
  %1 = shard.all_reduce %0 on @grid grid_axes = [0] : tensor<8xf32> -> tensor<8xbf16>
  return %1 : tensor<8xbf16>
}

// -----

shard.grid @grid(shape = 4)
func.func @sum_of_buffers(%0: memref<8xf32>) -> memref<8xf32> {
  // expected-error @below {{'shard.all_reduce' op reduces 'memref<8xf32>', but tensors are expected}}
  %1 = shard.all_reduce %0 on @grid grid_axes = [0] : memref<8xf32> -> memref<8xf32>
  return %1 : memref<8xf32>
}

// -----

shard.grid @grid(shape = 4)
func.func @rooted(%0: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.broadcast' op has a root, but `coll` knows only collectives in which all members do the same}}
  %1 = shard.broadcast %0 on @grid grid_axes = [0] root = [0] : (tensor<8xf32>) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

shard.grid @grid(shape = 4)
func.func @shift(%0: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.shift' op shifts between neighbours, which `coll` does not express: a collective of the whole group is expected}}
  %1 = shard.shift %0 on @grid grid_axes = [0] shift_axis = 0 offset = 1 rotate : tensor<8xf32> -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

shard.grid @grid(shape = 4)
func.func @from_anyone(%0: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.recv' op receives from any member, but `coll.recv` names the member that sends: `source` is expected}}
  %1 = shard.recv %0 on @grid grid_axes = [0] : (tensor<8xf32>) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

shard.grid @grid(shape = 4)
func.func @unknown_inner_size(%0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  // expected-error @below {{'shard.recv' op receives 'tensor<?x?xf32>', but only the first dimension may be dynamic}}
  %1 = shard.recv %0 on @grid grid_axes = [0] source = [1] : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %1 : tensor<?x?xf32>
}

// -----

shard.grid @grid(shape = ?)
func.func @grid_of_unknown_size(%0: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.all_reduce' op communicates over axis 0 of `grid`, whose size is not known}}
  %1 = shard.all_reduce %0 on @grid grid_axes = [0] : tensor<8xf32> -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

shard.grid @grid(shape = ?)
func.func @size_of_unknown_size() -> index {
  // expected-error @below {{'shard.grid_shape' op asks for the size of axis 0 of `grid`, which is not known}}
  %n = shard.grid_shape @grid axes = [0] : index
  return %n : index
}

// -----

shard.grid @grid(shape = 4)
func.func @not_partitioned(%0: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.sharding' op describes a sharding, but a program that is already partitioned is expected (shard-partition)}}
  %s = shard.sharding @grid split_axes = [[0]] : !shard.sharding
  // expected-error @below {{'shard.shard' op describes a sharding, but a program that is already partitioned is expected (shard-partition)}}
  %1 = shard.shard %0 to %s : tensor<8xf32>
  return %1 : tensor<8xf32>
}

// -----

shard.grid @grid(shape = 0)
func.func @exchange_over_no_ranks(%0: tensor<8xf32>) -> tensor<?xf32> {
  // expected-error @below {{'shard.all_to_all' op names the grid `grid` of 0 ranks, expected 1 to 2147483647; nearest legal choice: 1}}
  %1 = shard.all_to_all %0 on @grid grid_axes = [0] split_axis = 0 concat_axis = 0 : tensor<8xf32> -> tensor<?xf32>
  return %1 : tensor<?xf32>
}
