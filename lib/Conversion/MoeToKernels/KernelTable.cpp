#include "KernelTable.h"

using namespace mlir;
using namespace moe;

KernelTable::KernelTable(ModuleOp module) : module(module) {
  if (auto known = module->getAttrOfType<ArrayAttr>(moert::kernelsName))
    for (auto kernel : known.getAsRange<moert::KernelAttr>()) {
      numbers[kernel.getEarly()][kernel.getName().getValue()] = kernels.size();
      kernels.push_back(kernel);
    }
  if (auto known = module->getAttrOfType<DictionaryAttr>(moert::sumsName))
    sums.append(known);
}

static StringRef spellParameter(ParameterKind kind) {
  switch (kind) {
  case ParameterKind::Pointer:
    return "ptr";
  case ParameterKind::MatrixMap:
  case ParameterKind::BlockedMap:
  case ParameterKind::RaggedMap:
    return "map";
  case ParameterKind::Integer:
    return "i32";
  case ParameterKind::Integer64:
    return "i64";
  }
  llvm_unreachable("unknown parameter kind");
}

int32_t KernelTable::add(const KernelInterface &interface,
                         function_ref<void(gpu::GPUModuleOp)> build,
                         bool early) {
  auto [known, isNew] =
      numbers[early].try_emplace(interface.name, kernels.size());
  if (!isNew)
    return known->second;
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  if (!numbers[!early].contains(interface.name))
    build(createKernelModule(builder, module.getLoc(), interface.name));
  SmallVector<Attribute> parameters;
  for (const KernelParameter &parameter : interface.parameters)
    parameters.push_back(builder.getStringAttr(spellParameter(parameter.kind)));
  // Threads of an SM, which only grids that fill the device are made from.
  constexpr int64_t threadsPerSm = 2048;
  int64_t ctas = interface.persistent ? 1 : threadsPerSm / interface.threads;
  kernels.push_back(moert::KernelAttr::get(
      builder.getContext(), builder.getStringAttr(interface.name),
      interface.threads, interface.cluster, interface.sharedBytes, ctas, early,
      builder.getArrayAttr(parameters)));
  return known->second;
}

void KernelTable::setSum(StringRef dtype, int32_t number) {
  sums.set(dtype, Builder(module.getContext()).getI32IntegerAttr(number));
}

void KernelTable::finish() {
  Builder builder(module.getContext());
  module->setAttr(moert::kernelsName, builder.getArrayAttr(kernels));
  module->setAttr(moert::sumsName, sums.getDictionary(module.getContext()));
}
