// Applies the patterns of each op's file once to each op, in program order.
// They create no moe ops, so that one walk is enough; what is left afterwards
// is an op that no pattern takes, which is an error.
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/Passes.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOETOVECTORPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct ConvertMoeToVector
    : moe::impl::ConvertMoeToVectorPassBase<ConvertMoeToVector> {
  using ConvertMoeToVectorPassBase::ConvertMoeToVectorPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::string error;
    FailureOr<CpuTile> tile = CpuTile::get(cpu, error);
    if (failed(tile)) {
      emitError(module.getLoc(), error);
      return signalPassFailure();
    }
    RewritePatternSet patterns(&getContext());
    populateGroupedMatmulToVector(patterns, *tile);
    populateRouterLogitsToVector(patterns, *tile);
    populateTokenGateToVector(patterns, *tile);
    populateSelectExpertsToVector(patterns, *tile);
    populateSortToVector(patterns);
    populateCountsToVector(patterns);
    populateTakeToVector(patterns, *tile);
    populateRegroupToVector(patterns);
    populateCombineToVector(patterns, *tile);
    walkAndApplyPatterns(module, std::move(patterns));
    bool complete = true;
    module.walk([&](Operation *op) {
      if (!isa_and_nonnull<MoeDialect>(op->getDialect()))
        return;
      complete = false;
      if (auto select = dyn_cast<SelectExpertsOp>(op))
        if (std::string why = unsupportedRouter(select.getRouter());
            !why.empty()) {
          op->emitOpError() << why;
          return;
        }
      op->emitOpError(
          "has no lowering to vectors in this form: outs of identity layout "
          "and weights packed for this target are expected");
    });
    if (!complete)
      signalPassFailure();
  }
};
} // namespace
