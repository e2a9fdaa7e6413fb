// RUN: moe-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// moe.sort
//===----------------------------------------------------------------------===//

// (C1)
func.func @sort_pairs(%ids: tensor<6x2xi32>) {
  // expected-error @below {{'moe.sort' op `order` has M = 6 in dimension 0, but T * min(k, window / group) has M = 12}}
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<6x2xi32>) -> (tensor<6xi32>, tensor<6x2xi32>, tensor<3xi32>)
  return
}

// -----

func.func @sort_offsets(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'moe.sort' op `offsets` has bins+1 = 2 in dimension 0, but the window has bins = 2}}
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<2xi32>)
  return
}

// -----

func.func @sort_unknown_k(%ids: tensor<?x?xi32>) {
  // expected-error @below {{'moe.sort' op has an unknown number of experts per token, but a static one is expected}}
  %order, %pos, %off = moe.sort %ids experts 2 slots [0, 1] window 2 : (tensor<?x?xi32>) -> (tensor<?xi32>, tensor<?x?xi32>, tensor<3xi32>)
  return
}

// -----

// (C2)
func.func @sort_part_without_first(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'moe.sort' op keeps a window of 2 of 4 slots without `first`, but all of them are expected}}
  %order, %pos, %off = moe.sort %ids experts 4 slots [0, 1, 2, 3] window 2 : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3xi32>)
  return
}

// -----

func.func @sort_empty_window(%ids: tensor<?x2xi32>, %first: index) {
  // expected-error @below {{'moe.sort' op keeps a window of 0 of 4 slots, but a positive part of them is expected}}
  %order, %pos, %off = moe.sort %ids first(%first) experts 4 slots [0, 1, 2, 3] window 0 : (tensor<?x2xi32>, index) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<1xi32>)
  return
}

// -----

// (C3)
func.func @sort_expert_twice(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'moe.sort' op has expert 1 in a slot, but each of 3 experts stands in one slot, -1 marks an empty one}}
  %order, %pos, %off = moe.sort %ids experts 3 slots [0, 1, 1] window 3 : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4xi32>)
  return
}

// -----

func.func @sort_expert_in_no_slot(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'moe.sort' op has slots for 2 of 3 experts, but each expert needs one}}
  %order, %pos, %off = moe.sort %ids experts 3 slots [0, 1, -1] window 3 : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4xi32>)
  return
}

// -----

// (C4)
func.func @sort_group_cuts_window(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'moe.sort' op groups a window of 8 slots by 3, but a divisor of it is expected}}
  %order, %pos, %off = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 group 3
      : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3xi32>)
  return
}

// -----

func.func @sort_groups_offsets(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'moe.sort' op `offsets` has bins+1 = 9 in dimension 0, but the window has bins = 4}}
  %order, %pos, %off = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 group 2
      : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<9xi32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.counts, moe.take, moe.regroup
//===----------------------------------------------------------------------===//

func.func @counts_of_other_offsets(%off: tensor<8xi32>) {
  // expected-error @below {{'moe.counts' op turns 'tensor<8xi32>' into 'tensor<4x2xi32>', but [n * S + 1] offsets and [n, S] counts are expected}}
  %c = moe.counts %off : (tensor<8xi32>) -> tensor<4x2xi32>
  return
}

// -----

func.func @take_nothing(%x: tensor<?x64xf32>, %order: tensor<?xi32>, %n: index) {
  // expected-error @below {{'moe.take' op has top_k 0, but a positive number is expected}}
  %r = moe.take %x, %order rows(%n) top_k 0 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x64xf32>
  return
}

// -----

// (C2)
func.func @take_weights(%x: tensor<?x64xf32>, %order: tensor<?xi32>, %n: index, %w: tensor<?x4xf32>) {
  // expected-error @below {{'moe.take' op `weights` has k = 4 in dimension 1, but `top_k` has k = 2}}
  %r = moe.take %x, %order rows(%n) top_k 2 weights(%w) : (tensor<?x64xf32>, tensor<?xi32>, index, tensor<?x4xf32>) -> tensor<?x64xf32>
  return
}

// -----

// (C3)
func.func @take_weighted_integers(%x: tensor<?x2xi32>, %order: tensor<?xi32>, %n: index, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.take' op takes weighted rows of 'i32' as rows of 'i32', but integers are neither converted nor weighted}}
  %r = moe.take %x, %order rows(%n) top_k 2 weights(%w) : (tensor<?x2xi32>, tensor<?xi32>, index, tensor<?x2xf32>) -> tensor<?x2xi32>
  return
}

// -----

func.func @take_integers_as_floats(%x: tensor<?x2xi32>, %order: tensor<?xi32>, %n: index) {
  // expected-error @below {{'moe.take' op takes rows of 'i32' as rows of 'f32', but integers are neither converted nor weighted}}
  %r = moe.take %x, %order rows(%n) top_k 2 : (tensor<?x2xi32>, tensor<?xi32>, index) -> tensor<?x2xf32>
  return
}

// -----

func.func @take_hidden_size(%x: tensor<?x64xf32>, %order: tensor<?xi32>, %n: index) {
  // expected-error @below {{'moe.take' op `result` has H = 32 in dimension 1, but `x` has H = 64}}
  %r = moe.take %x, %order rows(%n) top_k 2 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x32xf32>
  return
}

// -----

func.func @regroup_unknown_slots(%c: tensor<4x?xi32>, %n: index) {
  // expected-error @below {{'moe.regroup' op has counts of type 'tensor<4x?xi32>', but a static shape [..., S] is expected}}
  %order, %off = moe.regroup %c rows(%n) : (tensor<4x?xi32>, index) -> (tensor<?xi32>, tensor<3xi32>)
  return
}

// -----

func.func @regroup_offsets(%c: tensor<4x2xi32>, %n: index) {
  // expected-error @below {{'moe.regroup' op `offsets` has S+1 = 5 in dimension 0, but `counts` has S = 2}}
  %order, %off = moe.regroup %c rows(%n) : (tensor<4x2xi32>, index) -> (tensor<?xi32>, tensor<5xi32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.grouped_matmul
//===----------------------------------------------------------------------===//

// (C1)
func.func @matmul_offsets(%a: tensor<?x64xf32>, %b: tensor<2x48x64xf32>, %n: index, %off: tensor<4xi32>) {
  // expected-error @below {{'moe.grouped_matmul' op `offsets` has G+1 = 4 in dimension 0, but `rhs` has G = 2}}
  %h = moe.grouped_matmul %a, %b rows(%n) offsets(%off) : (tensor<?x64xf32>, tensor<2x48x64xf32>, index, tensor<4xi32>) -> tensor<?x48xf32>
  return
}

// -----

func.func @matmul_sizes(%a: tensor<?x64xf32>, %b: tensor<1x48x32xf32>, %n: index) {
  // expected-error @below {{'moe.grouped_matmul' op `lhs` has K = 64 in dimension 1, but `rhs` has K = 32}}
  %h = moe.grouped_matmul %a, %b rows(%n) : (tensor<?x64xf32>, tensor<1x48x32xf32>, index) -> tensor<?x48xf32>
  return
}

// -----

func.func @matmul_unknown_weights(%a: tensor<?x64xf32>, %b: tensor<1x?x64xf32>, %n: index) {
  // expected-error @below {{'moe.grouped_matmul' op has `rhs` of type 'tensor<1x?x64xf32>', but a static shape is expected}}
  %h = moe.grouped_matmul %a, %b rows(%n) : (tensor<?x64xf32>, tensor<1x?x64xf32>, index) -> tensor<?x?xf32>
  return
}

// -----

// (C2)
func.func @matmul_groups_without_offsets(%a: tensor<?x64xf32>, %b: tensor<2x48x64xf32>, %n: index) {
  // expected-error @below {{'moe.grouped_matmul' op `rhs` has G = 2 in dimension 0, but a product without `offsets` has G = 1}}
  %h = moe.grouped_matmul %a, %b rows(%n) : (tensor<?x64xf32>, tensor<2x48x64xf32>, index) -> tensor<?x48xf32>
  return
}

// -----

// (C3)
func.func @matmul_divisor_without_gather(%a: tensor<?x64xf32>, %b: tensor<1x48x64xf32>, %n: index) {
  // expected-error @below {{'moe.grouped_matmul' op has gather_divisor 2, but a positive number is expected, and 1 and no row_weights without `gather`}}
  %h = moe.grouped_matmul %a, %b rows(%n) {gather_divisor = 2} : (tensor<?x64xf32>, tensor<1x48x64xf32>, index) -> tensor<?x48xf32>
  return
}

// -----

func.func @matmul_weights_without_gather(%a: tensor<?x64xf32>, %b: tensor<1x48x64xf32>, %n: index, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.grouped_matmul' op has gather_divisor 1 and row_weights, but a positive number is expected, and 1 and no row_weights without `gather`}}
  %h = moe.grouped_matmul %a, %b rows(%n) row_weights(%w) : (tensor<?x64xf32>, tensor<1x48x64xf32>, index, tensor<?x2xf32>) -> tensor<?x48xf32>
  return
}

// -----

func.func @matmul_divisor(%a: tensor<?x64xf32>, %b: tensor<1x48x64xf32>, %n: index, %g: tensor<?xi32>) {
  // expected-error @below {{'moe.grouped_matmul' op has gather_divisor 0, but a positive number is expected, and 1 and no row_weights without `gather`}}
  %h = moe.grouped_matmul %a, %b rows(%n) gather(%g) {gather_divisor = 0} : (tensor<?x64xf32>, tensor<1x48x64xf32>, index, tensor<?xi32>) -> tensor<?x48xf32>
  return
}

// -----

// (C4)
func.func @matmul_parts(%a: tensor<?x64xf32>, %b: tensor<1x1x48x64xf32>, %n: index) {
  // expected-error @below {{'moe.grouped_matmul' op `rhs` has P = 1 in dimension 1, but the gated activation has P = 2}}
  %h = moe.grouped_matmul %a, %b rows(%n) activation(<kind = silu>) : (tensor<?x64xf32>, tensor<1x1x48x64xf32>, index) -> tensor<?x48xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.token_gate and moe.combine
//===----------------------------------------------------------------------===//

func.func @gate_of_several(%x: tensor<?x64xf32>, %w: tensor<2x64xf32>) {
  // expected-error @below {{'moe.token_gate' op `weight` has 2 in dimension 0, but 1 is expected}}
  %g = moe.token_gate %x, %w : (tensor<?x64xf32>, tensor<2x64xf32>) -> tensor<?x1xf32>
  return
}

// -----

func.func @combine_weights(%r: tensor<?x64xf32>, %pos: tensor<?x2xi32>, %w: tensor<?x4xf32>) {
  // expected-error @below {{'moe.combine' op `weights` has k = 4 in dimension 1, but `positions` has k = 2}}
  %y = moe.combine %r, %pos weights(%w) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x4xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @combine_in_token_order(%r: tensor<?x64xf32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.combine' op `weights` has k = 2 in dimension 1, but a sum without `positions` has k = 1}}
  %y = moe.combine %r weights(%w) : (tensor<?x64xf32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return
}

// -----

// (C2)
func.func @gate_of_no_addend(%r: tensor<?x64xf32>, %pos: tensor<?x2xi32>, %g: tensor<?x1xf32>) {
  // expected-error @below {{'moe.combine' op has `addend_gate` without `addend`}}
  %y = moe.combine %r, %pos addend_gate(%g) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @combine_in_two_forms(%r: memref<?x64xf32>, %pos: tensor<?x2xi32>, %y: memref<?x64xf32>) {
  // expected-error @below {{'moe.combine' op has an operand of type 'tensor<?x2xi32>', but memrefs are expected with outs}}
  moe.combine %r, %pos outs(%y) : (memref<?x64xf32>, tensor<?x2xi32>, memref<?x64xf32>) -> ()
  return
}

// -----

// (C6)
func.func @no_scales(%x: tensor<?x256xbf16>, %w: tensor<2x128x256xf8E4M3FN>, %n: index, %o: tensor<3xi32>) {
  // expected-error @below {{'moe.grouped_matmul' op has `rhs` of type 'tensor<2x128x256xf8E4M3FN>' and no scales, but scales are expected exactly when `rhs` is quantised}}
  %y = moe.grouped_matmul %x, %w rows(%n) offsets(%o) : (tensor<?x256xbf16>, tensor<2x128x256xf8E4M3FN>, index, tensor<3xi32>) -> tensor<?x128xbf16>
  return
}

// -----

func.func @scales_of_plain_numbers(%x: tensor<?x256xbf16>, %w: tensor<2x128x256xbf16>, %s: tensor<2x1x2xf32>, %n: index, %o: tensor<3xi32>) {
  // expected-error @below {{'moe.grouped_matmul' op has `rhs` of type 'tensor<2x128x256xbf16>' and scales, but scales are expected exactly when `rhs` is quantised}}
  %y = moe.grouped_matmul %x, %w rows(%n) offsets(%o) scales(%s)
      : (tensor<?x256xbf16>, tensor<2x128x256xbf16>, index, tensor<3xi32>, tensor<2x1x2xf32>) -> tensor<?x128xbf16>
  return
}

// -----

func.func @scales_of_other_blocks(%x: tensor<?x256xbf16>, %w: tensor<2x130x256xf8E4M3FN>, %s: tensor<2x1x2xf32>, %n: index, %o: tensor<3xi32>) {
  // expected-error @below {{'moe.grouped_matmul' op has scales of type 'tensor<2x1x2xf32>', but 'tensor<2x2x2xf32>' is expected for `rhs` of type 'tensor<2x130x256xf8E4M3FN>'}}
  %y = moe.grouped_matmul %x, %w rows(%n) offsets(%o) scales(%s)
      : (tensor<?x256xbf16>, tensor<2x130x256xf8E4M3FN>, index, tensor<3xi32>, tensor<2x1x2xf32>) -> tensor<?x130xbf16>
  return
}
