// RUN: moe-opt %s --split-input-file --verify-diagnostics --convert-moe-to-vector=cpu=x86-64-v3
// RUN: not moe-opt %s --convert-moe-to-vector=cpu=sparc 2>&1 | FileCheck %s
// CHECK: --cpu is 'sparc', but native, x86-64-v3 or x86-64-v4 is expected
// Only families that have code of their own are spelled, upon the level that they need.
// RUN: not moe-opt %s --convert-moe-to-vector=cpu=x86-64-v4:znver4 2>&1 | FileCheck %s --check-prefix=FAMILY
// RUN: not moe-opt %s --convert-moe-to-vector=cpu=x86-64-v3:sapphirerapids 2>&1 | FileCheck %s --check-prefix=FAMILY
// RUN: not moe-opt %s --convert-moe-to-vector=cpu=x86-64-v4: 2>&1 | FileCheck %s --check-prefix=FAMILY
// FAMILY: --cpu is 'x86-64-v{{.*}}:{{.*}}', but native, x86-64-v3 or x86-64-v4 is expected

func.func @raw_weight(%x: memref<?x64xf32>, %w: memref<48x64xf32>, %y: memref<?x48xf32>) {
  // expected-error @below {{has no lowering to vectors in this form}}
  moe.router_logits %x, %w outs(%y) : (memref<?x64xf32>, memref<48x64xf32>, memref<?x48xf32>) -> ()
  return
}

// -----

func.func @packed_for_another_unit(%x: memref<?x64xf32>, %w: memref<4096xf32>, %y: memref<?x48xf32>) {
  // expected-error @below {{has no lowering to vectors in this form}}
  moe.router_logits %x, %w packed(<groups = 1, parts = 1, columns = 48, depth = 64, width = 32>) outs(%y)
      : (memref<?x64xf32>, memref<4096xf32>, memref<?x48xf32>) -> ()
  return
}

// -----

func.func @strided_rows(%x: memref<?x64xf32, strided<[128, 1]>>, %w: memref<3072xf32>, %y: memref<?x48xf32>) {
  // expected-error @below {{has no lowering to vectors in this form}}
  moe.router_logits %x, %w packed(<groups = 1, parts = 1, columns = 48, depth = 64, width = 16>) outs(%y)
      : (memref<?x64xf32, strided<[128, 1]>>, memref<3072xf32>, memref<?x48xf32>) -> ()
  return
}

// -----

func.func @value_form(%x: tensor<?x64xf32>, %w: tensor<48x64xf32>) -> tensor<?x48xf32> {
  // expected-error @below {{has no lowering to vectors in this form}}
  %y = moe.router_logits %x, %w : (tensor<?x64xf32>, tensor<48x64xf32>) -> tensor<?x48xf32>
  return %y : tensor<?x48xf32>
}
