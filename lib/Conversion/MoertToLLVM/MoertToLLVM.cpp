// One pattern per kind of moert op. Calls go through the context's entry
// table; the block is cut behind each call, and a status that is not 0 leaves
// the function from there.
#include "Patterns.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "moe/Conversion/Passes.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOERTTOLLVMPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static_assert(static_cast<int>(moert::Failure::ExpertId) ==
                  MOERT_FAIL_EXPERT_ID &&
              static_cast<int>(moert::Failure::DuplicateId) ==
                  MOERT_FAIL_DUPLICATE_ID &&
              static_cast<int>(moert::Failure::Rows) == MOERT_FAIL_ROWS);

//===----------------------------------------------------------------------===//
// The runtime's arguments and entry points
//===----------------------------------------------------------------------===//

// Context, thread and threads are the first arguments of both signatures.
Value moe::runtimeArgument(Operation *op, unsigned index) {
  return op->getParentOfType<func::FuncOp>().getArgument(index);
}

// That of run and prepare, or that of bind.
static bool hasRuntimeSignature(func::FuncOp function) {
  ArrayRef<Type> types = function.getArgumentTypes();
  return !function.isExternal() && types.size() >= 3 &&
         isa<LLVM::LLVMPointerType>(types[0]) &&
         ((types[1].isInteger(32) && types[2].isInteger(32)) ||
          (types[1].isInteger(64) && isa<LLVM::LLVMPointerType>(types[2]))) &&
         function.getNumResults() == 1 &&
         function.getResultTypes()[0].isInteger(32);
}

int32_t moe::dtypeOf(Type type) {
  if (type.isF32())
    return MOERT_F32;
  if (type.isBF16())
    return MOERT_BF16;
  if (type.isF16())
    return MOERT_F16;
  return type.isInteger(32) ? MOERT_I32 : MOERT_I64;
}

Value moe::loadPointer(ImplicitLocOpBuilder &b, Value base, int32_t offset) {
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  if (offset != 0)
    base = LLVM::GEPOp::create(b, pointer, b.getI8Type(), base,
                               ArrayRef<LLVM::GEPArg>{offset});
  return LLVM::LoadOp::create(b, pointer, base);
}

// Calls the entry at `offset` of the table and leaves with its status where
// that is not 0. `op` is replaced by the call.
void moe::callEntry(ConversionPatternRewriter &rewriter, Operation *op,
                    size_t offset, ArrayRef<Value> arguments) {
  ImplicitLocOpBuilder b(op->getLoc(), rewriter);
  Value context = runtimeArgument(op, 0);
  Value table = loadPointer(b, context, offsetof(moert_context, entries));
  Value entry = loadPointer(b, table, offset);
  SmallVector<Value> operands = {entry, context};
  llvm::append_range(operands, arguments);
  SmallVector<Type> types;
  for (Value operand : ArrayRef(operands).drop_front())
    types.push_back(operand.getType());
  auto type = LLVM::LLVMFunctionType::get(b.getI32Type(), types);
  Value status = LLVM::CallOp::create(b, type, operands).getResult();
  Value zero = LLVM::ConstantOp::create(b, b.getI32IntegerAttr(0));
  Value failed = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, status, zero);

  Block *head = rewriter.getInsertionBlock();
  Block *rest = rewriter.splitBlock(head, Block::iterator(op));
  Block *leave = rewriter.createBlock(rest);
  func::ReturnOp::create(rewriter, op->getLoc(), status);
  rewriter.setInsertionPointToEnd(head);
  cf::CondBranchOp::create(rewriter, op->getLoc(), failed, leave, ValueRange(),
                           rest, ValueRange());
  rewriter.eraseOp(op);
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {

template <typename OpTy> using Pattern = MoertPattern<OpTy>;

// moert.thread and moert.threads: an argument of the function.
template <typename OpTy, unsigned argument>
struct ArgumentPattern : Pattern<OpTy> {
  using MoertPattern<OpTy>::MoertPattern;
  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<LLVM::ZExtOp>(
        op, this->getTypeConverter()->getIndexType(),
        runtimeArgument(op, argument));
    return success();
  }
};

struct CoordinatePattern : Pattern<moert::CoordinateOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::CoordinateOp op, OpAdaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value table = loadPointer(b, runtimeArgument(op, 0),
                              offsetof(moert_context, coordinates));
    Value entry = LLVM::GEPOp::create(
        b, table.getType(), b.getI64Type(), table,
        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(op.getAxis())});
    rewriter.replaceOpWithNewOp<LLVM::LoadOp>(op, b.getI64Type(), entry);
    return success();
  }
};

struct TotalTokensPattern : Pattern<moert::TotalTokensOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::TotalTokensOp op, OpAdaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value context = runtimeArgument(op, 0);
    Value entry =
        LLVM::GEPOp::create(b, context.getType(), b.getI8Type(), context,
                            ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(
                                offsetof(moert_context, total_tokens))});
    rewriter.replaceOpWithNewOp<LLVM::LoadOp>(op, b.getI64Type(), entry);
    return success();
  }
};

struct BarrierPattern : Pattern<moert::TeamBarrierOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::TeamBarrierOp op, OpAdaptor,
                                Rewriter &rewriter) const override {
    callEntry(rewriter, op, offsetof(moert_entry_table, team_barrier), {});
    return success();
  }
};

struct MarkPattern : Pattern<moert::MarkOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::MarkOp op, OpAdaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value step =
        i32(b, op.getStep() ? static_cast<int32_t>(*op.getStep()) : -1);
    callEntry(rewriter, op, offsetof(moert_entry_table, mark), step);
    return success();
  }
};

struct FailPattern : Pattern<moert::FailOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::FailOp op, OpAdaptor adaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value reason = i32(b, static_cast<int32_t>(op.getReason()));
    callEntry(rewriter, op, offsetof(moert_entry_table, fail),
              {reason, adaptor.getFound(), adaptor.getLimit()});
    return success();
  }
};

// Blocks of equal size; `count` are the elements of `recv` or `send` behind
// `skip` dimensions.
template <typename OpTy, size_t entry, bool countRecv, int64_t skip>
struct FixedPattern : Pattern<OpTy> {
  using MoertPattern<OpTy>::MoertPattern;
  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value send = this->address(b, op.getSend(), adaptor.getSend());
    Value recv = this->address(b, op.getRecv(), adaptor.getRecv());
    Value count =
        countRecv ? this->elements(b, op.getRecv(), adaptor.getRecv(), skip)
                  : this->elements(b, op.getSend(), adaptor.getSend(), skip);
    callEntry(rewriter, op, entry,
              {this->i32(b, op.getGroup()), this->dtype(b, op.getSend()), send,
               recv, count});
    return success();
  }
};

template <typename OpTy, size_t entry> struct GatheredPattern : Pattern<OpTy> {
  using MoertPattern<OpTy>::MoertPattern;
  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    callEntry(rewriter, op, entry,
              {this->i32(b, op.getGroup()), this->dtype(b, op.getSend()),
               this->i64(b, this->rowElements(op.getSend())),
               this->address(b, op.getSend(), adaptor.getSend()),
               this->address(b, op.getRecv(), adaptor.getRecv()),
               this->address(b, op.getCounts(), adaptor.getCounts()),
               this->i64(b, this->rowElements(op.getCounts()))});
    return success();
  }
};

struct ExchangePattern : Pattern<moert::AllToAllVOp> {
  using MoertPattern::MoertPattern;
  LogicalResult matchAndRewrite(moert::AllToAllVOp op, OpAdaptor adaptor,
                                Rewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    callEntry(rewriter, op, offsetof(moert_entry_table, all_to_all_v),
              {i32(b, op.getGroup()), dtype(b, op.getSend()),
               i64(b, rowElements(op.getSend())),
               address(b, op.getSend(), adaptor.getSend()),
               address(b, op.getSendCounts(), adaptor.getSendCounts()),
               address(b, op.getRecv(), adaptor.getRecv()),
               address(b, op.getRecvCounts(), adaptor.getRecvCounts()),
               i64(b, rowElements(op.getSendCounts()))});
    return success();
  }
};

template <typename OpTy, size_t entry> struct PeerPattern : Pattern<OpTy> {
  using MoertPattern<OpTy>::MoertPattern;
  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value peer = LLVM::TruncOp::create(b, b.getI32Type(), adaptor.getPeer());
    callEntry(rewriter, op, entry,
              {this->i32(b, op.getGroup()), peer, this->dtype(b, op.getData()),
               this->address(b, op.getData(), adaptor.getData()),
               this->elements(b, op.getData(), adaptor.getData())});
    return success();
  }
};

struct ConvertMoertToLLVMPass
    : moe::impl::ConvertMoertToLLVMPassBase<ConvertMoertToLLVMPass> {
  void runOnOperation() override;
};

} // namespace

#define ENTRY(name) offsetof(moert_entry_table, name)

static void populatePatterns(const LLVMTypeConverter &converter,
                             RewritePatternSet &patterns) {
  patterns
      .add<ArgumentPattern<moert::ThreadOp, 1>,
           ArgumentPattern<moert::ThreadsOp, 2>, CoordinatePattern,
           TotalTokensPattern, BarrierPattern, MarkPattern, FailPattern,
           FixedPattern<moert::AllReduceOp, ENTRY(all_reduce), false, 0>,
           FixedPattern<moert::AllGatherOp, ENTRY(all_gather), false, 0>,
           FixedPattern<moert::ReduceScatterOp, ENTRY(reduce_scatter), true, 0>,
           FixedPattern<moert::AllToAllOp, ENTRY(all_to_all), false, 1>,
           GatheredPattern<moert::AllGatherVOp, ENTRY(all_gather_v)>,
           GatheredPattern<moert::ReduceScatterVOp, ENTRY(reduce_scatter_v)>,
           ExchangePattern, PeerPattern<moert::SendOp, ENTRY(send)>,
           PeerPattern<moert::RecvOp, ENTRY(recv)>>(converter);
}

// Whether `op` stands where a call may leave the function.
static LogicalResult checkPlace(Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  if (!function || !hasRuntimeSignature(function))
    return op->emitOpError(
        "stands outside of a function with the runtime's signature "
        "(moe-lower-interface), but belongs into one");
  if (op->getParentOp() != function)
    return op->emitOpError()
           << "stands inside '" << op->getParentOp()->getName()
           << "', but structured control flow is expected to be lowered "
              "before";
  return success();
}

void ConvertMoertToLLVMPass::runOnOperation() {
  auto isRuntimeOp = [](Operation *op) {
    return isa_and_present<moert::MoertDialect>(op->getDialect()) &&
           !isa<moert::InterfaceOp>(op);
  };
  WalkResult checked = getOperation().walk([&](Operation *op) {
    return WalkResult(isRuntimeOp(op) ? checkPlace(op) : success());
  });
  if (checked.wasInterrupted())
    return signalPassFailure();

  LLVMTypeConverter converter(&getContext());
  RewritePatternSet patterns(&getContext());
  populatePatterns(converter, patterns);
  populateDevicePatterns(converter, patterns);
  ConversionTarget target(getContext());
  target.addIllegalDialect<moert::MoertDialect>();
  target.addLegalOp<moert::InterfaceOp>();
  target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
  if (failed(
          applyPartialConversion(getOperation(), target, std::move(patterns))))
    signalPassFailure();
}
