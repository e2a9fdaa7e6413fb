// Prints the answer to one question; see moe/Report/Explain.h.
#include "moe/Analysis/MatmulCost.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Report/Explain.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_DUMPEXPLANATIONPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

struct DumpExplanationPass
    : moe::impl::DumpExplanationPassBase<DumpExplanationPass> {
  using DumpExplanationPassBase::DumpExplanationPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    markAllAnalysesPreserved();
    std::optional<Question> asked = parseQuestion(question);
    if (!asked) {
      mlir::emitError(module.getLoc())
          << "--explain is '" << question
          << "', but load-jitter, padding, decode or token-sort is expected";
      return signalPassFailure();
    }
    ExpertsOp first;
    module.walk([&](ExpertsOp op) { first = first ? first : op; });
    if (!first) {
      mlir::emitError(module.getLoc(),
                      "the module has no moe.experts, but a layer to explain "
                      "is expected");
      return signalPassFailure();
    }
    FailureOr<std::vector<PlanRequest>> requests = parsePlanRequests(
        place.empty() ? StringRef("machine=h100-8") : place,
        [&] { return mlir::emitError(module.getLoc(), "--place: "); });
    if (failed(requests) || failed(checkRouting(requests->front(), first)))
      return signalPassFailure();
    ExpertSizes sizes = expertSizes(first);
    llvm::outs() << explain(
        *asked,
        {sizes.experts, sizes.topK, sizes.width, sizes.hidden,
         gemmOfBits(cast<ShapedType>(first.getUp().getType())
                        .getElementTypeBitWidth())},
        requests->front());
  }
};

} // namespace
