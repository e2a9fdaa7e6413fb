// The kernels of a module: each is a gpu.module of its own and an entry of
// `moert.kernels`, whose place is its number.
#ifndef MOE_LIB_CONVERSION_MOETOKERNELS_KERNELTABLE_H
#define MOE_LIB_CONVERSION_MOETOKERNELS_KERNELTABLE_H

#include "dialects/Moert/MoertDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Codegen/KernelModule.h"

namespace moe {

class KernelTable {
public:
  explicit KernelTable(mlir::ModuleOp module);

  /// The number of a kernel. Its name says all that it is made from: a name
  /// that is known already is the same kernel, which is not built again.
  /// With `early` it begins before the kernel before it has ended.
  int32_t add(const KernelInterface &interface,
              llvm::function_ref<void(mlir::gpu::GPUModuleOp)> build,
              bool early = true);

  /// Writes `moert.kernels` and `moert.sums`.
  void finish();

  /// Notes that kernel `number` adds contributions of the type named `dtype`.
  void setSum(llvm::StringRef dtype, int32_t number);

private:
  mlir::ModuleOp module;
  llvm::SmallVector<mlir::Attribute> kernels;
  llvm::StringMap<int32_t> numbers[2]; // not early, early
  mlir::NamedAttrList sums;
};

} // namespace moe

#endif
