#ifndef MOE_DIALECTS_MOERT_MOERTDIALECT_H
#define MOE_DIALECTS_MOERT_MOERTDIALECT_H

#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Moert/MoertDialect.h.inc"

#include "dialects/Moert/MoertEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Moert/MoertAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/Moert/MoertOps.h.inc"

namespace moe::moert {

/// Names of the discardable attributes; see the dialect's description.
inline constexpr llvm::StringLiteral groupsName = "moert.groups";
inline constexpr llvm::StringLiteral kernelsName = "moert.kernels";
inline constexpr llvm::StringLiteral sumsName = "moert.sums";
inline constexpr llvm::StringLiteral tensorMapsName = "moert.tensor_maps";
inline constexpr llvm::StringLiteral variantsName = "moert.variants";
inline constexpr llvm::StringLiteral stepsName = "moert.steps";
inline constexpr llvm::StringLiteral arenaName = "moert.arena";
inline constexpr llvm::StringLiteral tokensName = "moert.tokens";
inline constexpr llvm::StringLiteral maxTokensName = "moert.max_tokens";

/// True for the element types that the runtime knows (moert_dtype).
bool isRuntimeElement(mlir::Type type);

/// The argument of `function` that carries the unit attribute `name`, or null.
mlir::BlockArgument markedArgument(mlir::FunctionOpInterface function,
                                   llvm::StringRef name);

/// The interface of the function called `name`, or null.
InterfaceOp lookupInterface(mlir::ModuleOp module, llvm::StringRef name);
/// The function that an interface names; fails, with a message, unless it is a
/// func.func with a body.
mlir::FailureOr<mlir::func::FuncOp> lookupFunction(InterfaceOp interface);

} // namespace moe::moert
#endif
