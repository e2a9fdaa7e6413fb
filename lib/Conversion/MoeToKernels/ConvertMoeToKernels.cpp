// Every function with an interface, op by op in program order; each op's file
// says how.
#include "Conversions.h"
#include "dialects/Coll/CollDialect.h"

#include "dialects/Hopper/HopperDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Conversion/Passes.h"
#include "llvm/Support/MemoryBuffer.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOETOKERNELSPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

// A word that the host knows goes to the device.
static LogicalResult convertStore(memref::StoreOp op, KernelOpBuilder &b,
                                  DeviceFunction &function) {
  MemRefType type = op.getMemRefType();
  bool single = type.hasStaticShape() && type.getNumElements() == 1;
  if (!single || !type.getElementType().isInteger(32))
    return op.emitOpError() << "writes " << type
                            << ", but on a device the host sets single words "
                               "of i32 only";
  return launchSetWords(op, b, function, op.getMemRef(), op.getValue());
}

static LogicalResult convert(Operation *op, DeviceFunction &function) {
  KernelOpBuilder b(op->getLoc(), op);
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<GroupedMatmulOp, RouterLogitsOp, TokenGateOp, SelectExpertsOp,
            SortOp, TakeOp, CountsOp, RegroupOp, CombineOp>(
          [&](auto moe) { return convertToKernels(moe, b, function); })
      .Case([&](memref::StoreOp store) {
        return convertStore(store, b, function);
      })
      .Default([](Operation *other) {
        return other->emitOpError("is left on the way to a device, which has "
                                  "no kernel for it");
      });
}

// Whether a store goes to memory of the host.
static bool isHostStore(Operation *op) {
  auto store = dyn_cast<memref::StoreOp>(op);
  return store && store.getMemRef().getDefiningOp<memref::AllocaOp>();
}

// What the host does itself, or another step of the lowering takes.
static bool isForTheHost(Operation *op) {
  return isa<arith::ArithDialect, affine::AffineDialect, func::FuncDialect,
             coll::CollDialect, moert::MoertDialect>(op->getDialect()) ||
         isHostStore(op) ||
         isa<memref::AllocaOp, memref::ViewOp, memref::DimOp, memref::CopyOp,
             memref::CastOp, memref::ExpandShapeOp, memref::CollapseShapeOp>(
             op);
}

namespace {

struct ConvertMoeToKernels
    : moe::impl::ConvertMoeToKernelsPassBase<ConvertMoeToKernels> {
  using ConvertMoeToKernelsPassBase::ConvertMoeToKernelsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<TileTable> measured = readTiles();
    if (failed(measured))
      return signalPassFailure();
    Tiles tiles(*measured);
    KernelTable table(module);
    for (auto interface : llvm::to_vector(module.getOps<moert::InterfaceOp>()))
      if (failed(convertFunction(interface, table, tiles)))
        return signalPassFailure();
    table.finish();
  }

  FailureOr<TileTable> readTiles() {
    if (kernelTable.empty())
      return getBuiltinTileTable();
    auto text = llvm::MemoryBuffer::getFile(kernelTable, /*IsText=*/true);
    if (!text)
      return emitError(getOperation().getLoc())
             << "cannot read the kernel table '" << kernelTable
             << "': " << text.getError().message();
    std::string error;
    FailureOr<TileTable> parsed =
        parseTileTable((*text)->getBuffer(), kernelTable, error);
    if (failed(parsed))
      return emitError(getOperation().getLoc(), error);
    return parsed;
  }

  // Converts `op`, and those behind it that share a kernel with it; `done` are
  // these in order.
  static LogicalResult convertNext(Operation *op, DeviceFunction &device,
                                   SmallVectorImpl<Operation *> &done) {
    done.push_back(op);
    if (auto logits = dyn_cast<RouterLogitsOp>(op)) {
      SelectExpertsOp select = nextSelection(logits);
      if (!select)
        return convert(op, device);
      done.push_back(select);
      KernelOpBuilder b(op->getLoc(), select);
      return convertToKernels(logits, select, b, device);
    }
    if (auto sort = dyn_cast<SortOp>(op))
      if (std::optional<WholeLayer> layer = matchWholeLayer(sort, device)) {
        done.append({layer->up, layer->down, layer->combine});
        KernelOpBuilder b(op->getLoc(), op);
        return convertToKernels(*layer, b, device);
      }
    return convert(op, device);
  }

  // The selection from these logits, if it is the next op with a kernel.
  static SelectExpertsOp nextSelection(RouterLogitsOp logits) {
    Operation *next = logits->getNextNode();
    while (next && isForTheHost(next) &&
           !isa<coll::CollDialect>(next->getDialect()))
      next = next->getNextNode();
    auto select = dyn_cast_or_null<SelectExpertsOp>(next);
    if (select && select.getLogits() == logits.getOuts())
      return select;
    return {};
  }

  LogicalResult convertFunction(moert::InterfaceOp interface,
                                KernelTable &table, Tiles &tiles) {
    FailureOr<func::FuncOp> named = moert::lookupFunction(interface);
    if (failed(named))
      return failure();
    func::FuncOp function = *named;
    if (!moert::markedArgument(function, moert::arenaName) ||
        !moert::markedArgument(function, moert::maxTokensName))
      return interface.emitOpError()
             << "names `" << interface.getFunction()
             << "`, but a func.func with a planned arena is expected";
    addSumKernels(function, table);
    DeviceFunction device(function, interface, table, tiles);
    if (variants) {
      if (int64_t ranks = interface.getArena().getShares(); ranks != 1)
        return interface.emitOpError()
               << "belongs to " << ranks
               << " ranks, but variants are timed on one: place it with "
                  "--place=\"ranks=1\"";
      device.useVariants();
    }
    for (Operation *op = &function.getBody().front().front(); op;) {
      if (isForTheHost(op)) {
        if (!isMemoryEffectFree(op))
          device.setLastProduct(Value());
        op = op->getNextNode();
        continue;
      }
      SmallVector<Operation *> done;
      if (failed(convertNext(op, device, done)))
        return failure();
      op = done.back()->getNextNode();
      for (Operation *converted : llvm::reverse(done))
        converted->erase();
    }
    return device.finish();
  }
};

} // namespace
