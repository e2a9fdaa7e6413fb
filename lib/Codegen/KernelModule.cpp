#include "moe/Codegen/KernelModule.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "moe/Codegen/DeviceBuilder.h"

using namespace mlir;
using namespace moe;

static StringRef toString(ParameterKind kind) {
  switch (kind) {
  case ParameterKind::Pointer:
    return "pointer";
  case ParameterKind::MatrixMap:
    return "matrix_map";
  case ParameterKind::BlockedMap:
    return "blocked_map";
  case ParameterKind::RaggedMap:
    return "ragged_map";
  case ParameterKind::Integer:
    return "integer";
  case ParameterKind::Integer64:
    return "integer64";
  }
  llvm_unreachable("unknown parameter kind");
}

llvm::json::Object moe::toJSON(const KernelInterface &interface) {
  llvm::json::Array parameters;
  for (const KernelParameter &parameter : interface.parameters) {
    llvm::json::Object object{{"name", parameter.name},
                              {"kind", toString(parameter.kind)}};
    if (parameter.columns) {
      object["columns"] = parameter.columns;
      object["box_rows"] = parameter.boxRows;
      object["box_columns"] = parameter.boxColumns;
      object["element_bytes"] = parameter.elementBytes;
    }
    parameters.push_back(std::move(object));
  }
  llvm::json::Object object{{"name", interface.name},
                            {"threads", interface.threads},
                            {"shared_bytes", interface.sharedBytes},
                            {"persistent", interface.persistent},
                            {"cluster", interface.cluster},
                            {"parameters", std::move(parameters)}};
  if (const auto &grid = interface.grid)
    object["grid"] =
        llvm::json::Object{{"rows", grid->rows},
                           {"rows_per_block", grid->rowsPerBlock},
                           {"parts_per_block", grid->partsPerBlock},
                           {"parts_per_cta", grid->partsPerCta}};
  return object;
}

gpu::GPUModuleOp moe::createKernelModule(OpBuilder &builder, Location loc,
                                         StringRef name) {
  auto module = gpu::GPUModuleOp::create(builder, loc, name);
  // ptx86: relaxed remote arrivals are not selected below it.
  Attribute target =
      NVVM::NVVMTargetAttr::get(builder.getContext(), /*optLevel=*/3,
                                "nvptx64-nvidia-cuda", "sm_90a", "+ptx86");
  module.setTargetsAttr(builder.getArrayAttr(target));
  return module;
}

static LLVM::LLVMFuncOp createFunction(gpu::GPUModuleOp module,
                                       const KernelInterface &interface) {
  OpBuilder builder(module.getContext());
  MLIRContext *context = builder.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context);
  SmallVector<Type> types;
  for (const KernelParameter &parameter : interface.parameters)
    types.push_back(
        parameter.kind == ParameterKind::Integer     ? builder.getI32Type()
        : parameter.kind == ParameterKind::Integer64 ? builder.getI64Type()
                                                     : pointer);
  auto type =
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), types);
  builder.setInsertionPointToEnd(module.getBody());
  auto function =
      LLVM::LLVMFuncOp::create(builder, module.getLoc(), interface.name, type);
  Attribute unit = builder.getUnitAttr();
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), unit);
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), unit);
  function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(),
                    builder.getDenseI32ArrayAttr(
                        {static_cast<int32_t>(interface.threads), 1, 1}));
  // setmaxnreg needs a register cap at entry.
  int64_t leastCtas = interface.persistent ? 1 : interface.leastCtas;
  if (leastCtas)
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                      builder.getI32IntegerAttr(leastCtas));
  if (interface.cluster > 1)
    function->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(),
                      builder.getDenseI32ArrayAttr(
                          {static_cast<int32_t>(interface.cluster), 1, 1}));
  Type mapType = LLVM::LLVMArrayType::get(builder.getI8Type(), 128);
  for (auto [i, parameter] : llvm::enumerate(interface.parameters)) {
    if (!parameter.boxRows) // no map
      continue;
    function.setArgAttr(i, LLVM::LLVMDialect::getByValAttrName(),
                        TypeAttr::get(mapType));
    function.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(),
                        builder.getI64IntegerAttr(64));
    function.setArgAttr(i, NVVM::NVVMDialect::getGridConstantAttrName(), unit);
  }
  builder.setInsertionPointToEnd(function.addEntryBlock(builder));
  LLVM::ReturnOp::create(builder, module.getLoc(), ValueRange());
  return function;
}

LLVM::LLVMFuncOp
moe::buildKernel(gpu::GPUModuleOp module, const KernelInterface &interface,
                 function_ref<void(DeviceBuilder &, LLVM::LLVMFuncOp)> body,
                 Waits waits) {
  LLVM::LLVMFuncOp function = createFunction(module, interface);
  OpBuilder builder = OpBuilder::atBlockBegin(&function.getBody().front());
  DeviceBuilder b(module.getLoc(), builder);
  if (waits == Waits::AtEntry)
    b.awaitPredecessors();
  body(b, function);
  return function;
}

Value moe::getDynamicShared(OpBuilder &builder, Location loc,
                            gpu::GPUModuleOp module) {
  constexpr StringRef name = "dynamic_shared";
  auto global = module.lookupSymbol<LLVM::GlobalOp>(name);
  if (!global) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(module.getBody());
    global = LLVM::GlobalOp::create(
        builder, loc, LLVM::LLVMArrayType::get(builder.getI8Type(), 0),
        /*isConstant=*/false, LLVM::Linkage::External, name, Attribute(),
        /*alignment=*/1024, /*addrSpace=*/3);
  }
  return LLVM::AddressOfOp::create(builder, loc, global);
}
