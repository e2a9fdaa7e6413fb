#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_VERIFYCOLLECTIVESPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

namespace {
struct VerifyCollectivesPass
    : moe::impl::VerifyCollectivesPassBase<VerifyCollectivesPass> {
  void runOnOperation() override { markAllAnalysesPreserved(); }
};
} // namespace
