#ifndef MOE_DIALECTS_COLL_COLLDIALECT_H
#define MOE_DIALECTS_COLL_COLLDIALECT_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Shard/IR/ShardDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace moe::coll {

/// `counts` for integers that each member sends in equal number, else `rows`.
llvm::StringRef defaultPayload(mlir::Operation *op);

/// Bytes that leave member `me` for each member; see Collective::getSentBytes.
llvm::SmallVector<double> sentBytes(mlir::Operation *op, int64_t me,
                                    llvm::ArrayRef<double> rows);

} // namespace moe::coll

#include "dialects/Coll/CollDialect.h.inc"
#include "dialects/Coll/CollInterfaces.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Coll/CollTypes.h.inc"

#define GET_OP_CLASSES
#include "dialects/Coll/CollOps.h.inc"

namespace moe::coll {

/// What every collective writes, so that their order is kept.
struct Communicator : mlir::SideEffects::Resource::Base<Communicator> {
  llvm::StringRef getName() final { return "Communicator"; }
};

/// The grid that `op` names, or null.
mlir::shard::GridOp lookupGrid(mlir::Operation *op,
                               mlir::FlatSymbolRefAttr grid);

/// Number of ranks in a group over `axes` of `grid`.
int64_t groupSize(mlir::shard::GridOp grid, llvm::ArrayRef<int64_t> axes);

/// Our name of an axis: from `coll.axes`, else its number.
std::string axisName(mlir::shard::GridOp grid, int64_t axis);

/// Whether two lists of axes name one group with one order of its members:
/// equal but for axes of one member.
bool sameGroup(mlir::shard::GridOp grid, llvm::ArrayRef<int64_t> axes,
               mlir::shard::GridOp otherGrid,
               llvm::ArrayRef<int64_t> otherAxes);

/// Registers how the ops turn into their buffer form.
void registerBufferizableOpInterfaceExternalModels(
    mlir::DialectRegistry &registry);

} // namespace moe::coll
#endif
