#include "moe/Pipelines/Registration.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Hopper/HopperDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "moe/Conversion/HopperToNVVM.h"
#include "moe/Conversion/Passes.h"
#include "moe/Pipelines/DeviceKernels.h"
#include "moe/Transforms/Passes.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "moe/Transforms/Passes.h"

void moe::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<MoeDialect>();
  registry.insert<coll::CollDialect>();
  registry.insert<moert::MoertDialect>();
  registry.insert<hopper::HopperDialect>();
  moe::registerBufferizableOpInterfaceExternalModels(registry);
  coll::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllToLLVMIRTranslations(registry);
}

void moe::registerAllPasses() {
  mlir::registerAllPasses();
  moe::registerConversionPasses();
  moe::registerTransformsPasses();
  moe::registerConvertHopperToNVVM();
  moe::registerDeviceKernelPipeline();
}
