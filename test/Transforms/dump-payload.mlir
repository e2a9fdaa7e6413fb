// RUN: %python %S/Inputs/write_routing.py %t.safetensors 3 0,1 1,7 4,5
// RUN: moe-opt %s --moe-place-experts='place="ranks=4 nodes=2"' --moe-shard-layer -o %t.mlir 2>/dev/null
// RUN: moe-opt %t.mlir --moe-dump-payload=routing=%t.safetensors -o /dev/null | FileCheck %s
// RUN: moe-opt %s --moe-place-experts='place="ranks=4 dedup=true"' --moe-shard-layer -o %t.mlir 2>/dev/null
// RUN: moe-opt %t.mlir --moe-dump-payload=routing=%t.safetensors -o /dev/null | FileCheck %s --check-prefix=DEDUP

// Tokens 0, 1 and 2 are on ranks 0, 1 and 2, rank 3 has none; two experts on each rank. Counts of two slots go to the three others: 24 bytes. Rank 0 keeps
// its pairs, rank 1 sends a row of 64 f32 to rank 0 and one to rank 3, rank 2 keeps its own.
// CHECK:      "layer": [
// CHECK:        "collective": "all_to_all",
// CHECK-NEXT:   "payload": "counts",
// CHECK-NEXT:   "axes": [
// CHECK-NEXT:     1,
// CHECK-NEXT:     2
// CHECK-NEXT:   ],
// CHECK-NEXT:   "bytes_sent": [
// CHECK-NEXT:     24,
// CHECK-NEXT:     24,
// CHECK-NEXT:     24,
// CHECK-NEXT:     24
// CHECK-NEXT:   ],
// CHECK-NEXT:   "bytes_between_nodes": [
// CHECK-NEXT:     16,
// CHECK:        "collective": "all_to_all_v",
// CHECK-NEXT:   "payload": "rows",
// CHECK:        "bytes_sent": [
// CHECK-NEXT:     0,
// CHECK-NEXT:     512,
// CHECK-NEXT:     0,
// CHECK-NEXT:     0
// CHECK-NEXT:   ],
// CHECK-NEXT:   "bytes_between_nodes": [
// CHECK-NEXT:     0,
// CHECK-NEXT:     256,
// CHECK-NEXT:     0,
// CHECK-NEXT:     0
// CHECK:        "collective": "all_to_all_v",
// CHECK-NEXT:   "payload": "rows",
// CHECK:        "bytes_sent": [
// CHECK-NEXT:     256,
// CHECK-NEXT:     0,
// CHECK-NEXT:     0,
// CHECK-NEXT:     256

// One count each; the ids and weights beside a row are two numbers of four bytes.
// DEDUP:      "payload": "counts",
// DEDUP:      "bytes_sent": [
// DEDUP-NEXT:   12,
// DEDUP:      "payload": "rows",
// DEDUP:      "bytes_sent": [
// DEDUP-NEXT:   0,
// DEDUP-NEXT:   512,
// DEDUP:      "payload": "ids",
// DEDUP:      "bytes_sent": [
// DEDUP-NEXT:   0,
// DEDUP-NEXT:   16,
// DEDUP:      "payload": "weights",
// DEDUP:      "bytes_sent": [
// DEDUP-NEXT:   0,
// DEDUP-NEXT:   16,
// DEDUP:      "payload": "rows",
func.func @layer(%x: tensor<?x64xf32> {moe.name = "x"}, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> (tensor<?x64xf32> {moe.name = "y"}) attributes {moe.layer = 3} {
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
