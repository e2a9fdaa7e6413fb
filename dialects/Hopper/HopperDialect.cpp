#include "dialects/Hopper/HopperDialect.h"

using namespace mlir;
using namespace moe::hopper;

#include "dialects/Hopper/HopperDialect.cpp.inc"
#include "dialects/Hopper/HopperEnums.cpp.inc"

void HopperDialect::initialize() {
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "dialects/Hopper/HopperOps.cpp.inc"
      >();
}
