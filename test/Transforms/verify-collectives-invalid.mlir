// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-verify-collectives

//===----------------------------------------------------------------------===//
// (a) Decisions above a collective
//===----------------------------------------------------------------------===//

// A branch on this rank's number: members of the group part.
shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}
func.func @branch_on_a_varying_value(%x: tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  // expected-note @below {{the difference starts at 'coll.index', whose result may differ over `ep`}}
  %me = coll.index on @ranks axes [0] : index
  %first = arith.cmpi eq, %me, %c0 : index
  // expected-note @below {{the decision is made here}}
  scf.if %first {
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'scf.if', whose decision may differ over `ep`, but all members of the group must take it alike}}
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  }
  return
}

// -----

// Both branches hold the same two collectives, in different order.
shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}
func.func @orders_of_two_branches(%x: tensor<8xf32>,
    // expected-note @below {{the difference starts at argument 1 (`x`), which may differ over `ep`}}
    %tokens: tensor<?xf32> {moe.name = "x", moe.split = array<i64: 0>}) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %tokens, %c0 : tensor<?xf32>
  %none = arith.cmpi eq, %t, %c0 : index
  // expected-note @below {{the decision is made here}}
  %y = scf.if %none -> tensor<8xf32> {
    %a = coll.all_reduce %x on @ranks axes [1] : (tensor<8xf32>) -> tensor<8xf32>
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'scf.if', whose decision may differ over `ep`}}
    %b = coll.all_reduce %a on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
    scf.yield %b : tensor<8xf32>
  } else {
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'scf.if', whose decision may differ over `ep`}}
    %a = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
    %b = coll.all_reduce %a on @ranks axes [1] : (tensor<8xf32>) -> tensor<8xf32>
    scf.yield %b : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

// One round of the loop for each local token.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-note @below {{the difference starts at argument 0 (`x`), which may differ over `ep`}}
func.func @loop_over_local_tokens(%x: tensor<?x8xf32> {moe.name = "x", moe.split = array<i64: 0>}, %v: tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %t = tensor.dim %x, %c0 : tensor<?x8xf32>
  // expected-note @below {{the decision is made here}}
  scf.for %i = %c0 to %t step %c1 {
    // expected-error @below {{'coll.all_reduce' op over `ep` stands in 'scf.for', whose decision may differ over `ep`}}
    %s = coll.all_reduce %v on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  }
  return
}

// -----

// Iterates until this rank's own residual is small.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @while_not_converged_here(%v: tensor<1xf32> {moe.split = array<i64>}) {
  %c0 = arith.constant 0 : index
  %limit = arith.constant 0.5 : f32
  // expected-note @below {{the decision is made here}}
  %r = scf.while (%x = %v) : (tensor<1xf32>) -> tensor<1xf32> {
    %w = tensor.empty() : tensor<4x1xf32>
    // expected-error @below {{'coll.reduce_scatter' op over `ep` stands in 'scf.while', whose decision may differ over `ep`}}
    // expected-note @below {{the difference starts at 'coll.reduce_scatter', whose result may differ over `ep`}}
    %s = coll.reduce_scatter %w on @ranks axes [0] : (tensor<4x1xf32>) -> tensor<1xf32>
    %e = tensor.extract %s[%c0] : tensor<1xf32>
    %more = arith.cmpf ogt, %e, %limit : f32
    scf.condition(%more) %s : tensor<1xf32>
  } do {
  ^bb0(%x: tensor<1xf32>):
    scf.yield %x : tensor<1xf32>
  }
  return
}

// -----

// A call hides the collective, not the decision.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func private @inner(%x: tensor<8xf32>) -> tensor<8xf32> {
  %s = coll.all_reduce %x on @ranks axes [0] : (tensor<8xf32>) -> tensor<8xf32>
  return %s : tensor<8xf32>
}
// expected-note @below {{the difference starts at argument 0, which may differ over `ep`}}
func.func @call_under_a_varying_branch(%mine: i1, %x: tensor<8xf32>) {
  // expected-note @below {{the decision is made here}}
  scf.if %mine {
    // expected-error @below {{'func.call' op calls `inner`, whose 'coll.all_reduce' over `ep` stands in 'scf.if', whose decision may differ over `ep`}}
    %s = func.call @inner(%x) : (tensor<8xf32>) -> tensor<8xf32>
  }
  return
}

// -----

//===----------------------------------------------------------------------===//
// (b) Dimensions of what is sent
//===----------------------------------------------------------------------===//

// Local token counts differ, so the blocks do.
shard.grid @ranks(shape = 4x2) {coll.axes = ["ep", "etp"]}
// expected-note @below {{the difference starts at argument 0 (`x`), which may differ over `ep`}}
func.func @varying_rows_in_a_fixed_size_collective(%x: tensor<?x64xf32> {moe.name = "x", moe.split = array<i64: 0>}) {
  // expected-error @below {{'coll.all_gather' op over `ep` sends 'tensor<?x64xf32>', whose dimension 0 may differ over `ep`, but all members of the group must send equal shapes}}
  %all = coll.all_gather %x on @ranks axes [0] : (tensor<?x64xf32>) -> tensor<4x?x64xf32>
  return
}

// -----

// Rows of a ragged collective have one length.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @varying_row_length(%c: tensor<4x2xi32> {moe.split = array<i64: 0>}, %n: index) {
  // expected-note @below {{the difference starts at 'coll.index', whose result may differ over `ep`}}
  %me = coll.index on @ranks axes [0] : index
  %x = tensor.empty(%n, %me) : tensor<?x?xf32>
  %r = coll.all_to_all %c on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  %m = coll.rows %r bound(affine_map<()[s0] -> (s0)>) on @ranks : tensor<4x2xi32>
  // expected-error @below {{'coll.all_to_all_v' op over `ep` sends 'tensor<?x?xf32>', whose dimension 1 may differ over `ep`}}
  %y = coll.all_to_all_v %x counts(%c, %r) rows(%m) on @ranks axes [0] : (tensor<?x?xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x?xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// (c) Counts of all_to_all_v
//===----------------------------------------------------------------------===//

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-note @below {{send counts come from here}}
// expected-note @below {{receive counts come from here}}
func.func @counts_without_an_exchange(%x: tensor<?x8xf32>, %send: tensor<4x2xi32>, %recv: tensor<4x2xi32>, %n: index) {
  // expected-error @below {{'coll.all_to_all_v' op over `ep` has send and receive counts that are not exchanges of each other, but one must be 'coll.all_to_all' of the other over the same axes}}
  %y = coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @exchange_of_other_counts(%x: tensor<?x8xf32>, %send: tensor<4x2xi32>, %other: tensor<4x2xi32>, %n: index) {
  // expected-note @below {{this exchange is of other counts}}
  %recv = coll.all_to_all %other on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  // expected-error @below {{'coll.all_to_all_v' op over `ep` has send and receive counts that are not exchanges of each other, but one must be 'coll.all_to_all' of the other over the same axes}}
  %y = coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

// The same counts, exchanged among the wrong ranks.
shard.grid @ranks(shape = 4x4) {coll.axes = ["ep", "etp"]}
func.func @exchange_over_other_axes(%x: tensor<?x8xf32>, %send: tensor<4x2xi32>, %n: index) {
  // expected-note @below {{this exchange is over `etp`}}
  %recv = coll.all_to_all %send on @ranks axes [1] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  // expected-error @below {{'coll.all_to_all_v' op over `ep` has send and receive counts that are not exchanges of each other, but one must be 'coll.all_to_all' of the other over the same axes}}
  %y = coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

// The order of the axes is the order of the members.
shard.grid @ranks(shape = 2x2) {coll.axes = ["ep", "etp"]}
func.func @exchange_in_another_member_order(%x: tensor<?x8xf32>, %send: tensor<4x2xi32>, %n: index) {
  // expected-note @below {{this exchange is over `ep`, `etp`}}
  %recv = coll.all_to_all %send on @ranks axes [1, 0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  // expected-error @below {{'coll.all_to_all_v' op over `ep`, `etp` has send and receive counts that are not exchanges of each other, but one must be 'coll.all_to_all' of the other over the same axes}}
  %y = coll.all_to_all_v %x counts(%send, %recv) rows(%n) on @ranks axes [0, 1] : (tensor<?x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// (d) Counts of all_gather_v and reduce_scatter_v
//===----------------------------------------------------------------------===//

// Each member knows its own counts only.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-note @below {{the difference starts at argument 1, which may differ over `ep`}}
func.func @local_counts_for_a_gather(%x: tensor<?x8xf32>, %counts: tensor<4xi32>, %n: index) {
  // expected-error @below {{'coll.all_gather_v' op over `ep` has counts that may differ over `ep`, but every member must know the same counts: 'coll.all_gather' of the local ones}}
  %y = coll.all_gather_v %x counts(%counts) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

// Known to all members, but nobody's word.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
func.func @counts_that_no_member_gave(%x: tensor<?x8xf32>, %n: index) {
  // expected-note @below {{the counts come from here}}
  %counts = arith.constant dense<3> : tensor<4xi32>
  // expected-error @below {{'coll.reduce_scatter_v' op over `ep` has counts that are not 'coll.all_gather' of local counts over the same axes, so that nothing shows that block i is what member i holds}}
  %y = coll.reduce_scatter_v %x counts(%counts) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<4xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

// Gathered over both axes: the blocks belong to other ranks.
shard.grid @ranks(shape = 2x2) {coll.axes = ["ep", "etp"]}
func.func @gather_over_other_axes(%x: tensor<?x8xf32>, %mine: tensor<1xi32>, %n: index) {
  // expected-note @below {{this gather is over `ep`, `etp`}}
  %all = coll.all_gather %mine on @ranks axes [0, 1] : (tensor<1xi32>) -> tensor<4x1xi32>
  %flat = tensor.collapse_shape %all [[0, 1]] : tensor<4x1xi32> into tensor<4xi32>
  %counts = tensor.expand_shape %flat [[0, 1]] output_shape [2, 2] : tensor<4xi32> into tensor<2x2xi32>
  // expected-error @below {{'coll.all_gather_v' op over `ep` has counts that are not 'coll.all_gather' of local counts over the same axes}}
  %y = coll.all_gather_v %x counts(%counts) rows(%n) on @ranks axes [0] : (tensor<?x8xf32>, tensor<2x2xi32>, index) -> tensor<?x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// (e) Capacity computed per rank: DeepSpeed#6809
//===----------------------------------------------------------------------===//

// Each rank pads to the largest of its own counts; the blocks of the all_to_all
// then have different sizes, and everyone waits.
shard.grid @ranks(shape = 4) {coll.axes = ["ep"]}
// expected-note @below {{the difference starts at argument 0 (`counts`), which may differ over `ep`}}
func.func @capacity_per_rank(%counts: tensor<4xi32> {moe.name = "counts", moe.split = array<i64: 0>}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0 : i32
  %largest = scf.for %i = %c0 to %c4 step %c1 iter_args(%max = %zero) -> i32 {
    %c = tensor.extract %counts[%i] : tensor<4xi32>
    %next = arith.maxsi %c, %max : i32
    scf.yield %next : i32
  }
  %capacity = arith.index_cast %largest : i32 to index
  %buffer = tensor.empty(%capacity) : tensor<4x?x64xf32>
  // expected-error @below {{'coll.all_to_all' op over `ep` sends dimension 1 of 'tensor<4x?x64xf32>' as large as this rank's own data says (a capacity computed per rank): it may differ over `ep`, but the members must agree on it by a collective first}}
  %in = coll.all_to_all %buffer on @ranks axes [0] : (tensor<4x?x64xf32>) -> tensor<4x?x64xf32>
  return
}
