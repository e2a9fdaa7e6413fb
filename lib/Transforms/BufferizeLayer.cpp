// From tensors to memrefs. All our ops read their operands and allocate their
// results, so one-shot bufferization inserts no copies; it leaves functions
// that return buffers, which become arguments here: the caller owns inputs,
// weights and outputs.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "moe/Transforms/LayerInterface.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_BUFFERIZELAYERPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

// Inputs before weights, each group in its old order: the order of the
// interface.
static void reorderArguments(func::FuncOp function) {
  SmallVector<unsigned> order;
  for (bool weights : {false, true})
    for (unsigned index = 0; index < function.getNumArguments(); ++index)
      if (static_cast<bool>(function.getArgAttr(index, "moe.weight")) ==
          weights)
        order.push_back(index);
  if (llvm::is_sorted(order))
    return;
  Block &body = function.getBody().front();
  unsigned count = order.size();
  SmallVector<Type> types;
  SmallVector<Attribute> attributes;
  for (unsigned index : order) {
    BlockArgument old = body.getArgument(index);
    types.push_back(old.getType());
    attributes.push_back(function.getArgAttrDict(index)
                             ? function.getArgAttrDict(index)
                             : DictionaryAttr::get(function.getContext()));
    old.replaceAllUsesWith(body.addArgument(old.getType(), old.getLoc()));
  }
  body.eraseArguments(0, count);
  function.setFunctionType(FunctionType::get(
      function.getContext(), types, function.getFunctionType().getResults()));
  function.setAllArgAttrs(attributes);
}

// Each returned buffer becomes an argument that is written instead.
static void returnThroughArguments(func::FuncOp function) {
  Block &body = function.getBody().front();
  auto terminator = cast<func::ReturnOp>(body.getTerminator());
  SmallVector<Type> types(function.getArgumentTypes());
  SmallVector<Value> returned(terminator.getOperands());
  llvm::SmallDenseSet<Value> taken;
  for (auto [index, value] : llvm::enumerate(returned)) {
    BlockArgument out = body.addArgument(value.getType(), value.getLoc());
    types.push_back(value.getType());
    if (value.getDefiningOp<memref::AllocOp>() && taken.insert(value).second) {
      // Its sizes are the caller's: the token count of an input that is split
      // alike.
      auto alloc = value.getDefiningOp<memref::AllocOp>();
      alloc.replaceAllUsesWith(out);
      alloc.erase();
      continue;
    }
    OpBuilder builder(terminator);
    memref::CopyOp::create(builder, terminator.getLoc(), value, out);
  }
  OpBuilder builder(terminator);
  func::ReturnOp::create(builder, terminator.getLoc());
  terminator.erase();
  function.removeResAttrsAttr();
  function.setFunctionType(FunctionType::get(function.getContext(), types, {}));
}

namespace {

struct BufferizeLayerPass
    : moe::impl::BufferizeLayerPassBase<BufferizeLayerPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<LayerInterface> interfaces;
    for (func::FuncOp function : module.getOps<func::FuncOp>()) {
      if (!llvm::hasSingleElement(function.getBody()))
        return function.emitError("has control flow between blocks, but a "
                                  "layer of one block is expected"),
               signalPassFailure();
      reorderArguments(function);
      FailureOr<LayerInterface> interface = LayerInterface::collect(function);
      if (failed(interface))
        return signalPassFailure();
      interfaces.push_back(*interface);
    }

    bufferization::OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    options.setFunctionBoundaryTypeConversion(
        bufferization::LayoutMapOption::IdentityLayoutMap);
    bufferization::BufferizationState state;
    if (failed(
            bufferization::runOneShotModuleBufferize(module, options, state)))
      return signalPassFailure();
    bufferization::removeBufferizationAttributesInModule(module);

    auto *next = interfaces.begin();
    for (func::FuncOp function :
         llvm::to_vector(module.getOps<func::FuncOp>())) {
      returnThroughArguments(function);
      (next++)->create(function);
    }
  }
};

} // namespace
