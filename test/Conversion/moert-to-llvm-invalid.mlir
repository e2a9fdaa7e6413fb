// RUN: moe-opt %s --convert-moert-to-llvm --split-input-file --verify-diagnostics

func.func @without_context() -> i32 {
  %ok = arith.constant 0 : i32
  // expected-error @+1 {{'moert.team_barrier' op stands outside of a function with the runtime's signature (moe-lower-interface), but belongs into one}}
  moert.team_barrier
  return %ok : i32
}

// -----

func.func @inside_a_branch(%ctx: !llvm.ptr, %thread: i32, %threads: i32, %c: i1) -> i32 {
  %ok = arith.constant 0 : i32
  scf.if %c {
    // expected-error @+1 {{'moert.team_barrier' op stands inside 'scf.if', but structured control flow is expected to be lowered before}}
    moert.team_barrier
  }
  return %ok : i32
}
