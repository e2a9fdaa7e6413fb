// RUN: moe-opt %s --convert-moe-to-kernels | FileCheck %s

// Logits are rounded to the type of the tokens: of f32 not at all.
// CHECK: name = "router_64_f32_f32_by
// CHECK-NOT: rounded
// CHECK-LABEL: func.func @exact
#g = #moe.checkpoint<names = ["g"], file_shape = [4, 64], map = affine_map<(e, h) -> (e, h)>>
shard.grid @ranks(shape = 1x1x1) {coll.axes = ["edp", "ep", "etp"]}
func.func @exact(%x: memref<?x64xf32>, %g: memref<4x64xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x64xf32>
  %l = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x4xf32>
  moe.router_logits %x, %g outs(%l) : (memref<?x64xf32>, memref<4x64xf32>, memref<?x4xf32>) -> ()
  moe.select_experts %l router(<top_k = 2>) outs(%w, %ids) : (memref<?x4xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}
moert.interface @exact on @ranks layer 0 experts 4 top_k 2 slots [0, 1, 2, 3] inputs [#moert.value<name = "x", type = tensor<?x64xf32>, split = []>]
  outputs [#moert.value<name = "ids", type = tensor<?x2xi32>, split = []>, #moert.value<name = "w", type = tensor<?x2xf32>, split = []>]
  weights [#moert.weight<name = "g", type = tensor<4x64xf32>, sources = [#g]>] packed [] arena <per_token = 16>
