// Calls that take structures: these stand on the stack of the host function, in
// its entry block, and are filled before the call.
#include "Patterns.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace moe;

#define ENTRY(name) offsetof(moert_entry_table, name)

// `count` elements on the stack; made once for each run of the function,
// wherever it is used.
static Value allocate(ImplicitLocOpBuilder &b, Operation *op, Type type,
                      int64_t count) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(
      &op->getParentOfType<func::FuncOp>().getBody().front());
  Value size = LLVM::ConstantOp::create(b, b.getI64IntegerAttr(count));
  return LLVM::AllocaOp::create(b, LLVM::LLVMPointerType::get(b.getContext()),
                                type, size,
                                /*alignment=*/8);
}

static Value atOffset(ImplicitLocOpBuilder &b, Value base, int64_t bytes) {
  if (bytes == 0)
    return base;
  return LLVM::GEPOp::create(b, base.getType(), b.getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

namespace {

struct LaunchPattern : MoertPattern<moert::LaunchOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::LaunchOp op, OpAdaptor adaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    int64_t count = op.getArguments().size();
    Type pointer = LLVM::LLVMPointerType::get(b.getContext());
    Value values = allocate(b, op, b.getI64Type(), count);
    Value addresses = allocate(b, op, pointer, count);
    for (auto [i, argument, converted] :
         llvm::enumerate(op.getArguments(), adaptor.getArguments())) {
      Value value = isa<MemRefType>(argument.getType())
                        ? address(b, argument, converted)
                        : converted;
      Value place = atOffset(b, values, 8 * i);
      LLVM::StoreOp::create(b, value, place);
      LLVM::StoreOp::create(b, place, atOffset(b, addresses, 8 * i));
    }
    callEntry(rewriter, op, ENTRY(launch),
              {i32(b, op.getKernel()), adaptor.getGrid(), addresses});
    return success();
  }
};

struct TensorMapPattern : MoertPattern<moert::TensorMapOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::TensorMapOp op, OpAdaptor adaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type element = cast<MemRefType>(op.getBuffer().getType()).getElementType();
    int64_t bytes = element.getIntOrFloatBitWidth() / 8;
    int64_t pitch = op.getPitch() * bytes, boxRows = op.getBoxRows();
    Value map = allocate(b, op, b.getI64Type(), sizeof(moert_tensor_map) / 8);
    auto set = [&](size_t offset, Value value) {
      LLVM::StoreOp::create(b, value, atOffset(b, map, offset));
    };
    Value base = address(b, op.getBuffer(), adaptor.getBuffer());
    SmallVector<Value> dims = {i64(b, op.getColumns())};
    SmallVector<int64_t> strides = {pitch};
    SmallVector<int64_t> box = {int64_t(op.getBoxColumns()), boxRows};
    if (op.getBlocked()) {
      constexpr int64_t rows = 8, columns = 64;
      Value count = LLVM::UDivOp::create(b, adaptor.getRows(), i64(b, rows));
      dims = {i64(b, columns), i64(b, rows), i64(b, op.getColumns() / columns),
              count};
      strides = {columns * bytes, rows * columns * bytes, rows * pitch};
      box = {columns, rows, 1, boxRows / rows};
    } else if (op.getRagged()) {
      base = atOffset(b, base, -boxRows * pitch);
      dims.push_back(i64(b, boxRows));
      dims.push_back(
          LLVM::AddOp::create(b, adaptor.getRows(), i64(b, boxRows + 1)));
      strides.push_back(pitch);
      box.push_back(1);
    } else {
      dims.push_back(adaptor.getRows());
    }
    set(offsetof(moert_tensor_map, dtype), i32(b, dtypeOf(element)));
    set(offsetof(moert_tensor_map, rank), i32(b, dims.size()));
    set(offsetof(moert_tensor_map, base), base);
    // What lies beyond the rank is zero.
    dims.resize(5, i64(b, 0));
    strides.resize(4, 0);
    box.resize(5, 0);
    for (auto [i, size] : llvm::enumerate(dims))
      set(offsetof(moert_tensor_map, dims) + 8 * i, size);
    for (auto [i, stride] : llvm::enumerate(strides))
      set(offsetof(moert_tensor_map, strides) + 8 * i, i64(b, stride));
    for (auto [i, size] : llvm::enumerate(box))
      set(offsetof(moert_tensor_map, box) + 4 * i, i32(b, size));
    set(offsetof(moert_tensor_map, swizzle),
        i32(b, op.getBoxColumns() * bytes));
    callEntry(rewriter, op, ENTRY(tensor_map), {i32(b, op.getSlot()), map});
    return success();
  }
};

// moert.copy and moert.read: target, source, bytes.
template <typename OpTy, size_t entry> struct CopyPattern : MoertPattern<OpTy> {
  using MoertPattern<OpTy>::MoertPattern;
  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto type = cast<MemRefType>(op.getSource().getType());
    Value count = this->elements(b, op.getSource(), adaptor.getSource());
    Value bytes = LLVM::MulOp::create(
        b, count, this->i64(b, type.getElementTypeBitWidth() / 8));
    callEntry(rewriter, op, entry,
              {this->address(b, op.getTarget(), adaptor.getTarget()),
               this->address(b, op.getSource(), adaptor.getSource()), bytes});
    return success();
  }
};

struct VariantPattern : MoertPattern<moert::VariantOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::VariantOp op, OpAdaptor adaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value word = address(b, op.getWord(), adaptor.getWord());
    callEntry(rewriter, op, ENTRY(variant), {i32(b, op.getChoice()), word});
    return success();
  }
};

struct StatusPattern : MoertPattern<moert::StatusOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::StatusOp op, OpAdaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value word =
        loadPointer(b, runtimeArgument(op, 0), offsetof(moert_context, status));
    Value buffer = MemRefDescriptor::fromStaticShape(
        b, b.getLoc(), *getTypeConverter(), op.getType(), word);
    rewriter.replaceOp(op, buffer);
    return success();
  }
};

} // namespace

void moe::populateDevicePatterns(const LLVMTypeConverter &converter,
                                 RewritePatternSet &patterns) {
  patterns.add<LaunchPattern, TensorMapPattern, VariantPattern, StatusPattern,
               CopyPattern<moert::CopyOp, ENTRY(copy)>,
               CopyPattern<moert::ReadOp, ENTRY(read)>>(converter);
}
