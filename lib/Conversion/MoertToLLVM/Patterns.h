// What the patterns of this folder share: the runtime's arguments, calls of its
// entry points, the addresses and sizes of buffers.
#ifndef MOE_LIB_CONVERSION_MOERTTOLLVM_PATTERNS_H
#define MOE_LIB_CONVERSION_MOERTTOLLVM_PATTERNS_H

#include "dialects/Moert/MoertDialect.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "moert/abi.h"

namespace moe {

/// Argument `index` of the function around `op`; 0 is the context.
mlir::Value runtimeArgument(mlir::Operation *op, unsigned index);

/// The moert_dtype of a type that the runtime knows.
int32_t dtypeOf(mlir::Type type);

mlir::Value loadPointer(mlir::ImplicitLocOpBuilder &b, mlir::Value base,
                        int32_t offset);

/// Calls the entry at `offset` of the table and leaves with its status where
/// that is not 0. `op` is replaced by the call.
void callEntry(mlir::ConversionPatternRewriter &rewriter, mlir::Operation *op,
               size_t offset, llvm::ArrayRef<mlir::Value> arguments);

template <typename OpTy>
struct MoertPattern : mlir::ConvertOpToLLVMPattern<OpTy> {
  using mlir::ConvertOpToLLVMPattern<OpTy>::ConvertOpToLLVMPattern;
  using Rewriter = mlir::ConversionPatternRewriter;
  using Value = mlir::Value;
  using Builder = mlir::ImplicitLocOpBuilder;

  Value constant(Builder &b, mlir::Type type, int64_t value) const {
    return mlir::LLVM::ConstantOp::create(b, b.getIntegerAttr(type, value));
  }
  Value i32(Builder &b, int64_t value) const {
    return constant(b, b.getI32Type(), value);
  }
  Value i64(Builder &b, int64_t value) const {
    return constant(b, b.getI64Type(), value);
  }
  /// The address of a buffer's first element.
  Value address(Builder &b, Value buffer, Value descriptor) const {
    return mlir::LLVM::getStridedElementPtr(
        b, b.getLoc(), *this->getTypeConverter(),
        mlir::cast<mlir::MemRefType>(buffer.getType()), descriptor,
        mlir::ValueRange());
  }
  /// Number of elements of a buffer behind its first `skip` dimensions.
  Value elements(Builder &b, Value buffer, Value descriptor,
                 int64_t skip = 0) const {
    auto type = mlir::cast<mlir::MemRefType>(buffer.getType());
    int64_t known = 1;
    for (int64_t size : type.getShape().drop_front(skip))
      known *= mlir::ShapedType::isDynamic(size) ? 1 : size;
    Value count = i64(b, known);
    for (int64_t dim = skip; dim < type.getRank(); ++dim)
      if (type.isDynamicDim(dim))
        count = mlir::LLVM::MulOp::create(
            b, count,
            mlir::MemRefDescriptor(descriptor).size(b, b.getLoc(), dim));
    return count;
  }
  /// A row: everything behind dimension 0, which is static.
  int64_t rowElements(Value buffer) const {
    auto shape = mlir::cast<mlir::MemRefType>(buffer.getType()).getShape();
    return mlir::ShapedType::getNumElements(shape.drop_front());
  }
  Value dtype(Builder &b, Value buffer) const {
    return i32(
        b,
        dtypeOf(
            mlir::cast<mlir::MemRefType>(buffer.getType()).getElementType()));
  }
};

/// Patterns of the ops that only programs for a device have.
void populateDevicePatterns(const mlir::LLVMTypeConverter &converter,
                            mlir::RewritePatternSet &patterns);

} // namespace moe

#endif
