// From a checkpoint in Hugging Face's format to `input` IR of the moe dialect.
#ifndef MOE_IMPORT_IMPORT_H
#define MOE_IMPORT_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlir {
class MLIRContext;
} // namespace mlir

namespace moe {

/// Element type of activations and plain weights in a program.
enum class ProgramType { F32, BF16 };

struct ImportOptions {
  /// One layer, by its index in the model; all MoE layers when absent.
  std::optional<int64_t> layer;
  /// Whether functions route tokens themselves; otherwise `expert_ids` and
  /// `expert_weights` are inputs.
  bool router = true;
  /// The program's type; the type that config.json names when absent.
  std::optional<ProgramType> type;
};

struct ImportedModel {
  /// One function `@layerL` per MoE layer.
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// What the user should know but need not act on, one sentence each.
  std::vector<std::string> notes;
};

/// Reads `folder`/config.json and, where they exist, the names and shapes of
/// the tensors beside it (model.safetensors, or model.safetensors.index.json
/// and the files that it names). Without tensors every known layout of each
/// weight is listed; with them, the one that is there, its shapes checked.
///
/// Errors hold one message per line: the file, the field or tensor, what was
/// found and what was expected.
llvm::Expected<ImportedModel> importCheckpoint(mlir::MLIRContext *context,
                                               llvm::StringRef folder,
                                               const ImportOptions &options);

/// Every `model_type` that can be imported, sorted.
std::vector<std::string> knownModelTypes();

} // namespace moe
#endif
