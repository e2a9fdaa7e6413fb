// The hopper dialect: how one Hopper kernel is written.
#ifndef MOE_DIALECTS_HOPPER_HOPPERDIALECT_H
#define MOE_DIALECTS_HOPPER_HOPPERDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Hopper/HopperDialect.h.inc"
#include "dialects/Hopper/HopperEnums.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Hopper/HopperTypes.h.inc"

#define GET_OP_CLASSES
#include "dialects/Hopper/HopperOps.h.inc"

#endif
