// Every phase of a compilation as a list of passes, with the reason for each
// one's place.
#include "moe/Pipelines/Pipelines.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Conversion/Passes.h"
#include "moe/Pipelines/DeviceKernels.h"
#include "moe/Pipelines/VectorToLLVM.h"
#include "moe/Target/CpuTarget.h"
#include "moe/Transforms/Passes.h"

using namespace mlir;
using namespace moe;

static void addCleanUp(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void moe::buildPlacedPipeline(OpPassManager &manager, StringRef place,
                              bool planned) {
  PlaceExpertsPassOptions options;
  options.place = place.str();
  options.planned = planned;
  manager.addPass(createPlaceExpertsPass(options));
  manager.addPass(createVerifyPlacedPass());
}

void moe::buildShardedPipeline(OpPassManager &manager) {
  manager.addPass(createShardLayerPass());
  // Collectives over groups of one rank fold away here, so that one rank's
  // program has none.
  addCleanUp(manager);
  manager.addPass(createVerifyShardedPass());
  // The exit check of the phase: nothing is scheduled that could hang.
  manager.addPass(createVerifyCollectivesPass());
}

void moe::buildScheduledPipeline(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createExpandRoutePass());
  // Dense leftovers, such as sums of tensors, become linalg, which bufferizes.
  manager.addNestedPass<func::FuncOp>(createConvertElementwiseToLinalgPass());
  addCleanUp(manager);
  manager.addPass(createBufferizeLayerPass());
  addCleanUp(manager);
  // Last: it fixes the addresses of all buffers that are left.
  manager.addPass(createPlanArenaPass());
  addCleanUp(manager);
  manager.addPass(createVerifyScheduledPass());
}

void moe::buildLoweredPipeline(OpPassManager &manager,
                               const CpuTarget &target) {
  PackWeightsPassOptions pack;
  pack.cpu = spellCpuTarget(target);
  manager.addPass(createPackWeightsPass(pack));
  // While every step of a run is one op.
  manager.addPass(createInsertMarksPass());
  // Before our own ops become loops, which share their work out themselves.
  manager.addPass(createInsertTeamGuardsPass());
  ConvertMoeToVectorPassOptions vector;
  vector.cpu = spellCpuTarget(target);
  manager.addPass(createConvertMoeToVectorPass(vector));
  manager.addPass(createConvertCollToMoertPass());
  manager.addPass(createExpandCopiesPass());
  // While arguments are still memrefs in the interface's order.
  manager.addPass(createLowerInterfacePass());
  manager.addPass(createLowerAffinePass());
  addCleanUp(manager);
  // A failing call returns from the function, which structured control flow
  // cannot say.
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createConvertMoertToLLVMPass());
  buildVectorToLLVMPipeline(manager);
  manager.addPass(createVerifyLoweredPass());
}

void moe::addKernelPasses(OpPassManager &manager, StringRef kernelTable,
                          bool variants) {
  ConvertMoeToKernelsPassOptions kernels;
  kernels.variants = variants;
  kernels.kernelTable = kernelTable.str();
  // While sorts and collectives still show what is counted.
  manager.addPass(createCountOnHostPass());
  // Early: it needs the sizes and weights that only scheduled IR shows.
  manager.addPass(createConvertMoeToKernelsPass(kernels));
}

void moe::buildCudaLoweredPipeline(OpPassManager &manager,
                                   const std::optional<std::string> &toolkit,
                                   StringRef kernelTable, bool variants) {
  addKernelPasses(manager, kernelTable, variants);
  // Before collectives lose their form: they say what makes a count.
  manager.addPass(createInsertCountReadsPass());
  manager.addPass(createConvertCollToMoertPass());
  // Also what coll.share has become.
  manager.addPass(createConvertCopyToMoertPass());
  // While arguments are still memrefs in the interface's order.
  manager.addPass(createLowerInterfacePass());
  // Device code is finished before host code becomes llvm: those passes would
  // walk into it.
  addDeviceKernelPasses(manager,
                        toolkit ? DeviceFormat::Cubin : DeviceFormat::PTX,
                        toolkit.value_or(""));
  manager.addPass(createLowerAffinePass());
  addCleanUp(manager);
  // A failing call returns from the function, which structured control flow
  // cannot say.
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createConvertMoertToLLVMPass());
  buildVectorToLLVMPipeline(manager);
  manager.addPass(createVerifyLoweredPass());
}
