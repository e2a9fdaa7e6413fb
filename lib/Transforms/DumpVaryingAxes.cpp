// Shows what the analysis of varying axes found: one remark for each value that
// may differ between ranks.
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "moe/Analysis/VaryingAxes.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_DUMPVARYINGAXESPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static void describe(Diagnostic &text, const Variation &variation,
                     const AxisTable &table) {
  text << " varies over " << table.names(variation.contents);
  for (auto [index, dim] : llvm::enumerate(variation.dims))
    if (!dim.empty())
      text << "; its dimension " << index << " over " << table.names(dim);
}

namespace {

struct DumpVaryingAxesPass
    : moe::impl::DumpVaryingAxesPassBase<DumpVaryingAxesPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    VaryingAxes varying(getOperation());
    if (failed(varying.run()))
      return signalPassFailure();
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto function = dyn_cast<FunctionOpInterface>(op))
        for (Value argument : function.getArguments())
          show(argument,
               ("argument " +
                Twine(cast<BlockArgument>(argument).getArgNumber()))
                   .str(),
               varying);
      for (OpResult result : op->getResults())
        show(result,
             ("result " + Twine(result.getResultNumber()) + " of '" +
              op->getName().getStringRef() + "'")
                 .str(),
             varying);
    });
  }

  void show(Value value, const std::string &what, const VaryingAxes &varying) {
    Variation variation = varying.of(value);
    if (variation.contents.empty())
      return;
    InFlightDiagnostic remark = emitRemark(value.getLoc()) << what;
    describe(*remark.getUnderlyingDiagnostic(), variation, varying.table());
  }
};

} // namespace
