// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=2"' --moe-shard-layer --moe-verify-sharded --verify-roundtrip 2>/dev/null | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=2 shared=split"' --moe-shard-layer --moe-verify-sharded --verify-roundtrip 2>/dev/null \
// RUN:   | FileCheck %s --check-prefix=SPLIT
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=2 shared=split dispatcher=all_gather"' --moe-shard-layer --moe-verify-sharded 2>/dev/null \
// RUN:   | FileCheck %s --check-prefix=TOGETHER

#up = #moe.checkpoint<names = ["l.gate_proj", "l.up_proj"], file_shape = [80, 64], map = affine_map<(p, s, h) -> (s, h)>, part_dim = 0>

// The rank's own tokens, with weights as one group; the gated sum is made by combine.
// CHECK-LABEL: func.func @gated(
// CHECK-SAME: %[[SHARED_UP:[^ ]*]]: tensor<1x2x80x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [1, 2, 80, 64], splits = []>, moe.weight = #moe.checkpoint<names = ["l.gate_proj", "l.up_proj"], file_shape = [80, 64], map = affine_map<(d0, d1, d2, d3) -> (d2, d3)>, part_dim = 1>}
// CHECK-SAME: %[[SHARED_DOWN:[^ ]*]]: tensor<1x64x80xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [1, 64, 80], splits = []>}
// CHECK-SAME: %[[GATE:[^ ]*]]: tensor<1x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [1, 64], splits = []>}
// CHECK: %[[T:.*]] = tensor.dim
// CHECK: %[[G:.*]] = moe.token_gate %[[X:.*]], %[[GATE]]
// CHECK: %[[H:.*]] = moe.grouped_matmul %[[X]], %[[SHARED_UP]] rows(%[[T]]) activation(<kind = silu>) :
// CHECK: %[[S:.*]] = moe.grouped_matmul %[[H]], %[[SHARED_DOWN]] rows(%[[T]]) :
// CHECK: %[[Y:.*]] = moe.combine %{{.*}} weights(%{{.*}}) addend(%[[S]]) addend_gate(%[[G]])
// CHECK-NEXT: return %[[Y]]

// Everyone's tokens, a part of the width, partial sums added; the gate is of the rank's own tokens.
// SPLIT-LABEL: func.func @gated(
// SPLIT-SAME: %[[SHARED_UP:[^ ]*]]: tensor<1x2x40x64xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [1, 2, 80, 64], splits = [#moe.split<dim = 2, axes = [1, 2]>]>
// SPLIT-SAME: %[[SHARED_DOWN:[^ ]*]]: tensor<1x64x40xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [1, 64, 80], splits = [#moe.split<dim = 2, axes = [1, 2]>]>}
// SPLIT: %[[T:.*]] = tensor.dim
// SPLIT: %[[G:.*]] = moe.token_gate %[[X:.*]], %{{.*}}
// SPLIT: %[[COUNTS:.*]] = coll.all_gather %{{.*}} on @ranks axes [1, 2]
// SPLIT: %[[N:.*]] = coll.rows %[[COUNTS]]
// SPLIT: %[[XS:.*]] = coll.all_gather_v %[[X]] counts(%[[COUNTS]]) rows(%[[N]]) on @ranks axes [1, 2]
// SPLIT: %[[H:.*]] = moe.grouped_matmul %[[XS]], %[[SHARED_UP]] rows(%[[N]]) activation(<kind = silu>) :
// SPLIT: %[[P:.*]] = moe.grouped_matmul %[[H]], %[[SHARED_DOWN]] rows(%[[N]]) :
// SPLIT: %[[S:.*]] = coll.reduce_scatter_v %[[P]] counts(%[[COUNTS]]) rows(%[[T]]) on @ranks axes [1, 2]
// SPLIT: moe.combine %{{.*}} addend(%[[S]]) addend_gate(%[[G]])

// Where routed experts make partial sums of the same tokens, one collective adds up both.
// TOGETHER-LABEL: func.func @gated(
// TOGETHER: %[[XS:.*]] = coll.all_gather_v %arg0
// TOGETHER: %[[H:.*]] = moe.grouped_matmul %[[XS]], %arg5
// TOGETHER: %[[P:.*]] = moe.grouped_matmul %[[H]], %arg6
// TOGETHER: %[[G:.*]] = moe.token_gate %[[XS]], %arg7
// TOGETHER: %[[SUMS:.*]] = moe.combine %{{.*}} weights(%{{.*}}) addend(%[[P]]) addend_gate(%[[G]])
// TOGETHER-NEXT: %[[Y:.*]] = coll.reduce_scatter_v %[[SUMS]]
// TOGETHER-NEXT: return %[[Y]]
func.func @gated(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>,
    %shared_up: tensor<2x80x64xf32> {moe.weight = #up}, %shared_down: tensor<64x80xf32>, %shared_gate: tensor<1x64xf32>) -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  %s = moe.shared_expert %x, %shared_up, %shared_down gate(%shared_gate) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>, tensor<1x64xf32>) -> tensor<?x64xf32>
  %z = arith.addf %y, %s : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// -----

// Where the shared expert's result is used by itself, combine multiplies it by the gate.
// CHECK-LABEL: func.func @alone(
// CHECK: %[[G:.*]] = moe.token_gate
// CHECK: %[[S:.*]] = moe.grouped_matmul %{{.*}}, %{{.*}} rows(%{{.*}}) : (tensor<?x80xf32>
// CHECK: %[[Y:.*]] = moe.combine %[[S]] weights(%[[G]]) :
// CHECK: arith.mulf %[[Y]], %{{.*}} : tensor<?x64xf32>
func.func @alone(%x: tensor<?x64xf32>, %shared_up: tensor<2x80x64xf32>, %shared_down: tensor<64x80xf32>, %shared_gate: tensor<1x64xf32>)
    -> tensor<?x64xf32> {
  %s = moe.shared_expert %x, %shared_up, %shared_down gate(%shared_gate) activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>, tensor<1x64xf32>) -> tensor<?x64xf32>
  %z = arith.mulf %s, %x : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}
