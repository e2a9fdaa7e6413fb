// The one place that knows every dialect, interface model and pass of the
// compiler.
#ifndef MOE_PIPELINES_REGISTRATION_H
#define MOE_PIPELINES_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe {

/// Our dialects and the upstream ones that our IR uses, with their interface
/// models.
void registerAllDialects(mlir::DialectRegistry &registry);

/// The dialects that any phase of a compilation may create.
void insertCompilerDialects(mlir::DialectRegistry &registry);

/// Our passes, by flag, and the upstream ones that are useful beside them.
void registerAllPasses();

} // namespace moe
#endif
