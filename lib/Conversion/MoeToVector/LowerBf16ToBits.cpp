// One walk that exchanges the type wherever it stands; casts between bf16 and
// i16 then have nothing to do.
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "moe/Conversion/Passes.h"

namespace moe {
#define GEN_PASS_DEF_LOWERBF16TOBITSPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static bool holdsBf16(Type type) { return getElementTypeOrSelf(type).isBF16(); }

// Intrinsics on bf16, and the casts that make their operands.
static bool belongsToIntrinsic(Operation *op) {
  if (isa<LLVM::CallIntrinsicOp>(op))
    return true;
  return isa<LLVM::BitcastOp>(op) && !op->use_empty() &&
         llvm::all_of(op->getUsers(), [](Operation *user) {
           return isa<LLVM::CallIntrinsicOp>(user);
         });
}

static bool isArithmetic(Operation *op) {
  return !isa<LLVM::LoadOp, LLVM::StoreOp, LLVM::BitcastOp, LLVM::ConstantOp,
              LLVM::SelectOp, LLVM::MaskedLoadOp, LLVM::MaskedStoreOp,
              LLVM::UndefOp, LLVM::PoisonOp, LLVM::ZeroOp,
              LLVM::ExtractElementOp, LLVM::InsertElementOp,
              LLVM::ShuffleVectorOp, LLVM::ExtractValueOp, LLVM::InsertValueOp>(
             op) &&
         !op->hasTrait<OpTrait::IsTerminator>();
}

// The same bits as integers.
static void exchangeConstant(LLVM::ConstantOp op) {
  Type bits = IntegerType::get(op.getContext(), 16);
  if (auto scalar = dyn_cast<FloatAttr>(op.getValue()))
    op.setValueAttr(IntegerAttr::get(bits, scalar.getValue().bitcastToAPInt()));
  else if (auto elements = dyn_cast<DenseElementsAttr>(op.getValue()))
    op.setValueAttr(elements.bitcast(bits));
}

// LLVM 22 turns a store of which one lane is known to be kept into a scalar
// store of 32 bits, also where the lane has 16. It must not know the mask.
static void hideMask(LLVM::MaskedStoreOp op) {
  auto lanes = cast<VectorType>(op.getMask().getType());
  OpBuilder b(op);
  Type bits = b.getIntegerType(lanes.getNumElements());
  Value mask = LLVM::BitcastOp::create(b, op.getLoc(), bits, op.getMask());
  auto hidden = LLVM::InlineAsmOp::create(
      b, op.getLoc(), TypeRange(bits), ValueRange(mask), "", "=r,0",
      /*has_side_effects=*/false, /*is_align_stack=*/false,
      LLVM::TailCallKind::None, /*asm_dialect=*/LLVM::AsmDialectAttr(),
      /*operand_attrs=*/ArrayAttr());
  Value opaque =
      LLVM::BitcastOp::create(b, op.getLoc(), lanes, hidden.getResult(0));
  op.getMaskMutable().assign(opaque);
}

namespace {
struct LowerBf16ToBits : moe::impl::LowerBf16ToBitsPassBase<LowerBf16ToBits> {
  void runOnOperation() override {
    AttrTypeReplacer replacer;
    replacer.addReplacement([](BFloat16Type type) -> Type {
      return IntegerType::get(type.getContext(), 16);
    });
    SmallVector<Operation *> casts;
    WalkResult result = getOperation().walk([&](Operation *op) -> WalkResult {
      // The interface keeps saying bf16: that is what a caller passes.
      if (!isa<LLVM::LLVMDialect>(op->getDialect()) || belongsToIntrinsic(op))
        return WalkResult::advance();
      bool touches = llvm::any_of(op->getOperandTypes(), holdsBf16) ||
                     llvm::any_of(op->getResultTypes(), holdsBf16);
      if (touches && isArithmetic(op))
        return op->emitOpError("computes with bf16, but bf16 that is only "
                               "stored and moved is expected");
      if (auto constant = dyn_cast<LLVM::ConstantOp>(op);
          constant && holdsBf16(constant.getType()))
        exchangeConstant(constant);
      if (isa<LLVM::BitcastOp>(op))
        casts.push_back(op);
      replacer.replaceElementsIn(op, /*replaceAttrs=*/true,
                                 /*replaceLocs=*/false, /*replaceTypes=*/true);
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    getOperation().walk([](LLVM::MaskedStoreOp op) {
      if (getElementTypeOrSelf(op.getValue().getType()).isInteger(16))
        hideMask(op);
    });
    for (Operation *cast : casts) {
      if (cast->getOperand(0).getType() != cast->getResult(0).getType())
        continue;
      cast->getResult(0).replaceAllUsesWith(cast->getOperand(0));
      cast->erase();
    }
  }
};
} // namespace
