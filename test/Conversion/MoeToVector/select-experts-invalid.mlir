// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3 --split-input-file --verify-diagnostics

func.func @sparsemixer(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %i: memref<?x2xi32>) {
  // expected-error @+1 {{'moe.select_experts' op scores by `sparsemixer`, but the cpu target computes `softmax` and `sigmoid`}}
  moe.select_experts %l router(<top_k = 2, score = sparsemixer, jitter = 0.01>) outs(%w, %i) : (memref<?x8xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}

// -----

func.func @capacity(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %i: memref<?x2xi32>) {
  // expected-error @+1 {{'moe.select_experts' op drops tokens by the rule `per_batch`, but the cpu target drops none}}
  moe.select_experts %l router(<top_k = 2, capacity = per_batch, capacity_factor = 1.5>) outs(%w, %i) : (memref<?x8xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}

// -----

func.func @normalised_after_drop(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %i: memref<?x2xi32>) {
  // expected-error @+1 {{'moe.select_experts' op normalises by `after_drop`, but the cpu target drops no tokens and computes `none`, `sum` and `p_norm`}}
  moe.select_experts %l router(<top_k = 2, normalize = after_drop>) outs(%w, %i) : (memref<?x8xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}
