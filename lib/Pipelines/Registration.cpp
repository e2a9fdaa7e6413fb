#include "moe/Pipelines/Registration.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Hopper/HopperDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "moe/Analysis/Work.h"
#include "moe/Conversion/HopperToNVVM.h"
#include "moe/Conversion/Passes.h"
#include "moe/Pipelines/DeviceKernels.h"
#include "moe/Pipelines/VectorToLLVM.h"
#include "moe/Transforms/Passes.h"

void moe::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<MoeDialect>();
  registry.insert<coll::CollDialect>();
  registry.insert<moert::MoertDialect>();
  registry.insert<hopper::HopperDialect>();
  moe::registerBufferizableOpInterfaceExternalModels(registry);
  coll::registerBufferizableOpInterfaceExternalModels(registry);
  moe::registerWorkModels(registry);
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllToLLVMIRTranslations(registry);
}

void moe::insertCompilerDialects(mlir::DialectRegistry &registry) {
  registry.insert<MoeDialect, coll::CollDialect, moert::MoertDialect,
                  mlir::affine::AffineDialect, mlir::arith::ArithDialect,
                  mlir::bufferization::BufferizationDialect,
                  mlir::cf::ControlFlowDialect, mlir::func::FuncDialect,
                  mlir::gpu::GPUDialect, mlir::NVVM::NVVMDialect,
                  hopper::HopperDialect, mlir::linalg::LinalgDialect,
                  mlir::LLVM::LLVMDialect, mlir::math::MathDialect,
                  mlir::memref::MemRefDialect, mlir::scf::SCFDialect,
                  mlir::shard::ShardDialect, mlir::tensor::TensorDialect,
                  mlir::ub::UBDialect, mlir::vector::VectorDialect>();
}

void moe::registerAllPasses() {
  mlir::registerAllPasses();
  moe::registerConversionPasses();
  moe::registerTransformsPasses();
  moe::registerConvertHopperToNVVM();
  moe::registerDeviceKernelPipeline();
  moe::registerVectorToLLVMPipeline();
}
