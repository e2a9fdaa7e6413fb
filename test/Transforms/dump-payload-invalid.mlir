// What cannot be predicted, and files that hold no routing.

// RUN: moe-opt %s --moe-place-experts='place="ranks=4"' --moe-shard-layer -o %t.mlir 2>/dev/null
// RUN: not moe-opt %t.mlir --moe-dump-payload=routing=%t.none 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: routing: '{{.*}}.none' cannot be read: {{.*}}
// RUN: printf 'short' > %t.short
// RUN: not moe-opt %t.mlir --moe-dump-payload=routing=%t.short 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: error: routing: '{{.*}}.short' is no safetensors file
// RUN: %python %S/Inputs/write_routing.py %t.other 1 0,1
// RUN: not moe-opt %t.mlir --moe-dump-payload=routing=%t.other 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: error: routing: '{{.*}}.other' has no tensor `layers.0.expert_ids`; `moe-run --record-routing` writes one
// RUN: %python %S/Inputs/write_routing.py %t.three 0 0,1,2
// RUN: not moe-opt %t.mlir --moe-dump-payload=routing=%t.three 2>&1 | FileCheck %s --check-prefix=THREE
// THREE: error: 'moe.route' op selects 2 experts, but the routing has 3
// RUN: %python %S/Inputs/write_routing.py %t.far 0 0,9
// RUN: not moe-opt %t.mlir --moe-dump-payload=routing=%t.far 2>&1 | FileCheck %s --check-prefix=FAR
// FAR: error: 'moe.sort' op meets expert 9 of 8 in the routing
// RUN: %python %S/Inputs/write_routing.py %t.good 0 0,1
// RUN: not moe-opt %s --moe-dump-payload=routing=%t.good 2>&1 | FileCheck %s --check-prefix=GRID
// GRID: error: {{.*}}stands beside 0 grids, but a sharded layer with its one grid is expected
func.func @layer(%x: tensor<?x64xf32> {moe.name = "x"}, %gate: tensor<8x64xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> (tensor<?x64xf32> {moe.name = "y"}) {
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
