#include "cuda/kernels.h"

#include <climits>
#include <map>

using namespace moert;
using namespace moert::cuda;

Result<std::shared_ptr<const Kernels>>
Kernels::load(std::shared_ptr<Context> context, const Artifact &artifact) {
  MOERT_TRY(context->enter());
  std::shared_ptr<Kernels> kernels(
      new Kernels(std::move(context), artifact.manifest()));
  MOERT_TRY(kernels->loadModules(artifact));
  return std::shared_ptr<const Kernels>(kernels);
}

Kernels::~Kernels() {
  if (!context->enter().ok())
    return;
  for (ModuleHandle module : modules)
    (void)context->driver().moduleUnload(module);
}

// Machine code, or assembly as text, which the driver compiles.
Result<ModuleHandle> Kernels::loadModule(const std::string &entry,
                                         std::string_view image) {
  std::string copy(image); // text must end with a NUL
  char log[2048] = {};
  int options[] = {JitErrorLogBuffer, JitErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
  ModuleHandle module = nullptr;
  Status status = context->check(
      context->driver().moduleLoad(&module, copy.c_str(), 2, options, values),
      concat("cannot load ", printable(entry)));
  if (!status.ok())
    return log[0] ? Status::error(status.code(), status.message(), ": ",
                                  printable(log))
                  : status;
  modules.push_back(module);
  return module;
}

Status Kernels::prepare(const Kernel &kernel, FunctionHandle function) const {
  const Driver &driver = context->driver();
  std::string where = concat("kernel `", printable(kernel.name), "`");
  if (kernel.sharedBytes > context->maxSharedBytes())
    return Status::error(MOERT_ERROR_UNSUPPORTED, where, " needs ",
                         kernel.sharedBytes,
                         " bytes of shared memory, the device has ",
                         context->maxSharedBytes(), " a block");
  if (kernel.sharedBytes > 0)
    MOERT_TRY(context->check(
        driver.functionSetAttribute(function, FunctionMaxDynamicSharedBytes,
                                    static_cast<int>(kernel.sharedBytes)),
        concat(where, ": cannot get ", kernel.sharedBytes,
               " bytes of shared memory")));
  // Above 8 CTAs a cluster is not portable.
  if (kernel.cluster > 8)
    MOERT_TRY(context->check(
        driver.functionSetAttribute(function, FunctionNonPortableCluster, 1),
        concat(where, ": cannot use a cluster of ", kernel.cluster)));
  return {};
}

Status Kernels::loadModules(const Artifact &artifact) {
  std::map<std::string, ModuleHandle> loaded; // by entry
  for (const Kernel &kernel : kernels) {
    std::string_view image = artifact.entry(kernel.entry);
    if (image.empty())
      return Status::error(MOERT_ERROR_INVALID_FILE, "kernel `",
                           printable(kernel.name), "` is in `",
                           printable(kernel.entry),
                           "`, which the artifact does not hold");
    ModuleHandle &module = loaded[kernel.entry];
    if (!module) {
      Result<ModuleHandle> opened = loadModule(kernel.entry, image);
      if (!opened.ok())
        return opened.status();
      module = *opened;
    }
    FunctionHandle function = nullptr;
    MOERT_TRY(context->check(context->driver().moduleGetFunction(
                                 &function, module, kernel.function.c_str()),
                             concat("cannot find `", printable(kernel.function),
                                    "` in ", printable(kernel.entry))));
    MOERT_TRY(prepare(kernel, function));
    functions.push_back(function);
  }
  return {};
}

int Kernels::sumOf(moert_dtype dtype) const {
  for (const SumKernel &sum : sums)
    if (sum.dtype == dtype)
      return sum.kernel;
  return -1;
}

Status Kernels::launch(size_t index, int64_t grid, void **parameters,
                       StreamHandle stream) const {
  const Kernel &kernel = kernels[index];
  if (grid == 0)
    return {};
  if (grid == -1) {
    grid = context->processors() * kernel.ctasPerSm;
    grid -= grid % kernel.cluster;
  }
  if (grid <= 0 || grid > INT_MAX || grid % kernel.cluster != 0)
    return Status::error(MOERT_ERROR_INTERNAL, "kernel `",
                         printable(kernel.name), "` is launched with ", grid,
                         " CTAs, expected a positive multiple of its cluster ",
                         kernel.cluster);
  LaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (kernel.cluster > 1) {
    LaunchAttribute &cluster = attributes[count++];
    cluster.id = AttributeClusterDimension;
    cluster.value.cluster[0] = static_cast<unsigned>(kernel.cluster);
    cluster.value.cluster[1] = cluster.value.cluster[2] = 1;
  }
  if (kernel.early) {
    LaunchAttribute &early = attributes[count++];
    early.id = AttributeEarlyLaunch;
    early.value.flag = 1;
  }
  LaunchConfig config = {};
  config.grid[0] = static_cast<unsigned>(grid);
  config.grid[1] = config.grid[2] = 1;
  config.block[0] = static_cast<unsigned>(kernel.threads);
  config.block[1] = config.block[2] = 1;
  config.sharedBytes = static_cast<unsigned>(kernel.sharedBytes);
  config.stream = stream;
  config.attributes = attributes;
  config.attributeCount = count;
  int code = context->driver().launchKernel(&config, functions[index],
                                            parameters, nullptr);
  return code == Success
             ? Status()
             : context->check(code, concat("cannot launch kernel `",
                                           printable(kernel.name), "`"));
}
