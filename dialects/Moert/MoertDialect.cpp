#include "dialects/Moert/MoertDialect.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace moe::moert;

#include "dialects/Moert/MoertDialect.cpp.inc"

void MoertDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/Moert/MoertOps.cpp.inc"
      >();
}

bool moe::moert::isRuntimeElement(Type type) {
  return type.isF32() || type.isBF16() || type.isF16() ||
         type.isSignlessInteger(32) || type.isSignlessInteger(64);
}

BlockArgument moe::moert::markedArgument(FunctionOpInterface function,
                                         StringRef name) {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (function.getArgAttr(i, name))
      return function.getArgument(i);
  return {};
}

InterfaceOp moe::moert::lookupInterface(ModuleOp module, StringRef name) {
  for (InterfaceOp op : module.getOps<InterfaceOp>())
    if (op.getFunction() == name)
      return op;
  return {};
}

//===----------------------------------------------------------------------===//
// Discardable attributes
//===----------------------------------------------------------------------===//

LogicalResult MoertDialect::verifyOperationAttribute(Operation *op,
                                                     NamedAttribute attr) {
  StringRef name = attr.getName();
  if (name == "moert.collectives") {
    auto digest = dyn_cast<StringAttr>(attr.getValue());
    if (isa<InterfaceOp>(op) && digest && digest.size() == 32 &&
        llvm::all_of(digest.getValue(), llvm::isHexDigit))
      return success();
    return op->emitError() << "`moert.collectives` is 32 hexadecimal digits on "
                              "`moert.interface`, but found "
                           << attr.getValue() << " on '" << op->getName()
                           << "'";
  }
  if (name != groupsName)
    return op->emitError() << "`" << name
                           << "` is not an attribute of operations that the "
                              "moert dialect knows";
  auto groups = dyn_cast<ArrayAttr>(attr.getValue());
  if (isa<ModuleOp>(op) && groups &&
      llvm::all_of(groups, llvm::IsaPred<DenseI64ArrayAttr>))
    return success();
  return op->emitError() << "`" << name
                         << "` is an array of array<i64> on a module, but "
                            "found "
                         << attr.getValue() << " on '" << op->getName() << "'";
}

LogicalResult MoertDialect::verifyRegionArgAttribute(Operation *op, unsigned,
                                                     unsigned argument,
                                                     NamedAttribute attr) {
  StringRef name = attr.getName();
  bool isArena = name == arenaName;
  if (!isArena && name != tokensName && name != maxTokensName)
    return op->emitError() << "`" << name
                           << "` is not an attribute of arguments that the "
                              "moert dialect knows";
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || !isa<UnitAttr>(attr.getValue()))
    return op->emitError() << "`" << name
                           << "` is a unit attribute on an argument of a "
                              "function, but found "
                           << attr.getValue() << " on '" << op->getName()
                           << "'";
  Type type = function.getArgumentTypes()[argument];
  auto buffer = dyn_cast<MemRefType>(type);
  bool fits = isArena
                  ? buffer && buffer.getRank() == 1 && buffer.isDynamicDim(0) &&
                        buffer.getElementType().isSignlessInteger(8)
                  : type.isIndex();
  if (!fits)
    return op->emitError() << "`" << name << "` stands on an argument of type "
                           << type << ", but "
                           << (isArena ? "memref<?xi8>" : "index")
                           << " is expected";
  for (unsigned other = 0; other < argument; ++other)
    if (function.getArgAttr(other, name))
      return op->emitError() << "`" << name << "` stands on arguments " << other
                             << " and " << argument << ", but one is expected";
  return success();
}
