// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-verify-collectives

//===----------------------------------------------------------------------===//
// (f) One order
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @parallel_body(%x: tensor<8xf32>) {
  // expected-note @below {{in this body}}
  scf.forall (%i) in (4) {
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'scf.forall', whose body runs in no order that can be shown, but all ranks must issue their collectives in one order}}
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  }
  return
}

// -----

// Two communicators, issued by two activities at once: one rank may start with
// either.
shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}
func.func @two_communicators_without_a_common_order(%x: tensor<8xf32>) {
  // expected-note @below {{in this body}}
  %t = async.execute {
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'async.execute', whose body runs in no order that can be shown}}
    %a = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
    async.yield
  }
  %b = coll.all_reduce %x on @ranks axes [1] : (tensor<8xf32>) -> tensor<8xf32>
  async.await %t : !async.token
  return
}

// -----

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-note @below {{in this region}}
func.func @branches_between_blocks(%x: tensor<8xf32>, %c: i1) {
  cf.cond_br %c, ^then, ^end
^then:
  // expected-error @below {{'coll.all_reduce' op over `ep` stands among branches between blocks, where no order can be shown, but structured control flow (`scf`) is expected}}
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  cf.br ^end
^end:
  return
}

// -----

// An operation whose control flow nobody declared.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @unknown_control_flow(%x: tensor<8xf32>) {
  // expected-note @below {{in this body}}
  %y = tensor.generate {
  ^bb0(%i: index):
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'tensor.generate', whose body runs in no order that can be shown}}
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
    %e = tensor.extract %s[%i] : tensor<8xf32>
    tensor.yield %e : f32
  } : tensor<8xf32>
  return
}

// -----

shard.grid @small(shape = 4) {coll.axes = ["ep"]}
shard.grid @large(shape = 8) {coll.axes = ["tp"]}
func.func @grids_of_different_ranks(%x: tensor<8xf32>) {
  // expected-note @below {{this one is over `small` of 4 ranks}}
  %a = coll.all_reduce %x on @small axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  // expected-error @below {{'coll.all_reduce' op is over the grid `large` of 8 ranks, but one program runs on one set of ranks}}
  %b = coll.all_reduce %a on @large axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  return
}

// -----

// Another grid cuts the same ranks in another way: what varies over one may vary
// over any axis of the other.
shard.grid @moe(shape = 4) {coll.axes = ["ep"]}
shard.grid @attention(shape = 2x2) {coll.axes = ["dp", "tp"]}
func.func @decision_over_another_grid(%x: tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  // expected-note @below {{the difference starts at 'coll.index', whose result may differ over `tp` of `attention`}}
  %me = coll.index on @attention axes [1] : index
  %first = arith.cmpi eq, %me, %c0 : index
  // expected-note @below {{the decision is made here}}
  scf.if %first {
    // expected-error @below {{'coll.all_reduce' op over `ep` of `moe` stands in 'scf.if', whose decision may differ over `tp` of `attention`}}
    %s = coll.all_reduce %x on @moe axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  }
  return
}

// -----

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @send_to_a_neighbour(%x: tensor<8xf32>, %peer: index) {
  // expected-error @below {{'coll.send' op over `ep` is matched by an operation of one other member, which cannot be shown, but collectives of the whole group are expected}}
  coll.send %x to %peer on @ranks axes [0] : tensor<8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @collective_without_effects(%x: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{'shard.all_reduce' op communicates, but may be moved or removed as an op without effects: `coll` operations are expected (convert-shard-to-coll)}}
  %s = shard.all_reduce %x on @ranks grid_axes = [0] : tensor<8xf32> -> tensor<8xf32>
  return %s : tensor<8xf32>
}

// -----

//===----------------------------------------------------------------------===//
// (h) What results say about themselves
//===----------------------------------------------------------------------===//

// The partial sums over `etp` were never added.
shard.grid @ranks(shape = 2x2) {coll.axes = ["ep", "etp"]}
func.func @forgotten_sum(%x: tensor<?x8xf32> {moe.split = array<i64: 0>},
    // expected-note @below {{the difference starts at argument 1 (`down`), which may differ over `etp`}}
    %w: tensor<1x8x8xf32> {moe.name = "down", moe.slice = #moe.slice<grid = @ranks, shape = [1, 8, 16], splits = [#moe.split<dim = 2, axes = [1]>]>},
    %n: index {moe.name = "n"}) -> (tensor<?x8xf32> {moe.split = array<i64: 0>}) {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x8xf32>
  %y = moe.grouped_matmul %x, %w rows(%t) : (tensor<?x8xf32>, tensor<1x8x8xf32>, index) -> tensor<?x8xf32>
  // expected-error @below {{'func.return' op returns result 0 that may differ over `etp`, but its `moe.split` says `ep`}}
  return %y : tensor<?x8xf32>
}

// -----

//===----------------------------------------------------------------------===//
// (g) Tokens
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @never_awaited(%x: memref<8xf32>, %s: memref<8xf32>) {
  // expected-error @below {{'coll.start' op starts 'coll.all_reduce', whose token has 0 uses, but one 'coll.wait' in the same block is expected}}
  %t = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<8xf32>, memref<8xf32>) -> ()
  }
  return
}

// -----

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @awaited_twice(%x: memref<8xf32>, %s: memref<8xf32>) {
  // expected-error @below {{'coll.start' op starts 'coll.all_reduce', whose token has 2 uses, but one 'coll.wait' in the same block is expected}}
  %t = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<8xf32>, memref<8xf32>) -> ()
  }
  // expected-note @below {{the token is used here}}
  coll.wait %t
  // expected-note @below {{the token is used here}}
  coll.wait %t
  return
}

// -----

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @awaited_in_one_branch(%c: i1, %x: memref<8xf32>, %s: memref<8xf32>) {
  // expected-error @below {{'coll.start' op starts 'coll.all_reduce', whose token has 1 uses, but one 'coll.wait' in the same block is expected}}
  %t = coll.start {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<8xf32>, memref<8xf32>) -> ()
  }
  scf.if %c {
    // expected-note @below {{the token is used here}}
    coll.wait %t
  }
  return
}
