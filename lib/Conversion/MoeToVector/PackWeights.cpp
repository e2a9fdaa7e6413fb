// Each weight argument is judged by its uses, seen through reshapes: uses as a
// product's weight ask for panels, uses as a bias or a gate for the weight as
// it is, uses as scales go with the weight that they scale. All uses of one
// argument must agree. Then the argument's type changes, the ops are told the
// layout, and the prepare function is written: one loop nest for each weight,
// shared by the team. Quantised weights become plain numbers there.
#include "StoredWeight.h"
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Conversion/CpuTile.h"
#include "moe/Conversion/Passes.h"
#include "moe/Conversion/VectorMath.h"

namespace moe {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// One weight of a function: where it stands and what becomes of it.
struct Weight {
  BlockArgument argument;
  MemRefType raw;
  MemRefType packed;             // null: scales, of use to `prepare` alone
  PanelsAttr panels;             // null: kept as it is
  BlockArgument scales;          // of a quantised weight
  SmallVector<OpOperand *> uses; // by ops of ours
};

class FunctionPacker {
public:
  FunctionPacker(func::FuncOp function, const CpuTile &tile)
      : function(function), tile(tile) {}

  LogicalResult run() {
    for (BlockArgument argument : function.getArguments())
      if (isa<BaseMemRefType>(argument.getType()) && failed(judge(argument)))
        return failure();
    if (failed(refuseHiddenWeights()))
      return failure();
    if (weights.empty())
      return success();
    writePrepare();
    llvm::BitVector unused(function.getNumArguments());
    for (Weight &weight : weights) {
      apply(weight);
      if (!weight.packed)
        unused.set(weight.argument.getArgNumber());
    }
    if (failed(function.eraseArguments(unused)))
      return failure();
    function.setFunctionType(FunctionType::get(
        function.getContext(), function.getBody().getArgumentTypes(),
        function.getResultTypes()));
    return success();
  }

private:
  static bool isReshape(Operation *op) {
    return isa<memref::ExpandShapeOp, memref::CollapseShapeOp, memref::CastOp>(
        op);
  }

  // All uses of a value, through reshapes.
  static void collectUses(Value value, SmallVectorImpl<OpOperand *> &uses) {
    for (OpOperand &use : value.getUses())
      if (isReshape(use.getOwner()))
        collectUses(use.getOwner()->getResult(0), uses);
      else
        uses.push_back(&use);
  }

  static bool isProductWeight(OpOperand &use) {
    if (auto op = dyn_cast<GroupedMatmulOp>(use.getOwner()))
      return op.getRhs() == use.get() && !op.getPacked();
    if (auto op = dyn_cast<RouterLogitsOp>(use.getOwner()))
      return op.getWeight() == use.get() && !op.getPacked();
    return false;
  }

  static bool isPlainWeight(OpOperand &use) {
    Value value = use.get();
    return llvm::TypeSwitch<Operation *, bool>(use.getOwner())
        .Case<GroupedMatmulOp, RouterLogitsOp>(
            [&](auto op) { return op.getBias() == value; })
        .Case(
            [&](SelectExpertsOp op) { return op.getSelectionBias() == value; })
        .Case([&](TokenGateOp op) { return op.getWeight() == value; })
        .Default([](Operation *) { return false; });
  }

  static bool isScales(OpOperand &use) {
    auto op = dyn_cast<GroupedMatmulOp>(use.getOwner());
    return op && op.getScales() == use.get();
  }

  // The argument that a value is, seen through reshapes; null for none.
  static BlockArgument argumentBehind(Value value) {
    while (value && value.getDefiningOp() && isReshape(value.getDefiningOp()))
      value = value.getDefiningOp()->getOperand(0);
    return dyn_cast_or_null<BlockArgument>(value);
  }

  // The layout and element type that a product wants for its weight.
  std::pair<PanelsAttr, Type> wanted(OpOperand &use) {
    auto type = cast<MemRefType>(use.get().getType());
    Type rows = getElementTypeOrSelf(use.getOwner()->getOperand(0).getType());
    Type element = rows.isBF16() && !isQuantized(type.getElementType())
                       ? type.getElementType()
                       : rows;
    ArrayRef<int64_t> shape = type.getShape();
    int64_t rank = shape.size();
    int64_t groups = rank > 2 ? shape[0] : 1, parts = rank > 3 ? shape[1] : 1,
            depth = shape[rank - 1], interleave = element.isBF16() ? 2 : 1;
    return {PanelsAttr::get(function.getContext(), groups, parts,
                            shape[rank - 2], depth, tile.width, interleave,
                            tile.streamsOf(depth, interleave)),
            element};
  }

  LogicalResult judge(BlockArgument argument) {
    Weight weight;
    weight.argument = argument;
    collectUses(argument, weight.uses);
    bool marked = function.getArgAttr(argument.getArgNumber(), "moe.weight") ||
                  function.getArgAttr(argument.getArgNumber(), "moe.slice");
    unsigned products = llvm::count_if(
        weight.uses, [](OpOperand *use) { return isProductWeight(*use); });
    bool scales = !weight.uses.empty() &&
                  llvm::all_of(weight.uses,
                               [](OpOperand *use) { return isScales(*use); });
    if (!marked && !scales && products == 0 &&
        llvm::none_of(weight.uses,
                      [](OpOperand *use) { return isPlainWeight(*use); }))
      return success();
    weight.raw = dyn_cast<MemRefType>(argument.getType());
    if (!weight.raw || !weight.raw.hasStaticShape() ||
        !weight.raw.getLayout().isIdentity() ||
        !weight.raw.getElementType().isIntOrFloat())
      return function.emitError()
             << "argument " << argument.getArgNumber()
             << " is a weight of type " << argument.getType()
             << ", but a memref of static shape and identity layout is "
                "expected";
    if (scales) {
      weights.push_back(weight);
      return success();
    }
    Type element = weight.raw.getElementType();
    int64_t size = weight.raw.getNumElements();
    if (products != 0) {
      std::tie(weight.panels, element) = wanted(**llvm::find_if(
          weight.uses, [](OpOperand *use) { return isProductWeight(*use); }));
      size = weight.panels.getElements();
      if (isQuantized(weight.raw.getElementType()) &&
          failed(findScales(weight)))
        return failure();
      for (OpOperand *use : weight.uses) {
        bool product = isProductWeight(*use);
        if (product && wanted(*use) == std::make_pair(weight.panels, element))
          continue;
        return use->getOwner()->emitOpError()
               << "uses argument " << argument.getArgNumber()
               << (product ? " in another layout" : " as it is")
               << ", but another op uses it packed as " << weight.panels;
      }
    }
    weight.packed = MemRefType::get({size}, element);
    weights.push_back(weight);
    return success();
  }

  // Scales are read by `prepare`, hence an argument too, the same for all uses.
  LogicalResult findScales(Weight &weight) {
    for (OpOperand *use : weight.uses) {
      auto op = dyn_cast<GroupedMatmulOp>(use->getOwner());
      BlockArgument scales =
          op ? argumentBehind(op.getScales()) : BlockArgument();
      if (!scales || (weight.scales && scales != weight.scales))
        return use->getOwner()->emitOpError()
               << "uses the quantised argument "
               << weight.argument.getArgNumber()
               << (scales ? " with other scales than another op"
                          : " with scales that are no argument of the function")
               << ", but one argument is expected";
      weight.scales = scales;
    }
    return success();
  }

  // A product's weight that is no argument cannot be packed beforehand.
  LogicalResult refuseHiddenWeights() {
    llvm::SmallPtrSet<OpOperand *, 8> known;
    for (Weight &weight : weights)
      known.insert(weight.uses.begin(), weight.uses.end());
    WalkResult result = function.walk([&](Operation *op) -> WalkResult {
      for (OpOperand &operand : op->getOpOperands())
        if (isProductWeight(operand) &&
            isa<BaseMemRefType>(operand.get().getType()) &&
            !known.contains(&operand))
          return op->emitOpError()
                 << "has a weight of type " << operand.get().getType()
                 << " that is no argument of the function, but one that is "
                    "expected";
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  // Erases reshapes that nothing uses any more, from the last one on.
  static void eraseReshapes(Operation *reshape) {
    while (reshape && reshape->use_empty()) {
      Operation *before = reshape->getOperand(0).getDefiningOp();
      reshape->erase();
      reshape = before;
    }
  }

  void apply(Weight &weight) {
    if (!weight.packed) {
      for (OpOperand *use : weight.uses) {
        Operation *reshape = use->get().getDefiningOp();
        cast<GroupedMatmulOp>(use->getOwner()).getScalesMutable().clear();
        eraseReshapes(reshape);
      }
      return;
    }
    weight.argument.setType(weight.packed);
    function.setArgAttrs(weight.argument.getArgNumber(),
                         ArrayRef<NamedAttribute>());
    if (!weight.panels)
      return keep(weight);
    for (OpOperand *use : weight.uses) {
      llvm::TypeSwitch<Operation *>(use->getOwner())
          .Case<GroupedMatmulOp, RouterLogitsOp>(
              [&](auto op) { op.setPackedAttr(weight.panels); });
      Operation *reshape = use->get().getDefiningOp();
      use->set(weight.argument);
      eraseReshapes(reshape);
    }
  }

  // The buffer has one dimension; its uses see the weight's own shape.
  void keep(Weight &weight) {
    int64_t rank = weight.raw.getRank();
    if (rank == 1 || weight.argument.use_empty())
      return;
    OpBuilder builder = OpBuilder::atBlockBegin(&function.getBody().front());
    SmallVector<ReassociationIndices> all = {
        llvm::to_vector(llvm::seq<int64_t>(0, rank))};
    auto shaped = memref::ExpandShapeOp::create(
        builder, function.getLoc(), weight.raw, weight.argument, all);
    weight.argument.replaceAllUsesExcept(shaped, shaped);
  }

  void writePrepare() {
    OpBuilder outer(function);
    outer.setInsertionPointAfter(function);
    SmallVector<Type> types;
    for (Weight &weight : weights)
      types.push_back(storedType(weight.raw));
    for (Weight &weight : weights)
      if (weight.packed)
        types.push_back(weight.packed);
    auto prepare = func::FuncOp::create(outer, function.getLoc(),
                                        (function.getName() + "_prepare").str(),
                                        outer.getFunctionType(types, {}));
    for (auto [index, weight] : llvm::enumerate(weights))
      if (DictionaryAttr attributes =
              function.getArgAttrDict(weight.argument.getArgNumber());
          attributes && storedType(weight.raw) == weight.raw)
        prepare.setArgAttrs(index, attributes);
    Block *body = prepare.addEntryBlock();
    ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
    b.setInsertionPointToStart(body);
    llvm::DenseMap<Value, Value> rawOf;
    for (auto [index, weight] : llvm::enumerate(weights))
      rawOf[weight.argument] = flatten(b, body->getArgument(index));
    unsigned next = weights.size();
    for (Weight &weight : weights) {
      if (!weight.packed)
        continue;
      Value packed = body->getArgument(next++);
      if (weight.panels)
        writePanels(b, weight,
                    {weight.raw.getElementType(), weight.panels.getColumns(),
                     weight.panels.getDepth(), rawOf[weight.argument],
                     weight.scales ? rawOf[weight.scales] : Value()},
                    packed);
      else
        writeCopy(b, weight.packed.getNumElements(), rawOf[weight.argument],
                  packed);
    }
    meet(b);
    func::ReturnOp::create(b);
  }

  // Columns of one panel by blocks of K, so that the lines written stay in the
  // nearest cache.
  void writePanels(ImplicitLocOpBuilder &b, Weight &weight,
                   const StoredWeight &stored, Value packed) {
    constexpr int64_t block = 64;
    PanelsAttr panels = weight.panels;
    Type element = weight.packed.getElementType();
    Value zero = indexConstant(b, 0),
          depth = indexConstant(b, panels.getDepth());
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(element));
    forEachOfTeam(
        b, indexConstant(b, panels.getGroups() * panels.getPanelsPerGroup()),
        [&](Value item) {
          Value perGroup = indexConstant(b, panels.getPanelsPerGroup());
          Value group = arith::DivUIOp::create(b, item, perGroup);
          Value firstColumn =
              indexMul(b, arith::RemUIOp::create(b, item, perGroup),
                       panels.getPartWidth());
          Value panel = indexMul(b, item, panels.getPanelElements());
          forEach(b, zero, depth, block, [&](Value start) {
            Value end = arith::MinUIOp::create(
                b, depth, indexAdd(b, start, indexConstant(b, block)));
            forEach(
                b, zero, indexConstant(b, panels.getWidth()), 1, [&](Value j) {
                  Value partWidth = indexConstant(b, panels.getPartWidth()),
                        columns = indexConstant(b, panels.getColumns());
                  Value part = arith::DivUIOp::create(b, j, partWidth);
                  Value column = indexAdd(
                      b, firstColumn, arith::RemUIOp::create(b, j, partWidth));
                  Value exists = arith::CmpIOp::create(
                      b, arith::CmpIPredicate::ult, column, columns);
                  Value matrix =
                      indexAdd(b, indexMul(b, group, panels.getParts()), part);
                  Value to = indexAdd(b, panel,
                                      indexMul(b, j, panels.getInterleave()));
                  auto branch = scf::IfOp::create(b, TypeRange(), exists,
                                                  /*withElseRegion=*/true);
                  OpBuilder::InsertionGuard guard(b);
                  b.setInsertionPointToStart(branch.thenBlock());
                  forEach(b, start, end, 1, [&](Value k) {
                    Value value = stored.load(b, matrix, column, k);
                    if (value.getType() != element)
                      value = fromF32(b, toF32(b, value), element);
                    memref::StoreOp::create(b, value, packed,
                                            place(b, panels, to, k));
                  });
                  b.setInsertionPointToStart(branch.elseBlock());
                  forEach(b, start, end, 1, [&](Value k) {
                    memref::StoreOp::create(b, none, packed,
                                            place(b, panels, to, k));
                  });
                });
          });
          for (int64_t k = panels.getDepth(); k % panels.getInterleave() != 0;
               ++k)
            forEach(b, zero, indexConstant(b, panels.getWidth()), 1,
                    [&](Value j) {
                      Value to = indexAdd(
                          b, panel, indexMul(b, j, panels.getInterleave()));
                      memref::StoreOp::create(
                          b, none, packed,
                          place(b, panels, to, indexConstant(b, k)));
                    });
        });
  }

  // Where the element at depth k of the column that begins at `column` stands.
  static Value place(ImplicitLocOpBuilder &b, PanelsAttr panels, Value column,
                     Value k) {
    auto split = [&](Value value, int64_t by) {
      Value divisor = indexConstant(b, by);
      return std::pair<Value, Value>(arith::DivUIOp::create(b, value, divisor),
                                     arith::RemUIOp::create(b, value, divisor));
    };
    Value step = k, rest;
    if (panels.getInterleave() != 1)
      std::tie(step, rest) = split(k, panels.getInterleave());
    if (panels.getStreams() != 1) {
      auto [within, stream] = split(step, panels.getStreams());
      step = indexAdd(
          b, indexMul(b, stream, panels.getSteps() / panels.getStreams()),
          within);
    }
    Value at =
        indexAdd(b, column,
                 indexMul(b, step, panels.getWidth() * panels.getInterleave()));
    return rest ? indexAdd(b, at, rest) : at;
  }

  static void writeCopy(ImplicitLocOpBuilder &b, int64_t size, Value raw,
                        Value packed) {
    constexpr int64_t block = 1024;
    forEachOfTeam(b, indexConstant(b, llvm::divideCeil(size, block)),
                  [&](Value item) {
                    Value start = indexMul(b, item, block);
                    Value end = arith::MinUIOp::create(
                        b, indexConstant(b, size),
                        indexAdd(b, start, indexConstant(b, block)));
                    forEach(b, start, end, 1, [&](Value i) {
                      Value value = memref::LoadOp::create(b, raw, i);
                      memref::StoreOp::create(b, value, packed, i);
                    });
                  });
  }

  func::FuncOp function;
  const CpuTile &tile;
  SmallVector<Weight> weights;
};

struct PackWeights : moe::impl::PackWeightsPassBase<PackWeights> {
  using PackWeightsPassBase::PackWeightsPassBase;

  void runOnOperation() override {
    std::string error;
    FailureOr<CpuTile> tile = CpuTile::get(cpu, error);
    if (failed(tile)) {
      emitError(getOperation().getLoc(), error);
      return signalPassFailure();
    }
    for (auto function :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (!function.isExternal() &&
          failed(FunctionPacker(function, *tile).run()))
        return signalPassFailure();
  }
};
} // namespace
