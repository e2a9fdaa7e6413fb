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

FailureOr<func::FuncOp> moe::moert::lookupFunction(InterfaceOp interface) {
  auto function = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(
      interface, interface.getFunctionAttr());
  if (!function || function.isExternal())
    return interface.emitOpError()
           << "names `" << interface.getFunction()
           << "`, but a func.func with a body is expected";
  return function;
}

//===----------------------------------------------------------------------===//
// Discardable attributes
//===----------------------------------------------------------------------===//

static bool isCall(Attribute entry) {
  auto call = dyn_cast<DictionaryAttr>(entry);
  return call && call.size() == 3 && call.getAs<StringAttr>("collective") &&
         call.getAs<StringAttr>("payload") &&
         call.getAs<DenseI64ArrayAttr>("axes");
}

// What a manifest can say.
static bool isPlainData(Attribute value) {
  if (auto number = dyn_cast<IntegerAttr>(value))
    return number.getType().isSignlessInteger() &&
           number.getType().getIntOrFloatBitWidth() <= 64;
  if (auto list = dyn_cast<ArrayAttr>(value))
    return llvm::all_of(list, isPlainData);
  auto fields = dyn_cast<DictionaryAttr>(value);
  return fields && llvm::all_of(fields, [](NamedAttribute field) {
           return isPlainData(field.getValue());
         });
}

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
  auto refuse = [&](StringRef expected) {
    return op->emitError() << "`" << name << "` is " << expected
                           << ", but found " << attr.getValue() << " on '"
                           << op->getName() << "'";
  };
  if (name == kernelsName) {
    auto kernels = dyn_cast<ArrayAttr>(attr.getValue());
    if (isa<ModuleOp>(op) && kernels &&
        llvm::all_of(kernels, llvm::IsaPred<KernelAttr>))
      return success();
    return refuse("an array of #moert.kernel on a module");
  }
  if (name == sumsName) {
    auto sums = dyn_cast<DictionaryAttr>(attr.getValue());
    if (isa<ModuleOp>(op) && sums && llvm::all_of(sums, [](NamedAttribute sum) {
          return isa<IntegerAttr>(sum.getValue());
        }))
      return success();
    return refuse("a dictionary of i32 on a module");
  }
  if (name == tensorMapsName) {
    auto count = dyn_cast<IntegerAttr>(attr.getValue());
    if (isa<InterfaceOp>(op) && count && !count.getValue().isNegative())
      return success();
    return refuse("a number that is not negative on `moert.interface`");
  }
  if (name == variantsName) {
    auto variants = dyn_cast<ArrayAttr>(attr.getValue());
    if (isa<InterfaceOp>(op) && variants &&
        llvm::all_of(variants, llvm::IsaPred<DictionaryAttr>) &&
        isPlainData(variants))
      return success();
    return refuse("an array of dictionaries of numbers, flags and arrays on "
                  "`moert.interface`");
  }
  if (name == stepsName) {
    auto steps = dyn_cast<ArrayAttr>(attr.getValue());
    if (isa<InterfaceOp>(op) && steps &&
        llvm::all_of(steps, llvm::IsaPred<StringAttr>))
      return success();
    return refuse("an array of strings on `moert.interface`");
  }
  if (name == "moert.calls") {
    auto calls = dyn_cast<ArrayAttr>(attr.getValue());
    if (isa<InterfaceOp>(op) && calls && llvm::all_of(calls, isCall))
      return success();
    return refuse("a list of dictionaries of `collective`, `payload` and "
                  "`axes` on `moert.interface`");
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
