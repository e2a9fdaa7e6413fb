// RUN: moe-opt %s --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

#gate_up = #moe.checkpoint<names = ["l.{e}.w1", "l.{e}.w3"], file_shape = [96, 64], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>

module attributes {moe.phase = "input", moe.options = {dtype = "f32"}} {
// CHECK-LABEL: func @mixtral_layer
func.func @mixtral_layer(%x: tensor<?x64xf32> {moe.name = "x"}, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32> {moe.weight = #gate_up},
    %down: tensor<8x64x96xf32>) -> (tensor<?x64xf32> {moe.name = "y"}) attributes {moe.layer = 0 : i64} {
  // CHECK: moe.route %{{.*}}, %{{.*}} router(<top_k = 2, normalize = sum>)
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: moe.experts {{.*}} activation(<kind = silu>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @deepseek_router
func.func @deepseek_router(%x: tensor<?x64xf32>, %gate: tensor<16x64xf32>, %b: tensor<16xf32>) -> (tensor<?x4xf32>, tensor<?x4xi32>) {
  // CHECK: selection_bias(%{{.*}}) router(<top_k = 4, score = sigmoid, n_group = 4, topk_group = 2, group_score = top2_sum, normalize = sum, normalize_epsilon = 1.0e-20, scale = 2.5, matmul = f32>)
  %w, %ids = moe.route %x, %gate selection_bias(%b)
      router(<top_k = 4, score = sigmoid, n_group = 4, topk_group = 2, group_score = top2_sum, normalize = sum, normalize_epsilon = 1.0e-20, scale = 2.5, matmul = f32>)
      : (tensor<?x64xf32>, tensor<16x64xf32>, tensor<16xf32>) -> (tensor<?x4xf32>, tensor<?x4xi32>)
  return %w, %ids : tensor<?x4xf32>, tensor<?x4xi32>
}

// The examples of the operations' documentation.
// CHECK-LABEL: func @logical_layer
func.func @logical_layer(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>, %b: tensor<8xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>,
    %ub: tensor<8x2x96xf32>, %db: tensor<8x64xf32>, %sup: tensor<2x80x64xf32>, %sdown: tensor<64x80xf32>, %g: tensor<1x64xf32>) {
  // CHECK: moe.route %{{.*}}, %{{.*}} bias(%{{.*}}) selection_bias(%{{.*}}) router(<top_k = 2, normalize = sum>)
  %w, %ids = moe.route %x, %gate bias(%b) selection_bias(%b) router(<top_k = 2, normalize = sum>)
      : (tensor<?x64xf32>, tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: moe.experts {{.*}} up_bias(%{{.*}}) down_bias(%{{.*}}) activation(<kind = silu, alpha = 1.702, limit = 7.0, up_offset = 1.0>) weight_on_input placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7], dispatcher = all_gather>)
  %y = moe.experts %x, %ids, %w, %up, %down up_bias(%ub) down_bias(%db) activation(<kind = silu, alpha = 1.702, limit = 7.0, up_offset = 1.0>) weight_on_input
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7], dispatcher = all_gather>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>, tensor<8x2x96xf32>, tensor<8x64xf32>) -> tensor<?x64xf32>
  // CHECK: moe.shared_expert %{{.*}}, %{{.*}}, %{{.*}} gate(%{{.*}}) activation(<kind = silu>)
  %s = moe.shared_expert %x, %sup, %sdown gate(%g) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>, tensor<1x64xf32>) -> tensor<?x64xf32>
  return
}

// CHECK-LABEL: func @quantized_product
func.func @quantized_product(%x: tensor<?x256xbf16>, %w8: tensor<2x130x256xf8E4M3FN>, %s8: tensor<2x2x2xf32>, %w4: tensor<2x130x256xf4E2M1FN>,
    %s4: tensor<2x130x8xi8>, %n: index, %o: tensor<3xi32>) {
  // CHECK: moe.grouped_matmul {{.*}} scales(%{{.*}}) : ({{.*}}tensor<2x2x2xf32>) -> tensor<?x130xbf16>
  %a = moe.grouped_matmul %x, %w8 rows(%n) offsets(%o) scales(%s8)
      : (tensor<?x256xbf16>, tensor<2x130x256xf8E4M3FN>, index, tensor<3xi32>, tensor<2x2x2xf32>) -> tensor<?x130xbf16>
  // CHECK: moe.grouped_matmul {{.*}} scales(%{{.*}}) : ({{.*}}tensor<2x130x8xi8>) -> tensor<?x130xbf16>
  %b = moe.grouped_matmul %x, %w4 rows(%n) offsets(%o) scales(%s4)
      : (tensor<?x256xbf16>, tensor<2x130x256xf4E2M1FN>, index, tensor<3xi32>, tensor<2x130x8xi8>) -> tensor<?x130xbf16>
  return
}

// CHECK-LABEL: func @weight_formats
func.func @weight_formats(%x: tensor<?x256xbf16>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x128x256xf8E4M3FN>, %down: tensor<8x256x128xf8E4M3FN>,
    %us: tensor<8x2x1x2xf32>, %ds: tensor<8x2x1xf32>) {
  // CHECK: moe.experts {{.*}} scales(%{{.*}}, %{{.*}}) activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
  %y = moe.experts %x, %ids, %w, %up, %down scales(%us, %ds) activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x128x256xf8E4M3FN>, tensor<8x256x128xf8E4M3FN>, tensor<8x2x1x2xf32>, tensor<8x2x1xf32>) -> tensor<?x256xbf16>
  return
}

// CHECK-LABEL: func @pieces
func.func @pieces(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>, %up: tensor<2x2x48x64xf32>, %down: tensor<2x64x48xf32>, %all: tensor<2x4x2xi32>,
    %n: index, %wg: tensor<1x64xf32>, %bias: tensor<2x64xf32>) {
  // CHECK: moe.router_logits %{{.*}}, %{{.*}} f32 : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  %f = moe.router_logits %x, %gate f32 : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  // CHECK: moe.router_logits %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  %l = moe.router_logits %x, %gate : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  // CHECK: moe.select_experts %{{.*}} router(<top_k = 2>) : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %w, %ids = moe.select_experts %l router(<top_k = 2>) : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: moe.sort %{{.*}} experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8
  %order, %pos, %off = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8
      : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<9xi32>)
  // CHECK: moe.sort %{{.*}} first(%{{.*}}) experts 3 slots [2, 0, 1, -1] window 2
  %o2, %p2, %off2 = moe.sort %ids first(%n) experts 3 slots [2, 0, 1, -1] window 2
      : (tensor<?x2xi32>, index) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3xi32>)
  // CHECK: moe.counts %{{.*}} : (tensor<9xi32>) -> tensor<4x2xi32>
  %c = moe.counts %off : (tensor<9xi32>) -> tensor<4x2xi32>
  // CHECK: moe.sort %{{.*}} experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 group 2 :
  %o4, %p4, %off4 = moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 group 2
      : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<5xi32>)
  // CHECK: moe.take %{{.*}} : (tensor<?x2xi32>, tensor<?xi32>, index) -> tensor<?x2xi32>
  %ri = moe.take %ids, %o4 rows(%n) top_k 2 : (tensor<?x2xi32>, tensor<?xi32>, index) -> tensor<?x2xi32>
  // CHECK: moe.take %{{.*}}, %{{.*}} rows(%{{.*}}) top_k 2 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x64xf32>
  %r = moe.take %x, %order rows(%n) top_k 2 : (tensor<?x64xf32>, tensor<?xi32>, index) -> tensor<?x64xf32>
  // CHECK: moe.take {{.*}} top_k 2 weights(%{{.*}})
  %rw = moe.take %x, %order rows(%n) top_k 2 weights(%w) : (tensor<?x64xf32>, tensor<?xi32>, index, tensor<?x2xf32>) -> tensor<?x64xf32>
  // CHECK: moe.regroup %{{.*}} rows(%{{.*}}) : (tensor<2x4x2xi32>, index) -> (tensor<?xi32>, tensor<3xi32>)
  %order2, %off3 = moe.regroup %all rows(%n) : (tensor<2x4x2xi32>, index) -> (tensor<?xi32>, tensor<3xi32>)
  // CHECK: moe.grouped_matmul %{{.*}}, %{{.*}} rows(%{{.*}}) offsets(%{{.*}}) gather(%{{.*}}) activation(<kind = silu>)
  %h = moe.grouped_matmul %r, %up rows(%n) offsets(%off3) gather(%order2) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x2x48x64xf32>, index, tensor<3xi32>, tensor<?xi32>) -> tensor<?x48xf32>
  // CHECK: moe.grouped_matmul {{.*}} gather(%{{.*}}) row_weights(%{{.*}}) activation(<kind = silu>) {gather_divisor = 2 : i64}
  %h2 = moe.grouped_matmul %x, %up rows(%n) offsets(%off3) gather(%order) row_weights(%w) activation(<kind = silu>) {gather_divisor = 2}
      : (tensor<?x64xf32>, tensor<2x2x48x64xf32>, index, tensor<3xi32>, tensor<?xi32>, tensor<?x2xf32>) -> tensor<?x48xf32>
  // CHECK: moe.grouped_matmul {{.*}} scatter(%{{.*}}) bias(%{{.*}})
  %p = moe.grouped_matmul %h, %down rows(%n) offsets(%off3) scatter(%order2) bias(%bias)
      : (tensor<?x48xf32>, tensor<2x64x48xf32>, index, tensor<3xi32>, tensor<?xi32>, tensor<2x64xf32>) -> tensor<?x64xf32>
  // CHECK: moe.token_gate %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<1x64xf32>) -> tensor<?x1xf32>
  %g = moe.token_gate %x, %wg : (tensor<?x64xf32>, tensor<1x64xf32>) -> tensor<?x1xf32>
  // CHECK: moe.combine %{{.*}}, %{{.*}} weights(%{{.*}}) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  %y = moe.combine %p, %pos weights(%w) : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  // CHECK: moe.combine %{{.*}} addend(%{{.*}}) addend_gate(%{{.*}}) : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  %z = moe.combine %y addend(%x) addend_gate(%g) : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  return
}

// The same in buffer form.
// CHECK-LABEL: func @buffers
func.func @buffers(%x: memref<?x64xf32>, %gate: memref<8x64xf32>, %l: memref<?x8xf32>, %w: memref<?x2xf32>, %ids: memref<?x2xi32>, %order: memref<?xi32>,
    %pos: memref<?x2xi32>, %off: memref<9xi32>, %c: memref<4x2xi32>, %r: memref<?x64xf32>, %off3: memref<3xi32>, %up: memref<2x2x48x64xf32>,
    %down: memref<2x64x48xf32>, %h: memref<?x48xf32>, %wg: memref<1x64xf32>, %g: memref<?x1xf32>, %n: index,
    %eup: memref<8x2x96x64xf32>, %edown: memref<8x64x96xf32>, %sup: memref<2x80x64xf32>, %sdown: memref<64x80xf32>) {
  // CHECK: moe.route {{.*}} outs(%{{.*}}, %{{.*}})
  moe.route %x, %gate router(<top_k = 2>) outs(%w, %ids) : (memref<?x64xf32>, memref<8x64xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  // CHECK: moe.experts {{.*}} outs(
  moe.experts %x, %ids, %w, %eup, %edown activation(<kind = silu>) outs(%r)
      : (memref<?x64xf32>, memref<?x2xi32>, memref<?x2xf32>, memref<8x2x96x64xf32>, memref<8x64x96xf32>, memref<?x64xf32>) -> ()
  // CHECK: moe.shared_expert {{.*}} outs(
  moe.shared_expert %x, %sup, %sdown activation(<kind = silu>) outs(%r) : (memref<?x64xf32>, memref<2x80x64xf32>, memref<64x80xf32>, memref<?x64xf32>) -> ()
  // CHECK: moe.router_logits {{.*}} outs(
  moe.router_logits %x, %gate outs(%l) : (memref<?x64xf32>, memref<8x64xf32>, memref<?x8xf32>) -> ()
  // CHECK: moe.select_experts {{.*}} outs(
  moe.select_experts %l router(<top_k = 2>) outs(%w, %ids) : (memref<?x8xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  // CHECK: moe.sort {{.*}} outs(
  moe.sort %ids experts 8 slots [0, 1, 2, 3, 4, 5, 6, 7] window 8 outs(%order, %pos, %off) : (memref<?x2xi32>, memref<?xi32>, memref<?x2xi32>, memref<9xi32>) -> ()
  // CHECK: moe.counts {{.*}} outs(
  moe.counts %off outs(%c) : (memref<9xi32>, memref<4x2xi32>) -> ()
  // CHECK: moe.take {{.*}} outs(
  moe.take %x, %order rows(%n) top_k 2 outs(%r) : (memref<?x64xf32>, memref<?xi32>, index, memref<?x64xf32>) -> ()
  // CHECK: moe.regroup {{.*}} outs(
  moe.regroup %c rows(%n) outs(%order, %off3) : (memref<4x2xi32>, index, memref<?xi32>, memref<3xi32>) -> ()
  // CHECK: moe.grouped_matmul {{.*}} outs(
  moe.grouped_matmul %r, %up rows(%n) offsets(%off3) gather(%order) activation(<kind = silu>) outs(%h)
      : (memref<?x64xf32>, memref<2x2x48x64xf32>, index, memref<3xi32>, memref<?xi32>, memref<?x48xf32>) -> ()
  // CHECK: moe.token_gate {{.*}} outs(
  moe.token_gate %x, %wg outs(%g) : (memref<?x64xf32>, memref<1x64xf32>, memref<?x1xf32>) -> ()
  // CHECK: moe.combine {{.*}} outs(
  moe.combine %r, %pos weights(%w) outs(%x) : (memref<?x64xf32>, memref<?x2xi32>, memref<?x2xf32>, memref<?x64xf32>) -> ()
  return
}
}
