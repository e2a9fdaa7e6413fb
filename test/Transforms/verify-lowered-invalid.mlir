// RUN: moe-opt %s --moe-verify-lowered --split-input-file --verify-diagnostics

// expected-error @+1 {{'func.func' op is left in the phase `lowered`, which has only the llvm dialect, the grid and interfaces}}
func.func @not_lowered() { return }

// -----

// expected-error @+1 {{'llvm.func' op declares `expf`, but a program calls only entry points}}
llvm.func @expf(f32) -> f32

// -----

llvm.func @half_lowered(%a: i32) -> i32 {
  // expected-error @+1 {{'arith.addi' op is left in the phase `lowered`, which has only the llvm dialect}}
  %s = arith.addi %a, %a : i32
  llvm.return %s : i32
}
