// Tables of kernels, as moe-opt and moe-run read them: what is accepted names
// kernels that are refused or can be made, and what moe-run writes moe-opt can
// read.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "dialects/Hopper/HopperDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Verifier.h"
#include "moe/Codegen/FewRows.h"
#include "moe/Codegen/TileTable.h"
#include "tune_table.h"

using namespace mlir;

MOE_FUZZ_MUTATE_BY(fuzz::mutateJson);

template <typename Spec>
static void make(MLIRContext *context, const Spec &spec,
                 LogicalResult (*verify)(const Spec &,
                                         function_ref<InFlightDiagnostic()>),
                 LLVM::LLVMFuncOp (*build)(gpu::GPUModuleOp, const Spec &)) {
  Location loc = UnknownLoc::get(context);
  if (failed(verify(spec, [&] { return mlir::emitError(loc); })))
    return;
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  build(moe::createKernelModule(builder, loc, "kernels"), spec);
  fuzz::require(succeeded(mlir::verify(*module)), "a kernel is valid");
}

static void checkEntry(MLIRContext *context, const moe::TileEntry &entry) {
  double last = 0;
  std::vector<moe::TileBucket> buckets = entry.getBuckets();
  for (const moe::TileBucket &bucket : buckets) {
    fuzz::require(bucket.mostRows >= last || &bucket == &buckets.back(),
                  "buckets ascend");
    last = bucket.mostRows;
  }
  fuzz::require(!buckets.empty() && buckets.back().mostRows == 0,
                "the last bucket has no end");
  const moe::TileChoice &choice = entry.choices.front();
  (void)choice.spell(context);
  fuzz::require(entry.find(choice.rows).has_value(),
                "a choice holds where it was measured");
  moe::GroupedMatmulSpec spec;
  spec.experts = 8;
  spec.k = entry.k;
  spec.n = entry.n;
  spec.fp8 = entry.fp8;
  spec.gather = choice.gather;
  if (entry.paired)
    spec.epilogue = moe::GroupedEpilogue::Swiglu;
  choice.apply(spec);
  make(context, spec, moe::verifyGroupedMatmul, moe::buildGroupedMatmul);
}

static void checkLayer(MLIRContext *context, const moe::FewEntry &layer) {
  moe::FewRowsSpec spec;
  spec.experts = layer.experts;
  spec.hidden = layer.hidden;
  spec.inner = layer.inner;
  spec.topK = layer.topK;
  for (int64_t tokens : layer.tokens) {
    spec.maxTokens = tokens;
    make(context, spec, moe::verifyFewRows, moe::buildFewRows);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder folder;
  static fuzz::Context context;
  if (context.renew())
    context.get()
        ->loadDialect<arith::ArithDialect, gpu::GPUDialect,
                      moe::hopper::HopperDialect, LLVM::LLVMDialect,
                      NVVM::NVVMDialect, scf::SCFDialect>();
  std::string error;
  FailureOr<moe::TileTable> table =
      moe::parseTileTable(fuzz::bytes(data, size), "tiles.json", error);
  fuzz::require(succeeded(table) || !error.empty(),
                "an error says what is wrong");
  moert::Result<moert::KernelTable> kept = moert::KernelTable::read(
      folder.write("tiles.json", fuzz::text(data, size)));
  if (failed(table))
    return 0;
  if (kept.ok())
    fuzz::require(succeeded(moe::parseTileTable(kept->text("a device"),
                                                "tiles.json", error)),
                  "what moe-run writes moe-opt can read");
  // A few: kernels take longer to make than tables to read.
  if (!table->entries.empty())
    checkEntry(context.get(), table->entries.front());
  if (!table->layers.empty())
    checkLayer(context.get(), table->layers.front());
  return 0;
}
