// From a lowered module to an artifact: manifest, program and the IR it came
// from (docs/Artifact.md).
#ifndef MOE_TARGET_ARTIFACT_H
#define MOE_TARGET_ARTIFACT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace moe {

/// The manifest of a module that holds `moert.interface` ops, the grid, and the
/// module attributes `moert.groups` and `moe.options`. Emits errors on the
/// module.
mlir::FailureOr<std::string> writeManifest(mlir::ModuleOp module);

/// Compiles the LLVM dialect in `module` and writes the artifact to `path`,
/// whole or not at all.
mlir::LogicalResult writeArtifact(mlir::ModuleOp module, llvm::StringRef path);

} // namespace moe
#endif
