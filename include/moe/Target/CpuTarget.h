// Which x86-64 machine code is made for, and how LLVM dialect becomes a shared
// object.
#ifndef MOE_TARGET_CPUTARGET_H
#define MOE_TARGET_CPUTARGET_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include <string>

namespace moe {

/// A level of x86-64, what it has beyond that level, and the processor that
/// code is tuned for. Code runs on each machine that has level and features.
struct CpuTarget {
  std::string cpu; // "x86-64-v3" or "x86-64-v4"; "x86-64" beside a device
  llvm::SmallVector<std::string, 1> features; // "avx512bf16"
  std::string tuning; // "sapphirerapids"; empty: Zen 4 and 5, and all others

  bool hasAvx512() const { return cpu == "x86-64-v4"; }
  bool hasAvx512Bf16() const {
    return llvm::is_contained(features, "avx512bf16");
  }
  bool isForSapphireRapids() const { return tuning == "sapphirerapids"; }
};

/// Resolves `native` to the level of this machine, and checks the other names.
/// On failure `error` says what was found and what is possible.
mlir::FailureOr<CpuTarget> resolveCpuTarget(llvm::StringRef name,
                                            std::string &error);

/// Spelling in `moe.options`: the level, then "+feature" for each feature, then
/// ":tuning" where there is one.
std::string spellCpuTarget(const CpuTarget &target);
mlir::FailureOr<CpuTarget> parseCpuTarget(llvm::StringRef spelling);

/// Translates a module of the LLVM dialect, optimises it and links it to a
/// shared object that exports the module's public functions and imports
/// nothing. Emits errors on the module.
mlir::LogicalResult emitSharedObject(mlir::ModuleOp module,
                                     const CpuTarget &target,
                                     llvm::SmallVectorImpl<char> &object);

} // namespace moe
#endif
