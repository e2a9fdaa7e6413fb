// RUN: moe-opt %s --convert-moe-to-vector=cpu=x86-64-v4 | FileCheck %s

// One panel: the team shares the rows.
// CHECK-LABEL: func @few_experts
func.func @few_experts(%x: memref<?x64xbf16>, %w: memref<2048xbf16>, %y: memref<?x8xf32>) {
  // CHECK: %[[T:.*]] = memref.dim %arg0
  // CHECK: %[[TILES:.*]] = arith.divui
  // CHECK: scf.for %{{.*}} = %{{.*}} to %[[TILES]]
  // CHECK: llvm.call @moe_panel_bf16_12x32_wide_ahead2
  // Rounded to the model's type.
  // CHECK: arith.trunci {{.*}} : vector<16xi32> to vector<16xi16>
  // CHECK: vector.maskedstore {{.*}} : memref<?x8xf32>, vector<16xi1>, vector<16xf32>
  // CHECK: moert.team_barrier
  moe.router_logits %x, %w packed(<groups = 1, parts = 1, columns = 8, depth = 64, width = 32, interleave = 2>) outs(%y)
      : (memref<?x64xbf16>, memref<2048xbf16>, memref<?x8xf32>) -> ()
  return
}

// CHECK-LABEL: func @in_f32
func.func @in_f32(%x: memref<?x64xbf16>, %w: memref<2048xf32>, %b: memref<32xf32>, %y: memref<?x32xf32>) {
  // CHECK: llvm.call @moe_panel_bf16_f32_12x32_ahead2
  // CHECK: vector.load {{.*}} : memref<32xf32>
  // CHECK-NOT: arith.trunci
  // CHECK: vector.store {{.*}} : memref<?x32xf32>, vector<16xf32>
  moe.router_logits %x, %w bias(%b) f32 packed(<groups = 1, parts = 1, columns = 32, depth = 64, width = 32>) outs(%y)
      : (memref<?x64xbf16>, memref<2048xf32>, memref<32xf32>, memref<?x32xf32>) -> ()
  return
}
