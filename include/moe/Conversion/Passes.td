#ifndef MOE_CONVERSION_PASSES_TD
#define MOE_CONVERSION_PASSES_TD
include "mlir/Pass/PassBase.td"

def ConvertCollToMoertPass : Pass<"convert-coll-to-moert", "::mlir::ModuleOp"> {
  let summary = "turn collectives on buffers into calls of the runtime by one thread";
  let description = [{
    Phase: `scheduled`, on memrefs; a step of the way to `lowered`. Afterwards no `coll` op remains.

    A collective is called by thread 0 of a rank's team; `moert.team_barrier` follows, so that all threads see what arrived.
    Its axes become a group, numbered in order of first use over the module; the table stands in the module's `moert.groups`.
    `coll.index` becomes arithmetic on coordinates. `coll.rows` is summed by every thread, which ends the program where the sum
    exceeds the bound at the function's `moert.max_tokens`. `coll.share` becomes a copy of rows, for `moe-expand-copies`.

    ```mlir
    shard.grid @ranks(shape = 2x2)
    func.func @f(%a: memref<2x4xi32>, %b: memref<2x4xi32>) {
      coll.all_to_all %a on @ranks axes [1] outs(%b) : (memref<2x4xi32>, memref<2x4xi32>) -> ()
    ```
    becomes
    ```mlir
    module attributes {moert.groups = [array<i64: 1>]} {
      %thread = moert.thread : index
      %first = arith.cmpi eq, %thread, %c0 : index
      scf.if %first {
        moert.all_to_all %a, %b group 0 : memref<2x4xi32>, memref<2x4xi32>
      }
      moert.team_barrier
    ```
    Requires that all threads of a team reach each collective. Refuses ops in value form, and `coll.rows` in a function without an
    argument `moert.max_tokens`.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::moe::moert::MoertDialect"];
}

def LowerInterfacePass : Pass<"moe-lower-interface", "::mlir::ModuleOp"> {
  let summary = "give functions the signature that the runtime calls";
  let description = [{
    Phase: `scheduled`, on memrefs, weights packed; a step of the way to `lowered`.

    Each function named by a `moert.interface` gets the signature `moert_run_fn`, its `_prepare` companion `moert_prepare_fn`
    (moert/abi.h); arguments are read from the arrays of pointers. The number of tokens gives the first dimension of inputs and
    outputs where it is dynamic. Of the run function's arguments, those marked `moert.arena`, `moert.tokens` and `moert.max_tokens` stand anywhere; the others are
    inputs, packed weights and outputs, in this order. The sizes of the packed weights are written to the interface. A function
    without weights gets an empty companion.

    ```mlir
    func.func @f(%x: memref<?x4xf32>, %y: memref<?x4xf32>, %arena: memref<?xi8> {moert.arena}) {
      return
    }
    ```
    becomes
    ```mlir
    func.func @f(%ctx: !llvm.ptr, %thread: i32, %threads: i32, %tokens: i64, %max_tokens: i64,
                 %inputs: !llvm.ptr, %outputs: !llvm.ptr, %packed: !llvm.ptr, %arena: !llvm.ptr) -> i32 {
      %0 = llvm.load %inputs : !llvm.ptr -> !llvm.ptr
      ...
      return %ok : i32
    }
    ```
    Refuses arguments and results that do not fit the interface.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def ConvertMoertToLLVMPass : Pass<"convert-moert-to-llvm", "::mlir::ModuleOp"> {
  let summary = "call the runtime through the table at the head of the context";
  let description = [{
    Phase: a step of the way to `lowered`, after `moe-lower-interface` and `convert-scf-to-cf`. Afterwards `moert.interface` is the
    only `moert` op.

    An entry point is loaded from the table that the context points to and called; the function returns the status at once where
    it is not 0. Buffers become pointers; other conversions to llvm resolve the casts that stay.

    ```mlir
    moert.team_barrier
    ```
    becomes
    ```mlir
      %entries = llvm.load %ctx : !llvm.ptr -> !llvm.ptr
      %entry = llvm.load %entries : !llvm.ptr -> !llvm.ptr
      %status = llvm.call %entry(%ctx) : !llvm.ptr, (!llvm.ptr) -> i32
      %failed = llvm.icmp "ne" %status, %zero : i32
      cf.cond_br %failed, ^end(%status : i32), ^go
    ^end(%code: i32):
      return %code : i32
    ^go:
    ```
    Refuses calls inside structured control flow and in functions without the runtime's signature.
  }];
  let dependentDialects = ["::mlir::cf::ControlFlowDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}
#endif
