// Checks operand shapes against the table in an op's documentation: each
// dimension is a letter, equal letters are equal sizes.
#ifndef MOE_DIALECTS_FORMS_SHAPETABLE_H
#define MOE_DIALECTS_FORMS_SHAPETABLE_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"

namespace moe {

class ShapeTable {
public:
  explicit ShapeTable(mlir::Operation *op) : op(op) {}

  /// Declares a letter's size, with the words that a diagnostic uses for where
  /// it came from.
  void bind(llvm::StringRef letter, int64_t size, llvm::StringRef where);

  /// Checks `type` of operand or result `name` against `dims`: a letter, a
  /// letter and "+" or "*" with a number
  /// ("G+1"), or a decimal number. A null type (an absent optional) passes.
  /// Dynamic sizes agree with everything.
  mlir::LogicalResult check(llvm::StringRef name, mlir::Type type,
                            llvm::ArrayRef<llvm::StringRef> dims);

  /// The same for the result of an op whose operands were checked before. As a
  /// tensor it knows the sizes that they know, and no others: what is made of
  /// it takes them from them. A buffer may know more or less.
  mlir::LogicalResult checkResult(llvm::StringRef name, mlir::Type type,
                                  llvm::ArrayRef<llvm::StringRef> dims);

  /// Size of a letter, or kDynamic when it is not known.
  int64_t size(llvm::StringRef letter) const;

private:
  struct Binding {
    int64_t size;
    std::string where;
  };
  mlir::Operation *op;
  llvm::StringMap<Binding> bindings;
};

} // namespace moe
#endif
