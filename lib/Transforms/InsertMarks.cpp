// A mark stands before every op that computes and says which it is; a mark
// without a number ends the last before a collective, which has its own name.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_INSERTMARKSPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

// What a step of the function writes into a buffer. Ops in the regions of
// others, such as an epilogue, belong to these.
static bool computes(Operation *op) {
  Operation *parent = op->getParentOp();
  if (!isa<func::FuncOp>(parent) && !isa<scf::SCFDialect>(parent->getDialect()))
    return false;
  if (isa<memref::CopyOp, linalg::LinalgOp>(op))
    return true;
  return isa<MoeDialect>(op->getDialect()) && op->getNumResults() == 0;
}

static StringRef nameOf(Operation *op) {
  return isa<memref::CopyOp>(op) ? "copy" : op->getName().stripDialect();
}

namespace {

struct InsertMarksPass : moe::impl::InsertMarksPassBase<InsertMarksPass> {
  void runOnOperation() override {
    for (auto interface : getOperation().getOps<moert::InterfaceOp>()) {
      FailureOr<func::FuncOp> function = moert::lookupFunction(interface);
      if (failed(function))
        return signalPassFailure();
      interface->setAttr(moert::stepsName, mark(*function));
    }
  }

  static ArrayAttr mark(func::FuncOp function) {
    SmallVector<StringRef> names;
    OpBuilder b(function.getContext());
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      b.setInsertionPoint(op);
      if (isa<coll::Collective>(op)) {
        if (!names.empty())
          moert::MarkOp::create(b, op->getLoc(), IntegerAttr());
      } else if (computes(op)) {
        moert::MarkOp::create(b, op->getLoc(),
                              b.getI64IntegerAttr(names.size()));
        names.push_back(nameOf(op));
      }
    });
    return b.getStrArrayAttr(names);
  }
};

} // namespace
