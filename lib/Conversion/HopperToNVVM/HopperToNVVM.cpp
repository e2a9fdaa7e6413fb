// The pass: types, legality and the pattern sets.
#include "moe/Conversion/HopperToNVVM.h"
#include "Patterns.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTHOPPERTONVVMPASS
#define GEN_PASS_REGISTRATION
#include "moe/Conversion/HopperToNVVM.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Registers of one thread, a value each: LLVM takes far longer for structs
/// that branches carry.
static LogicalResult addRegisters(SmallVectorImpl<Type> &types, Type element,
                                  int64_t count) {
  types.append(count, element);
  return success();
}

static void addConversions(TypeConverter &converter, MLIRContext *context) {
  Type shared = LLVM::LLVMPointerType::get(context, 3);
  Type global = LLVM::LLVMPointerType::get(context, 1);
  Type f32 = Float32Type::get(context);
  converter.addConversion([](Type type) { return type; });
  converter.addConversion([=](RingType) { return shared; });
  converter.addConversion([=](StagingType) { return shared; });
  converter.addConversion([=](PlacesType) { return shared; });
  converter.addConversion([=](FactorsType) { return shared; });
  using Types = SmallVectorImpl<Type>;
  converter.addConversion([=](AccumulatorType type, Types &types) {
    FragmentLayout layout(type.getRows(), type.getColumns());
    return addRegisters(types, f32, layout.getRegisters());
  });
  converter.addConversion([=](FragmentType type, Types &types) {
    return addRegisters(types, f32, FragmentLayout(type).getRegisters());
  });
  converter.addConversion([=](SliceType type, Types &types) {
    FragmentLayout layout(type.getRows(), type.getColumns());
    return addRegisters(types, f32, layout.getSliceValues(type.getAxis()));
  });
  converter.addConversion([=](GatheredType type) {
    int64_t count = type.getTile().getRows() / 16;
    return LLVM::LLVMStructType::getLiteral(context,
                                            SmallVector<Type>(count, global));
  });
}

namespace {
struct ConvertHopperToNVVM
    : moe::impl::ConvertHopperToNVVMPassBase<ConvertHopperToNVVM> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    TypeConverter converter;
    addConversions(converter, context);
    ConversionTarget target(*context);
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    target.addIllegalDialect<HopperDialect>();
    RewritePatternSet patterns(context);
    populateRingPatterns(converter, patterns);
    populateTilePatterns(converter, patterns);
    populateStorePatterns(converter, patterns);
    populatePiecePatterns(converter, patterns);
    populatePlacePatterns(converter, patterns);
    populateSchedulePatterns(converter, patterns);
    populateScalePatterns(converter, patterns);
    populateFactorPatterns(converter, patterns);
    populateSplitPatterns(converter, patterns);
    scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns,
                                                         target);
    // Helper functions may pass rings and fragments; kernels (llvm.func)
    // cannot.
    populateFunctionOpInterfaceTypeConversionPattern<func::FuncOp>(patterns,
                                                                   converter);
    populateReturnOpTypeConversionPattern(patterns, converter);
    target.addDynamicallyLegalOp<func::FuncOp>([&](func::FuncOp function) {
      return converter.isSignatureLegal(function.getFunctionType()) &&
             converter.isLegal(&function.getBody());
    });
    target.addDynamicallyLegalOp<func::ReturnOp>([&](func::ReturnOp op) {
      return converter.isLegal(op.getOperandTypes());
    });
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

void moe::registerConvertHopperToNVVM() { registerMoeHopperToNVVMPasses(); }
