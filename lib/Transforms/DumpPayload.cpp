// Prints what a sharded program will send for a recorded routing.
#include "moe/Analysis/PayloadPrediction.h"
#include "moe/Transforms/Passes.h"
#include "llvm/Support/JSON.h"

namespace moe {
#define GEN_PASS_DEF_DUMPPAYLOADPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static void writeBytes(llvm::json::OStream &json, StringRef key,
                       ArrayRef<int64_t> bytes) {
  json.attributeArray(key, [&] {
    for (int64_t size : bytes)
      json.value(size);
  });
}

static void writeCall(llvm::json::OStream &json, const PredictedCall &call) {
  coll::Collective op = call.op;
  json.object([&] {
    json.attribute("collective", op->getName().stripDialect());
    json.attribute("payload", op.getPayload());
    writeBytes(json, "axes", op.getAxes());
    writeBytes(json, "bytes_sent", call.sent);
    writeBytes(json, "bytes_between_nodes", call.betweenNodes);
  });
}

namespace {
struct DumpPayloadPass : moe::impl::DumpPayloadPassBase<DumpPayloadPass> {
  using DumpPayloadPassBase::DumpPayloadPassBase;

  void runOnOperation() override {
    markAllAnalysesPreserved();
    std::string text;
    llvm::raw_string_ostream stream(text);
    llvm::json::OStream json(stream, /*IndentSize=*/1);
    bool ok = true;
    json.object([&] {
      for (auto function : getOperation().getOps<func::FuncOp>())
        ok = ok && succeeded(dump(function, json));
    });
    if (!ok)
      return signalPassFailure();
    llvm::outs() << text << "\n";
  }

private:
  LogicalResult dump(func::FuncOp function, llvm::json::OStream &json) {
    auto layer = function->getAttrOfType<IntegerAttr>("moe.layer");
    std::string error;
    FailureOr<RecordedRouting> recorded =
        readRouting(routing, layer ? layer.getInt() : 0, error);
    if (failed(recorded))
      return function.emitError() << "routing: " << error;
    FailureOr<std::vector<PredictedCall>> calls =
        predictPayload(function, *recorded);
    if (failed(calls))
      return failure();
    json.attributeArray(function.getSymName(), [&] {
      for (const PredictedCall &call : *calls)
        writeCall(json, call);
    });
    return success();
  }
};
} // namespace
