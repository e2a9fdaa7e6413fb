#ifndef MOE_DIALECTS_MOE_MOEDIALECT_H
#define MOE_DIALECTS_MOE_MOEDIALECT_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Moe/MoeDialect.h.inc"

#include "dialects/Moe/MoeEnums.h.inc"

namespace moe {

// A decimal parameter of an attribute, compared and hashed by its bits; see
// DoubleParameter.
struct Decimal {
  Decimal(double value) : value(value) {}
  operator double() const { return value; }
  bool operator==(const Decimal &other) const {
    return llvm::bit_cast<uint64_t>(value) ==
           llvm::bit_cast<uint64_t>(other.value);
  }
  // NOLINTNEXTLINE(readability-identifier-naming): found by name
  friend llvm::hash_code hash_value(const Decimal &decimal) {
    return llvm::hash_value(llvm::bit_cast<uint64_t>(decimal.value));
  }
  double value;
};

mlir::FailureOr<Decimal> parseDouble(mlir::AsmParser &parser);
void printDouble(mlir::AsmPrinter &printer, double value);

/// Elements that share a scale: squares of the last two dimensions in
/// fp8_block, runs of the last one in mxfp4.
inline constexpr int64_t fp8BlockSize = 128, mxfp4BlockSize = 32;

/// Registers how the ops turn into their buffer form.
void registerBufferizableOpInterfaceExternalModels(
    mlir::DialectRegistry &registry);

} // namespace moe

#define GET_ATTRDEF_CLASSES
#include "dialects/Moe/MoeAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/Moe/MoeOps.h.inc"

namespace moe {

/// The entries of a `moe.weight` attribute: one checkpoint, or an array of
/// alternatives. Null entries where the attribute is malformed.
llvm::SmallVector<CheckpointAttr>
checkpointAlternatives(mlir::Attribute weight);

} // namespace moe
#endif
