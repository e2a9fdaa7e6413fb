// The kernels of an artifact, loaded into a context.
#ifndef MOERT_CUDA_KERNELS_H
#define MOERT_CUDA_KERNELS_H

#include "artifact.h"
#include "cuda/context.h"

#include <vector>

namespace moert::cuda {

class Kernels {
public:
  // Loads every kernel that the manifest names, and checks that this device can
  // launch it.
  static Result<std::shared_ptr<const Kernels>>
  load(std::shared_ptr<Context> context, const Artifact &artifact);
  ~Kernels();
  Kernels(const Kernels &) = delete;
  Kernels &operator=(const Kernels &) = delete;

  size_t count() const { return functions.size(); }
  const Kernel &kernel(size_t index) const { return kernels[index]; }
  // The kernel that adds elements of this type; -1 if the artifact has none.
  int sumOf(moert_dtype dtype) const;
  // Enqueues a kernel. `parameters` are as for cuLaunchKernel; `grid` as the
  // entry point `launch` has it.
  Status launch(size_t index, int64_t grid, void **parameters,
                StreamHandle stream) const;

private:
  Kernels(std::shared_ptr<Context> context, const Manifest &manifest)
      : context(std::move(context)), kernels(manifest.kernels),
        sums(manifest.sums) {}
  Status loadModules(const Artifact &artifact);
  Result<ModuleHandle> loadModule(const std::string &entry,
                                  std::string_view image);
  Status prepare(const Kernel &kernel, FunctionHandle function) const;

  std::shared_ptr<Context> context;
  std::vector<Kernel> kernels;
  std::vector<SumKernel> sums;
  std::vector<ModuleHandle> modules;
  std::vector<FunctionHandle> functions; // by kernel
};

} // namespace moert::cuda

#endif
