// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=8 ep=4 etp=2"' --verify-roundtrip 2>%t.log | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK --input-file=%t.log
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="edp=2 ranks=6 boundary=replicated dispatcher=all_gather tokens=4096 phase=decode"' 2>/dev/null | FileCheck %s --check-prefix=REPLICAS
// RUN: moe-opt %s --split-input-file --moe-place-experts='place="ranks=5"' 2>/dev/null | FileCheck %s --check-prefix=UNEVEN

// A layer and its grid; ep, etp and edp are axes 1, 2 and 0.
// CHECK: module attributes {moe.options = {dtype = "f32", place = "ranks=8 ep=4 etp=2 edp=1 dispatcher=all_to_all dedup=false boundary=split shared=replicated"}}
// CHECK: shard.grid @ranks(shape = 1x4x2) {coll.axes = ["edp", "ep", "etp"]}
// CHECK: placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1, 2, 3, 4, 5, 6, 7]>)
// REMARK: [[@LINE+15]]:8: remark: pinned by --place: 8 experts of width 96 over ranks=8 as ep=4 x etp=2 x edp=1: 2 slots per rank, dispatcher=all_to_all, boundary=split
// REMARK: remark: no `machine` is given, so memory is not checked

// With edp alone, ep fills the ranks.
// REPLICAS: place = "ranks=6 ep=3 etp=1 edp=2 dispatcher=all_gather dedup=false boundary=replicated shared=replicated tokens=4096 phase=decode"
// REPLICAS: shard.grid @ranks(shape = 2x3x1)
// REPLICAS: slots = [0, 1, 2, 3, 4, 5, 6, 7, -1], dispatcher = all_gather, boundary = replicated>

// ep need not divide the experts: what is left over is empty.
// UNEVEN: shard.grid @ranks(shape = 1x5x1)
// UNEVEN: slots = [0, 1, 2, 3, 4, 5, 6, 7, -1, -1]>

module attributes {moe.options = {dtype = "f32"}} {
func.func @one_layer(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
}

// -----

// Layers that are alike share one remark; a shared expert is placed too, and has no slots.
// REMARK: remark: pinned by --place: 8 experts of width 96 {{.*}} (and 1 more alike)
// REMARK: remark: pinned by --place: shared expert of width 80: replicated over ranks=8
// REMARK-NOT: remark: pinned
// CHECK-LABEL: func @first
// CHECK: moe.experts {{.*}} placement(
// CHECK-LABEL: func @second
// CHECK: moe.experts {{.*}} placement(
// CHECK: moe.shared_expert {{.*}} placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = []>)
func.func @first(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
func.func @second(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>,
    %shared_up: tensor<2x80x64xf32>, %shared_down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  %s = moe.shared_expert %x, %shared_up, %shared_down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  %z = arith.addf %y, %s : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}
