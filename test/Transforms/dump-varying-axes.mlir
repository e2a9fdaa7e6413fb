// RUN: moe-opt %s --split-input-file --moe-dump-varying-axes --verify-diagnostics

// Rows of a split argument vary, in contents and in number; replicated ones and
// weights do not.
shard.grid @ranks(shape = 2x4x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @seeds(
    // expected-remark @below {{argument 0 varies over `edp`, `ep`; its dimension 0 over `edp`, `ep`}}
    %x: tensor<?x8xf32> {moe.split = array<i64: 0, 1, 2>},
    %all: tensor<?x8xf32> {moe.split = array<i64>},
    // expected-remark @below {{argument 2 varies over `ep`}}
    %up: tensor<1x4x8xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [4, 4, 8], splits = [#moe.split<dim = 0, axes = [1], by = slots>], slots = [0, 1, 2, 3]>},
    %gate: tensor<4x8xf32> {moe.weight = #moe.checkpoint<names = ["gate"], file_shape = [4, 8], map = affine_map<(e, h) -> (e, h)>>},
    // expected-remark @below {{argument 4 varies over `edp`, `ep`}}
    %unknown: index) {
  // expected-remark @below {{result 0 of 'coll.index' varies over `ep`}}
  %ep = coll.index on @ranks axes [1] : index
  %alone = coll.index on @ranks axes [2] : index
  // expected-remark @below {{result 0 of 'shard.process_linear_index' varies over `edp`, `ep`}}
  %rank = shard.process_linear_index on @ranks : index
  // expected-remark @below {{result 1 of 'shard.process_multi_index' varies over `edp`, `ep`}}
  // expected-remark @below {{result 0 of 'shard.process_multi_index' varies over `edp`, `ep`}}
  %edp, %e = shard.process_multi_index on @ranks axes = [0, 1] : index, index
  %size = shard.grid_shape @ranks axes = [1] : index
  return
}

// -----

// A dimension follows the counts, not the contents.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-remark @below {{argument 0 varies over `ep`; its dimension 0 over `ep`}}
func.func @dimensions_apart(%x: tensor<?x8xf32> {moe.split = array<i64: 0>}, %n: tensor<?x8xf32> {moe.split = array<i64>}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-remark @below {{result 0 of 'tensor.dim' varies over `ep`}}
  %t = tensor.dim %x, %c0 : tensor<?x8xf32>
  %m = tensor.dim %n, %c0 : tensor<?x8xf32>
  // expected-remark @below {{result 0 of 'coll.index' varies over `ep`}}
  %me = coll.index on @ranks axes [0] : index
  // expected-remark @below {{result 0 of 'arith.index_cast' varies over `ep`}}
  %i = arith.index_cast %me : index to i32
  // expected-remark-re @below {{result 0 of 'tensor.splat' varies over `ep`{{$}}}}
  %s = tensor.splat %i : tensor<4xi32>
  %e = tensor.empty(%m) : tensor<?xi32>
  // expected-remark-re @below {{result 0 of 'linalg.fill' varies over `ep`{{$}}}}
  %f = linalg.fill ins(%i : i32) outs(%e : tensor<?xi32>) -> tensor<?xi32>
  %rows = tensor.dim %f, %c0 : tensor<?xi32>
  return
}

// -----

// Who holds what after a collective.
shard.grid @ranks(shape = 2x4) {coll.axes = ["ep", "etp"]}
// expected-remark @below {{argument 0 varies over `ep`, `etp`}}
func.func @collectives(%x: tensor<4xf32>) {
  // expected-remark-re @below {{result 0 of 'coll.all_reduce' varies over `ep`{{$}}}}
  %a = coll.all_reduce %x on @ranks axes [1] : (tensor<4xf32>) -> tensor<4xf32>
  %b = coll.all_reduce %a on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  // expected-remark-re @below {{result 0 of 'coll.all_to_all' varies over `etp`{{$}}}}
  %c = coll.all_to_all %b on @ranks axes [1] : (tensor<4xf32>) -> tensor<4xf32>
  %d = coll.all_gather %c on @ranks axes [1] : (tensor<4xf32>) -> tensor<4x4xf32>
  // expected-remark-re @below {{result 0 of 'coll.reduce_scatter' varies over `etp`{{$}}}}
  %e = coll.reduce_scatter %d on @ranks axes [1] : (tensor<4x4xf32>) -> tensor<4xf32>
  %f = coll.all_gather %x on @ranks axes [1, 0] : (tensor<4xf32>) -> tensor<8x4xf32>
  return
}

// -----

// Constants that a varying branch or loop hands out vary; what it agrees on does
// not.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @control_flow() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  // expected-remark @below {{result 0 of 'coll.index' varies over `ep`}}
  %me = coll.index on @ranks axes [0] : index
  // expected-remark @below {{result 0 of 'arith.cmpi' varies over `ep`}}
  %first = arith.cmpi eq, %me, %c0 : index
  // expected-remark @below {{result 0 of 'scf.if' varies over `ep`}}
  %chosen = scf.if %first -> index {
    scf.yield %c0 : index
  } else {
    scf.yield %c1 : index
  }
  // expected-remark @below {{result 0 of 'scf.for' varies over `ep`}}
  %rounds = scf.for %i = %c0 to %me step %c1 iter_args(%n = %c0) -> index {
    %next = arith.addi %n, %c1 : index
    scf.yield %next : index
  }
  %equal = scf.for %i = %c0 to %c4 step %c1 iter_args(%n = %c0) -> index {
    %next = arith.addi %n, %i : index
    scf.yield %next : index
  }
  cf.cond_br %first, ^join(%c0 : index), ^join(%c1 : index)
^join(%joined: index):
  // expected-remark @below {{result 0 of 'arith.addi' varies over `ep`}}
  %after = arith.addi %joined, %c1 : index
  return
}

// -----

// What is read from memory may be anything.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-remark @below {{argument 0 varies over `ep`}}
func.func @memory(%m: memref<4xi32>) {
  %c0 = arith.constant 0 : index
  // expected-remark @below {{result 0 of 'coll.index' varies over `ep`}}
  %me = coll.index on @ranks axes [0] : index
  // expected-remark @below {{result 0 of 'memref.load' varies over `ep`}}
  %v = memref.load %m[%c0] : memref<4xi32>
  return
}
