// RUN: moe-opt %s --moe-plan-arena --split-input-file --verify-diagnostics

shard.grid @ranks(shape = 2)
// expected-error @+1 {{names `lowered`, but a func.func with a body is expected}}
moert.interface @lowered on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
llvm.func @lowered() {
  llvm.return
}

// -----

shard.grid @ranks(shape = 2)
// expected-error @+1 {{names `elsewhere`, but a func.func with a body is expected}}
moert.interface @elsewhere on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>
func.func private @elsewhere()
