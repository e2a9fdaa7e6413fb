#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "moe/Conversion/Passes.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTCOPYTOMOERTPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

struct ConvertCopyToMoert
    : moe::impl::ConvertCopyToMoertPassBase<ConvertCopyToMoert> {
  void runOnOperation() override {
    SmallVector<memref::CopyOp> copies;
    getOperation().walk([&](memref::CopyOp op) { copies.push_back(op); });
    for (memref::CopyOp op : copies) {
      if (!isa<MemRefType>(op.getSource().getType()) ||
          !isa<MemRefType>(op.getTarget().getType())) {
        op.emitOpError("moves a buffer without a rank, but ranked ones are "
                       "expected");
        return signalPassFailure();
      }
      OpBuilder builder(op);
      moert::CopyOp::create(builder, op.getLoc(), op.getSource(),
                            op.getTarget());
      op.erase();
    }
  }
};

} // namespace
