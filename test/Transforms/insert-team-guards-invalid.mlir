// RUN: moe-opt %s --moe-insert-team-guards --verify-diagnostics

func.func @sum_of_tensors(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-error @+1 {{works on tensors, but buffers alone are expected}}
  %0 = linalg.add ins(%a, %b : tensor<?x64xf32>, tensor<?x64xf32>) outs(%y : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %0 : tensor<?x64xf32>
}
