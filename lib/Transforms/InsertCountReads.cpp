// The op that writes a counts buffer is found among its users; the copy follows
// it, before any op that could use it.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "moe/Analysis/Collectives.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_INSERTCOUNTREADSPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

// The last op before `reader` that may write `counts`: one that names it and is
// no reader of counts.
static Operation *findWriter(Value counts, Operation *reader) {
  Operation *writer = nullptr;
  for (OpOperand &use : counts.getUses()) {
    Operation *op = reader->getBlock()->findAncestorOpInBlock(*use.getOwner());
    if (!op || !op->isBeforeInBlock(reader) || isReadByHost(use) ||
        isa<moert::ReadOp>(op))
      continue;
    auto effects = dyn_cast<MemoryEffectOpInterface>(use.getOwner());
    if (effects && !isa<moert::LaunchOp>(op) &&
        !effects.getEffectOnValue<MemoryEffects::Write>(counts))
      continue;
    if (!writer || writer->isBeforeInBlock(op))
      writer = op;
  }
  return writer;
}

namespace {

struct InsertCountReadsPass
    : moe::impl::InsertCountReadsPassBase<InsertCountReadsPass> {
  void runOnOperation() override {
    SmallVector<OpOperand *> uses;
    getOperation().walk([&](Operation *op) {
      for (OpOperand &operand : op->getOpOperands())
        if (isReadByHost(operand) && isa<MemRefType>(operand.get().getType()) &&
            !operand.get().getDefiningOp<memref::AllocaOp>())
          uses.push_back(&operand);
    });
    DenseMap<Value, Value> hosts;
    for (OpOperand *use : uses) {
      Value &host = hosts[use->get()];
      if (!host)
        host = read(use->get(), use->getOwner());
      if (!host)
        return signalPassFailure();
      use->set(host);
    }
  }

  static Value read(Value counts, Operation *reader) {
    Operation *writer = findWriter(counts, reader);
    if (!writer) {
      reader->emitOpError("uses counts that no op before it writes");
      return {};
    }
    auto type = cast<MemRefType>(counts.getType());
    OpBuilder builder(reader->getContext());
    builder.setInsertionPointToStart(
        &reader->getParentOfType<FunctionOpInterface>()
             .getFunctionBody()
             .front());
    Value host = memref::AllocaOp::create(
        builder, reader->getLoc(),
        MemRefType::get(type.getShape(), type.getElementType()));
    builder.setInsertionPointAfter(writer);
    moert::ReadOp::create(builder, writer->getLoc(), counts, host);
    return host;
  }
};

} // namespace
