#include "mutate.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace fuzz;

static int64_t mutateInteger(int64_t value, Choices &choices) {
  static const int64_t values[] = {0,
                                   1,
                                   -1,
                                   2,
                                   3,
                                   7,
                                   64,
                                   65,
                                   255,
                                   4096,
                                   int64_t(1) << 31,
                                   INT64_MAX,
                                   INT64_MIN,
                                   int64_t(1) << 40};
  switch (choices.below(4)) {
  case 0:
    return static_cast<int64_t>(static_cast<uint64_t>(value) + 1);
  case 1:
    return static_cast<int64_t>(static_cast<uint64_t>(value) - 1);
  case 2:
    return static_cast<int64_t>(static_cast<uint64_t>(value) * 2);
  default:
    return values[choices.below(std::size(values))];
  }
}

template <typename T>
static SmallVector<T> mutateList(ArrayRef<T> list, Choices &choices,
                                 llvm::function_ref<T(T)> change) {
  SmallVector<T> result(list);
  if (result.empty())
    return result;
  size_t at = choices.below(result.size());
  switch (choices.below(4)) {
  case 0:
    result.erase(result.begin() + at);
    break;
  case 1:
    result.push_back(T(result[at]));
    break;
  case 2:
    std::swap(result[at], result.front());
    break;
  default:
    result[at] = change(result[at]);
  }
  return result;
}

static Type mutateType(Type type, Choices &choices) {
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped || !shaped.hasRank()) {
    MLIRContext *context = type.getContext();
    Type others[] = {IndexType::get(context), IntegerType::get(context, 32),
                     Float32Type::get(context), BFloat16Type::get(context),
                     IntegerType::get(context, 1)};
    return others[choices.below(std::size(others))];
  }
  if (choices.below(4) == 0) {
    Type element = mutateType(shaped.getElementType(), choices);
    if (isa<MemRefType>(type) ? BaseMemRefType::isValidElementType(element)
                              : RankedTensorType::isValidElementType(element))
      return shaped.clone(element);
    return type;
  }
  if (auto buffer = dyn_cast<MemRefType>(type);
      buffer && !buffer.getLayout().isIdentity())
    return type; // another rank would not fit its layout
  SmallVector<int64_t> shape = mutateList<int64_t>(
      shaped.getShape(), choices, [&](int64_t size) -> int64_t {
        if (choices.below(3) == 0)
          return ShapedType::kDynamic;
        return std::max<int64_t>(
            0, mutateInteger(ShapedType::isDynamic(size) ? 0 : size, choices));
      });
  if (isa<VectorType>(type))
    return type;
  return shaped.clone(shape);
}

static Attribute mutateAttribute(Attribute attribute, Choices &choices) {
  MLIRContext *context = attribute.getContext();
  Builder b(context);
  if (auto integer = dyn_cast<IntegerAttr>(attribute)) {
    if (integer.getType().isIntOrIndex() &&
        integer.getValue().getBitWidth() <= 64) {
      unsigned width = integer.getValue().getBitWidth();
      int64_t value = mutateInteger(integer.getValue().getSExtValue(), choices);
      return IntegerAttr::get(
          integer.getType(),
          APInt(64, static_cast<uint64_t>(value)).sextOrTrunc(width));
    }
  } else if (auto array = dyn_cast<DenseI64ArrayAttr>(attribute)) {
    return b.getDenseI64ArrayAttr(
        mutateList<int64_t>(array.asArrayRef(), choices, [&](int64_t value) {
          return mutateInteger(value, choices);
        }));
  } else if (auto array = dyn_cast<DenseI32ArrayAttr>(attribute)) {
    return b.getDenseI32ArrayAttr(
        mutateList<int32_t>(array.asArrayRef(), choices, [&](int32_t value) {
          return static_cast<int32_t>(mutateInteger(value, choices));
        }));
  } else if (auto array = dyn_cast<ArrayAttr>(attribute)) {
    return b.getArrayAttr(mutateList<Attribute>(
        array.getValue(), choices,
        [&](Attribute element) { return mutateAttribute(element, choices); }));
  } else if (auto dictionary = dyn_cast<DictionaryAttr>(attribute)) {
    if (dictionary.empty())
      return attribute;
    NamedAttrList list(dictionary);
    NamedAttribute entry =
        dictionary.getValue()[choices.below(dictionary.size())];
    if (choices.below(3) == 0)
      list.erase(entry.getName());
    else
      list.set(entry.getName(), mutateAttribute(entry.getValue(), choices));
    return list.getDictionary(context);
  } else if (auto text = dyn_cast<StringAttr>(attribute)) {
    static const char *const words[] = {"_",   "ranks=2", "f32",      "x",
                                        "{e}", "cuda",    "x86-64-v3"};
    if (choices.below(2) == 0)
      return b.getStringAttr(words[choices.below(std::size(words))]);
    std::string changed = text.getValue().str();
    if (!changed.empty())
      changed[choices.below(changed.size())] =
          static_cast<char>('0' + choices.below(10));
    return b.getStringAttr(changed);
  } else if (auto type = dyn_cast<TypeAttr>(attribute)) {
    return TypeAttr::get(mutateType(type.getValue(), choices));
  } else if (auto number = dyn_cast<FloatAttr>(attribute)) {
    static const double values[] = {0, -1, 1e300, -1e-300};
    return FloatAttr::get(number.getType(),
                          values[choices.below(std::size(values))]);
  }
  return attribute;
}

static SmallVector<Operation *> opsOf(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) { ops.push_back(op); });
  return ops;
}

// Of any op, so that it fits by its type at least.
static Attribute anyAttribute(ArrayRef<Operation *> ops, Choices &choices) {
  Operation *op = ops[choices.below(ops.size())];
  DictionaryAttr attributes = op->getAttrDictionary();
  if (attributes.empty())
    return UnitAttr::get(op->getContext());
  return attributes.getValue()[choices.below(attributes.size())].getValue();
}

// Upstream's ops are left whole: what their verifiers let pass is not ours.
static bool isOurs(Operation *op) {
  return isa<ModuleOp, func::FuncOp>(op) ||
         llvm::is_contained({"moe", "coll", "moert", "hopper"},
                            op->getName().getDialectNamespace());
}

static void changeAttribute(Operation *op, ArrayRef<Operation *> ops,
                            Choices &choices) {
  DictionaryAttr attributes = op->getAttrDictionary();
  if (attributes.empty())
    return;
  NamedAttribute entry =
      attributes.getValue()[choices.below(attributes.size())];
  // A function's type and its arguments go together.
  if (isa<FunctionOpInterface>(op) && isa<TypeAttr>(entry.getValue()))
    return;
  switch (choices.below(4)) {
  case 0:
    op->removeAttr(entry.getName());
    break;
  case 1:
    op->setAttr(entry.getName(), anyAttribute(ops, choices));
    break;
  default:
    op->setAttr(entry.getName(), mutateAttribute(entry.getValue(), choices));
  }
}

static void changeOperand(Operation *op, Choices &choices) {
  if (op->getNumOperands() == 0 || !op->getBlock())
    return;
  SmallVector<Value> values(op->getBlock()->getArguments());
  for (Operation &other : *op->getBlock()) {
    if (&other == op)
      break;
    llvm::append_range(values, other.getResults());
  }
  if (!values.empty())
    op->setOperand(choices.below(op->getNumOperands()),
                   values[choices.below(values.size())]);
}

static void changeType(Operation *op, Choices &choices) {
  if (auto function = dyn_cast<func::FuncOp>(op)) {
    if (function.isExternal() || function.getNumArguments() == 0)
      return;
    unsigned index = choices.below(function.getNumArguments());
    Type type = mutateType(function.getArgument(index).getType(), choices);
    function.getArgument(index).setType(type);
    SmallVector<Type> inputs(function.getArgumentTypes());
    inputs[index] = type;
    function.setFunctionType(FunctionType::get(
        op->getContext(), inputs, function.getFunctionType().getResults()));
  } else if (op->getNumResults() > 0) {
    OpResult result = op->getResult(choices.below(op->getNumResults()));
    result.setType(mutateType(result.getType(), choices));
  }
}

void fuzz::mutate(ModuleOp module, Choices &choices) {
  SmallVector<Operation *> ops = opsOf(module);
  Operation *op = ops[choices.below(ops.size())];
  bool canMove = op != module && !op->hasTrait<OpTrait::IsTerminator>();
  switch (choices.below(10)) {
  case 0:
    if (canMove && op->use_empty())
      op->erase();
    return;
  case 1:
    if (canMove) {
      OpBuilder b(op);
      b.clone(*op);
    }
    return;
  case 2:
    if (canMove && op->getPrevNode())
      op->moveBefore(op->getPrevNode());
    return;
  case 3:
  case 4:
    return changeOperand(op, choices);
  case 5:
  case 6:
    return isOurs(op) ? changeType(op, choices) : void();
  default:
    return isOurs(op) ? changeAttribute(op, ops, choices) : void();
  }
}
