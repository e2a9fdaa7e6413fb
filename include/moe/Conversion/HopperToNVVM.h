// Lowers hopper ops to nvvm, llvm, arith and scf: one pattern per op.
#ifndef MOE_CONVERSION_HOPPERTONVVM_H
#define MOE_CONVERSION_HOPPERTONVVM_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class RewritePatternSet;
class TypeConverter;
} // namespace mlir

namespace moe {

#define GEN_PASS_DECL_CONVERTHOPPERTONVVMPASS
#include "moe/Conversion/HopperToNVVM.h.inc"

/// Registers `convert-hopper-to-nvvm`.
void registerConvertHopperToNVVM();

} // namespace moe

#endif
