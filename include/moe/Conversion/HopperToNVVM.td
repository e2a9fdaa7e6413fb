#ifndef MOE_CONVERSION_HOPPERTONVVM_TD
#define MOE_CONVERSION_HOPPERTONVVM_TD

include "mlir/Pass/PassBase.td"

def ConvertHopperToNVVMPass : Pass<"convert-hopper-to-nvvm"> {
  let summary = "lowers hopper ops to nvvm, llvm, arith and scf";
  let description = [{
    One pattern per op, each looking only at its own op.  Requires kernels as
    `llvm.func` (a `gpu.func` cannot carry tensor maps); guarantees that no hopper op or
    type is left.  Loops stay `scf`.

    ```mlir
    hopper.acquire %ring[%position] : !hopper.ring<4, <128x64xbf16>>
    ```
    becomes the address of the stage's `empty` barrier and
    ```mlir
    nvvm.mbarrier.try_wait.parity %empty, %parity, %ticks : !llvm.ptr<3>, i32, i32
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect"];
}

#endif
