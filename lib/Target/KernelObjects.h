// Where the code of a kernel stands in a lowered module and in an artifact.
#ifndef MOE_LIB_TARGET_KERNELOBJECTS_H
#define MOE_LIB_TARGET_KERNELOBJECTS_H

#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace moe {

/// The compiled code of a kernel; null if there is none.
mlir::gpu::ObjectAttr lookupObject(mlir::ModuleOp module,
                                   moert::KernelAttr kernel);
/// The name of its entry in the archive.
std::string kernelEntryName(moert::KernelAttr kernel,
                            mlir::gpu::ObjectAttr object);

} // namespace moe
#endif
