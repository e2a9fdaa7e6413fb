// RUN: moe-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// moe.route and moe.select_experts
//===----------------------------------------------------------------------===//

// (C1)
func.func @route_hidden_sizes(%x: tensor<?x64xf32>, %g: tensor<8x32xf32>) {
  // expected-error @below {{'moe.route' op `weight` has H = 32 in dimension 1, but `x` has H = 64}}
  %w, %ids = moe.route %x, %g router(<top_k = 2>) : (tensor<?x64xf32>, tensor<8x32xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @route_bias(%x: tensor<?x64xf32>, %g: tensor<8x64xf32>, %b: tensor<4xf32>) {
  // expected-error @below {{'moe.route' op `bias` has E = 4 in dimension 0, but `weight` has E = 8}}
  %w, %ids = moe.route %x, %g bias(%b) router(<top_k = 2>) : (tensor<?x64xf32>, tensor<8x64xf32>, tensor<4xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @route_experts_per_token(%x: tensor<?x64xf32>, %g: tensor<8x64xf32>) {
  // expected-error @below {{'moe.route' op `weights` has k = 4 in dimension 1, but the router has k = 2}}
  %w, %ids = moe.route %x, %g router(<top_k = 2>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x4xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @route_rank(%x: tensor<64xf32>, %g: tensor<8x64xf32>) {
  // expected-error @below {{'moe.route' op `x` is 'tensor<64xf32>', but a shape of rank 2 is expected}}
  %w, %ids = moe.route %x, %g router(<top_k = 2>) : (tensor<64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @route_unknown_experts(%x: tensor<?x64xf32>, %g: tensor<?x64xf32>) {
  // expected-error @below {{'moe.route' op has an unknown number of experts, but a static one is expected}}
  %w, %ids = moe.route %x, %g router(<top_k = 2>) : (tensor<?x64xf32>, tensor<?x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @route_one_result(%x: tensor<?x64xf32>, %g: tensor<8x64xf32>) {
  // expected-error @below {{'moe.route' op has 1 results and 0 outs, but either 2 results (on tensors) or 2 outs (on memrefs) are expected}}
  %w = moe.route %x, %g router(<top_k = 2>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x2xf32>
  return
}

// -----

func.func @route_in_two_forms(%x: tensor<?x64xf32>, %g: memref<8x64xf32>) {
  // expected-error @below {{'moe.route' op has an operand of type 'memref<8x64xf32>', but tensors are expected without outs}}
  %w, %ids = moe.route %x, %g router(<top_k = 2>) : (tensor<?x64xf32>, memref<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @select_too_many(%l: tensor<?x4xf32>) {
  // expected-error @below {{'moe.select_experts' op selects 5 experts per token, but there are only 4}}
  %w, %ids = moe.select_experts %l router(<top_k = 5>) : (tensor<?x4xf32>) -> (tensor<?x5xf32>, tensor<?x5xi32>)
  return
}

// -----

func.func @select_uneven_groups(%l: tensor<?x10xf32>) {
  // expected-error @below {{'moe.select_experts' op splits 10 experts into 4 groups, but groups of equal size are expected}}
  %w, %ids = moe.select_experts %l router(<top_k = 2, n_group = 4, topk_group = 2, group_score = max>) : (tensor<?x10xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @select_more_than_kept(%l: tensor<?x8xf32>) {
  // expected-error @below {{'moe.select_experts' op selects 4 experts per token, but the 1 kept groups hold only 2}}
  %w, %ids = moe.select_experts %l router(<top_k = 4, n_group = 4, topk_group = 1, group_score = max>) : (tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xi32>)
  return
}

// -----

func.func @select_pairs_of_single_experts(%l: tensor<?x8xf32>) {
  // expected-error @below {{'moe.select_experts' op scores groups by their two best experts, but each of its 8 groups holds 1}}
  %w, %ids = moe.select_experts %l router(<top_k = 2, n_group = 8, topk_group = 4, group_score = top2_sum>) : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @select_bias(%l: tensor<?x8xf32>, %b: tensor<7xf32>) {
  // expected-error @below {{'moe.select_experts' op `selection_bias` has E = 7 in dimension 0, but `logits` has E = 8}}
  %w, %ids = moe.select_experts %l selection_bias(%b) router(<top_k = 2>) : (tensor<?x8xf32>, tensor<7xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @logits_experts(%x: tensor<?x64xf32>, %g: tensor<8x64xf32>) {
  // expected-error @below {{'moe.router_logits' op `result` has E = 4 in dimension 1, but `weight` has E = 8}}
  %l = moe.router_logits %x, %g : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x4xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.experts and moe.shared_expert
//===----------------------------------------------------------------------===//

// (C1)
func.func @experts_widths(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x48xf32>) {
  // expected-error @below {{'moe.experts' op `down` has I = 48 in dimension 2, but `up` has I = 96}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x48xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_gate(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x1x96x64xf32>, %down: tensor<8x64x96xf32>) {
  // expected-error @below {{'moe.experts' op `up` has P = 1 in dimension 1, but the gated activation has P = 2}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x1x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return
}

// -----

// (C2)
func.func @experts_bias(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x1x96x64xf32>, %down: tensor<8x64x96xf32>, %b: tensor<8x2x96xf32>) {
  // expected-error @below {{'moe.experts' op `up_bias` has P = 2 in dimension 1, but the activation, which is not gated, has P = 1}}
  %y = moe.experts %x, %ids, %w, %up, %down up_bias(%b) activation(<kind = relu, gated = false>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x1x96x64xf32>, tensor<8x64x96xf32>, tensor<8x2x96xf32>) -> tensor<?x64xf32>
  return
}

// -----

// (C3)
func.func @experts_without_scales(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf8E4M3FN>, %down: tensor<8x64x96xf8E4M3FN>) {
  // expected-error @below {{'moe.experts' op has weight_format fp8_block and no scales, but scales are expected exactly when the format is not plain}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf8E4M3FN>, tensor<8x64x96xf8E4M3FN>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_with_scales_of_fewer_dimensions(%x: tensor<?x256xbf16>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x2x256x256xf8E4M3FN>, %down: tensor<2x256x256xf8E4M3FN>, %us: tensor<2x2x2x2xf32>, %ds: tensor<2x2xf32>) {
  // expected-error @below {{'moe.experts' op `down_scales` is 'tensor<2x2xf32>', but a shape of rank 3 is expected}}
  %y = moe.experts %x, %ids, %w, %up, %down scales(%us, %ds) activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<2x2x256x256xf8E4M3FN>, tensor<2x256x256xf8E4M3FN>, tensor<2x2x2x2xf32>, tensor<2x2xf32>) -> tensor<?x256xbf16>
  return
}

// -----

func.func @experts_with_scales_of_more_experts(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf4E2M1FN>, %down: tensor<8x64x96xf4E2M1FN>, %us: tensor<9x2x96x2xi8>, %ds: tensor<8x64x3xi8>) {
  // expected-error @below {{'moe.experts' op `up_scales` has E = 9 in dimension 0, but `up` has E = 8}}
  %y = moe.experts %x, %ids, %w, %up, %down scales(%us, %ds) activation(<kind = silu>) {weight_format = #moe<weight_format mxfp4>}
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf4E2M1FN>, tensor<8x64x96xf4E2M1FN>, tensor<9x2x96x2xi8>, tensor<8x64x3xi8>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_with_needless_scales(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>, %s: tensor<8x2x1x1xf32>) {
  // expected-error @below {{'moe.experts' op has weight_format plain and scales, but scales are expected exactly when the format is not plain}}
  %y = moe.experts %x, %ids, %w, %up, %down scales(%s, %s) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>, tensor<8x2x1x1xf32>, tensor<8x2x1x1xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_unknown(%x: tensor<?x64xf32>, %ids: tensor<?x?xi32>, %w: tensor<?x?xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>) {
  // expected-error @below {{'moe.experts' op has an unknown number of experts or of experts per token, but static ones are expected}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return
}

// -----

// (C4)
func.func @experts_in_no_slot(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x2x96x64xf32>, %down: tensor<4x64x96xf32>) {
  // expected-error @below {{'moe.experts' op has slots for 3 of 4 experts, but each expert needs one}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [0], etp = [], edp = [], slots = [0, 1, 2, -1]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x2x96x64xf32>, tensor<4x64x96xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @slot_of_no_expert(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x2x96x64xf32>, %down: tensor<4x64x96xf32>) {
  // expected-error @below {{'moe.experts' op has expert 4 in a slot, but there are only 4 experts}}
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) placement(<grid = @ranks, ep = [0], etp = [], edp = [], slots = [0, 1, 2, 4]>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x2x96x64xf32>, tensor<4x64x96xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @shared_expert_of_another_shape(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) {
  // expected-error @below {{'moe.shared_expert' op `result` has 64 in dimension 0, but ? is expected: no operand tells T}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<64x?xf32>
  return
}

// -----

func.func @shared_expert_of_rows_without_a_size(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) {
  // expected-error @below {{'moe.shared_expert' op `result` has ? in dimension 1, but `x` has H = 64}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @experts_of_rows_without_a_size(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x2x96x64xf32>, %down: tensor<4x64x96xf32>) {
  // expected-error @below {{'moe.experts' op `result` has ? in dimension 1, but `x` has H = 64}}
  %s = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x2x96x64xf32>, tensor<4x64x96xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @route_to_a_known_number_of_tokens(%x: tensor<?x64xf32>, %weight: tensor<8x64xf32>) {
  // expected-error @below {{'moe.route' op `ids` has 5 in dimension 0, but ? is expected: no operand tells T}}
  %w, %ids = moe.route %x, %weight router(<top_k = 2>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<5x2xi32>)
  return
}

// -----

func.func @shared_expert_gate(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>, %g: tensor<2x64xf32>) {
  // expected-error @below {{'moe.shared_expert' op `gate` has 2 in dimension 0, but 1 is expected}}
  %s = moe.shared_expert %x, %up, %down gate(%g) activation(<kind = silu>) : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>, tensor<2x64xf32>) -> tensor<?x64xf32>
  return
}

// -----

// (C2)
func.func @shared_expert_without_scales(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) {
  // expected-error @below {{'moe.shared_expert' op has weight_format mxfp4 and no scales, but scales are expected exactly when the format is not plain}}
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) {weight_format = #moe<weight_format mxfp4>} : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @shared_expert_with_scales_of_fewer_dimensions(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf8E4M3FN>, %down: tensor<64x80xf8E4M3FN>, %us: tensor<2x1xf32>, %ds: tensor<1x1xf32>) {
  // expected-error @below {{'moe.shared_expert' op `up_scales` is 'tensor<2x1xf32>', but a shape of rank 3 is expected}}
  %s = moe.shared_expert %x, %up, %down scales(%us, %ds) activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x64xf32>, tensor<2x80x64xf8E4M3FN>, tensor<64x80xf8E4M3FN>, tensor<2x1xf32>, tensor<1x1xf32>) -> tensor<?x64xf32>
  return
}

// -----

// Of segments that are neither optional nor variadic nobody else says that they have one operand.
func.func @rows_without_a_segment(%rows: memref<?x64xf32>, %y: memref<?x64xf32>) {
  // expected-error @below {{'moe.combine' op has operands in segments of array<i32: 0, 0, 0, 1, 0, 1>, but one in each of the first 1 is expected}}
  "moe.combine"(%rows, %y) <{operandSegmentSizes = array<i32: 0, 0, 0, 1, 0, 1>}> : (memref<?x64xf32>, memref<?x64xf32>) -> ()
  return
}
