// From vectors, loops and memrefs to the llvm dialect, without calls to any
// library.
#include "moe/Pipelines/VectorToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/Vector/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Conversion/Passes.h"

using namespace mlir;

void moe::buildVectorToLLVMPipeline(OpPassManager &manager) {
  // Reshapes and subviews become arithmetic on strides, which
  // finalize-memref-to-llvm needs.
  manager.addPass(memref::createExpandStridedMetadataPass());
  // What the step before leaves as affine.apply.
  manager.addPass(createLowerAffinePass());
  // While constants and unused values can still be seen as such.
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  manager.addPass(createSCFToControlFlowPass());
  // Masks compare lane numbers, for which 32 bits are enough.
  ConvertVectorToLLVMPassOptions vectors;
  vectors.force32BitVectorIndices = true;
  manager.addPass(createConvertVectorToLLVMPass(vectors));
  // Operations that have no instruction; conversions to and from bf16 would be
  // library calls.
  arith::ArithExpandOpsPassOptions expansions;
  expansions.includeBf16 = true;
  manager.addPass(arith::createArithExpandOpsPass(expansions));
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createFinalizeMemRefToLLVMConversionPass());
  manager.addPass(createConvertFuncToLLVMPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  // Casts between index and i64, memref and its descriptor, that met in the
  // middle.
  manager.addPass(createReconcileUnrealizedCastsPass());
  // What is left of bf16 is storage.
  manager.addPass(createLowerBf16ToBitsPass());
}

void moe::registerVectorToLLVMPipeline() {
  PassPipelineRegistration<>("moe-vector-to-llvm",
                             "from vectors, loops and memrefs to the llvm "
                             "dialect, without calls to any library",
                             buildVectorToLLVMPipeline);
}
