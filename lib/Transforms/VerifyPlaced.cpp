// Exit check of phase `placed`: every layer has one placement that is legal on
// its grid.
#include "moe/Analysis/PlacementRules.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_VERIFYPLACEDPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

// All layers of the function agree on it.
static FlatSymbolRefAttr gridOf(func::FuncOp function) {
  FlatSymbolRefAttr grid;
  function.walk([&](Operation *op) {
    if (PlacementAttr placement = placementOf(op))
      grid = placement.getGrid();
  });
  return grid;
}

namespace {
struct VerifyPlacedPass : moe::impl::VerifyPlacedPassBase<VerifyPlacedPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    func::FuncOp first;
    FlatSymbolRefAttr grid;
    for (func::FuncOp function : module.getOps<func::FuncOp>()) {
      if (failed(checkPlacedFunction(function)))
        return signalPassFailure();
      FlatSymbolRefAttr own = gridOf(function);
      if (grid && own != grid) {
        InFlightDiagnostic diag =
            mlir::emitError(function.getLoc())
            << "`" << function.getSymName() << "` is placed on the grid `"
            << own.getValue()
            << "`, but one grid for the whole module is expected";
        diag.attachNote(first.getLoc())
            << "`" << first.getSymName() << "` is placed on `"
            << grid.getValue() << "`";
        return signalPassFailure();
      }
      first = function;
      grid = own;
    }
    if (!first) {
      mlir::emitError(
          module.getLoc(),
          "the module has no function, but at least one layer is expected");
      return signalPassFailure();
    }
    module->setAttr("moe.phase", StringAttr::get(&getContext(), "placed"));
  }
};
} // namespace
