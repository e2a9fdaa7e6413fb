// moe-opt: passes, phases and artifacts.
#include "moe/Pipelines/Registration.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  moe::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "moe-opt: compiler for Mixture-of-Experts layers\n", registry));
}
