#ifndef MOE_DIALECTS_HOPPER_HOPPERDIALECT_TD
#define MOE_DIALECTS_HOPPER_HOPPERDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"

def Hopper_Dialect : Dialect {
  let name = "hopper";
  let cppNamespace = "::moe::hopper";
  let summary = "how one kernel for NVIDIA Hopper (sm_90a) is written";
  let description = [{
    Straight-line operations between `scf` control flow: a ring of shared-memory
    stages with its barriers, tensor (TMA) and gathered loads into it, wgmma on
    one stage, the wait that gives the accumulators out, an epilogue over f32
    scalars, and the ragged store.  Everything that is a consequence of a type
    (byte counts, descriptors, swizzles, which register holds which element) is
    derived from it and never written by hand.

    A position in a ring is one i32 that counts K blocks since the kernel began:
    stage = position mod stages, parity = (position / stages) & 1.

    Created by the kernel builders of `lib/Codegen`; removed by
    `convert-hopper-to-nvvm`, which has one pattern per op.

    Discardable attribute: `hopper.objects` on a `gpu.module`, its compiled code
    (array of #gpu.object), from `moe-compile-kernel` to `moe-serialize-kernels`.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = "void registerTypes();";
}

class Hopper_Op<string mnemonic, list<Trait> traits = []>
    : Op<Hopper_Dialect, mnemonic, traits>;

def Hopper_Axis : I32EnumAttr<"Axis", "an axis of a fragment", [
    I32EnumAttrCase<"Rows", 0, "rows">,
    I32EnumAttrCase<"Columns", 1, "columns">]> {
  let cppNamespace = "::moe::hopper";
}

#endif
