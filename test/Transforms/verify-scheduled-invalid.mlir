// RUN: moe-opt %s --moe-verify-scheduled --split-input-file --verify-diagnostics

// expected-error @+1 {{has no `moert.interface` in the phase `scheduled`}}
func.func @unknown_to_callers() { return }

// -----

shard.grid @ranks(shape = 1)
moert.interface @allocates on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
func.func @allocates() {
  // expected-error @+1 {{'memref.alloc' op is left in the phase `scheduled`, whose buffers all stand in the arena}}
  %b = memref.alloc() : memref<4xf32>
  return
}

// -----

shard.grid @ranks(shape = 1)
moert.interface @values on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
func.func @values() {
  // expected-error @+1 {{'tensor.empty' op has a result of type 'tensor<4xf32>' in the phase `scheduled`, which is on memrefs}}
  %t = tensor.empty() : tensor<4xf32>
  return
}

// -----

shard.grid @ranks(shape = 1)
moert.interface @routes on @ranks layer 0 experts 2 top_k 1 slots [0, 1] inputs [] outputs [] weights [] packed [] arena <>
func.func @routes(%x: memref<?x4xf32>, %g: memref<2x4xf32>, %w: memref<?x1xf32>, %i: memref<?x1xi32>) {
  // expected-error @+1 {{'moe.route' op is left in the phase `scheduled`, which has only its pieces}}
  moe.route %x, %g router(<top_k = 1>) outs(%w, %i) : (memref<?x4xf32>, memref<2x4xf32>, memref<?x1xf32>, memref<?x1xi32>) -> ()
  return
}
