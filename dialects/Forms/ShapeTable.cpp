#include "dialects/Forms/ShapeTable.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using namespace moe;

void ShapeTable::bind(StringRef letter, int64_t size, StringRef where) {
  bindings[letter] = Binding{size, where.str()};
}

int64_t ShapeTable::size(StringRef letter) const {
  auto it = bindings.find(letter);
  return it == bindings.end() ? ShapedType::kDynamic : it->second.size;
}

LogicalResult ShapeTable::checkResult(StringRef name, Type type,
                                      ArrayRef<StringRef> dims) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  bool isComparable =
      tensor && tensor.getRank() == static_cast<int64_t>(dims.size());
  for (size_t i = 0; isComparable && i < dims.size(); ++i) {
    int64_t found = tensor.getDimSize(i), known = size(dims[i]);
    if (ShapedType::isDynamic(found) && !ShapedType::isDynamic(known))
      return op->emitOpError()
             << "`" << name << "` has ? in dimension " << i << ", but "
             << bindings[dims[i]].where << " has " << dims[i] << " = " << known;
    if (!ShapedType::isDynamic(found) && ShapedType::isDynamic(known))
      return op->emitOpError()
             << "`" << name << "` has " << found << " in dimension " << i
             << ", but ? is expected: no operand tells " << dims[i];
  }
  return check(name, type, dims);
}

LogicalResult ShapeTable::check(StringRef name, Type type,
                                ArrayRef<StringRef> dims) {
  if (!type)
    return success();
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped || !shaped.hasRank() ||
      shaped.getRank() != static_cast<int64_t>(dims.size()))
    return op->emitOpError()
           << "`" << name << "` is " << type << ", but a shape of rank "
           << dims.size() << " is expected";
  for (auto [index, dim] : llvm::enumerate(dims)) {
    int64_t found = shaped.getDimSize(index), expected = 0;
    if (ShapedType::isDynamic(found))
      continue;
    if (!dim.getAsInteger(10, expected)) {
      if (found != expected)
        return op->emitOpError()
               << "`" << name << "` has " << found << " in dimension " << index
               << ", but " << expected << " is expected";
      continue;
    }
    auto [letter, offset] = dim.split('+');
    int64_t plus = 0;
    if (!offset.empty())
      (void)offset.getAsInteger(10, plus);
    auto it = bindings.find(letter);
    if (it == bindings.end() || ShapedType::isDynamic(it->second.size)) {
      bindings[letter] = Binding{found - plus, ("`" + name + "`").str()};
      continue;
    }
    expected = it->second.size + plus;
    if (found != expected)
      return op->emitOpError()
             << "`" << name << "` has " << dim << " = " << found
             << " in dimension " << index << ", but " << it->second.where
             << " has " << letter << " = " << it->second.size;
  }
  return success();
}
