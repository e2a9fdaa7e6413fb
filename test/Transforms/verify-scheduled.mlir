// RUN: moe-opt %s --moe-verify-scheduled | FileCheck %s

// What a scheduled function holds: arguments in the interface's order, one arena, views of it, ops in buffer form.
shard.grid @ranks(shape = 1)
moert.interface @layer0 on @ranks layer 0 experts 2 top_k 1 slots [0, 1]
  inputs [#moert.value<name = "expert_ids", type = tensor<?x1xi32>, split = [0]>]
  outputs [#moert.value<name = "order", type = tensor<?xi32>, split = [0]>] weights [] packed [] arena <constant = 64, per_token = 4>
// CHECK-LABEL: func.func @layer0
func.func @layer0(%ids: memref<?x1xi32>, %order: memref<?xi32>, %arena: memref<?xi8> {moert.arena}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %t = memref.dim %ids, %c0 : memref<?x1xi32>
  // CHECK: memref.view
  %off = memref.view %arena[%c0][] : memref<?xi8> to memref<3xi32>
  %pos = memref.view %arena[%c64][%t] : memref<?xi8> to memref<?x1xi32>
  // CHECK: moe.sort
  moe.sort %ids experts 2 slots [0, 1] window 2 outs(%order, %pos, %off) : (memref<?x1xi32>, memref<?xi32>, memref<?x1xi32>, memref<3xi32>) -> ()
  return
}
