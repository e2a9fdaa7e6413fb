// Shows what the digest of a function's collectives is made of.
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "moe/Analysis/CollectiveDigest.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_DUMPCOLLECTIVESPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {
struct DumpCollectivesPass
    : moe::impl::DumpCollectivesPassBase<DumpCollectivesPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    getOperation().walk([](FunctionOpInterface function) {
      std::string text = moe::describeCollectives(function);
      SmallVector<StringRef> lines;
      StringRef(text).split(lines, '\n', -1, /*KeepEmpty=*/false);
      for (StringRef line : lines)
        emitRemark(function.getLoc()) << line;
      emitRemark(function.getLoc())
          << "digest " << moe::collectiveDigest(function);
    });
  }
};
} // namespace
