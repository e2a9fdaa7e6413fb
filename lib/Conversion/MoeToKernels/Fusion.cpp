// Neighbouring ops that one kernel computes: a router, and a whole layer of one
// token.
#include "Conversions.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Codegen/FewRows.h"
#include "moe/Codegen/Router.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Router
//===----------------------------------------------------------------------===//

/// Tokens up to which blocks of 8 are faster than blocks of 64.
static constexpr int64_t smallBlocksUpTo = 2048;

static LogicalResult launchRouter(RouterLogitsOp logits, SelectExpertsOp select,
                                  KernelOpBuilder &b, DeviceFunction &function,
                                  RouterSpec spec,
                                  DeviceFunction::Arguments arguments) {
  if (failed(verifyRouter(spec, [&] { return logits.emitOpError(); })))
    return failure();
  auto spell = [](RouterType type) {
    return type == RouterType::F32 ? "f32" : "bf16";
  };
  spec.name = llvm::formatv("router_{0}_{1}_{2}{3}{4}_by{5}_{6}", spec.hidden,
                            spell(spec.x), spell(spec.w),
                            spec.logitBias ? "_biased" : "",
                            spec.roundLogits ? "_rounded" : "",
                            spec.tokensPerBlock, spec.select.name);
  KernelInterface interface = getRouterInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildRouter(module, spec); });
  Value tokens = rowCount(b, logits.getX());
  SmallVector<std::pair<StringRef, Value>> all(arguments);
  all.push_back({"tokens", tokens});
  return function.launchRows(b, select, interface, number, tokens, all);
}

LogicalResult moe::convertToKernels(RouterLogitsOp logits,
                                    SelectExpertsOp select, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  FailureOr<SelectExpertsSpec> chosen = readSelection(select);
  if (failed(chosen))
    return failure();
  RouterSpec spec;
  spec.select = *chosen;
  spec.hidden = cast<MemRefType>(logits.getX().getType()).getDimSize(1);
  auto typeOf = [](Value value) {
    return getElementTypeOrSelf(value.getType()).isF32() ? RouterType::F32
                                                         : RouterType::BF16;
  };
  spec.x = typeOf(logits.getX());
  spec.w = typeOf(logits.getWeight());
  spec.logitBias = static_cast<bool>(logits.getBias());
  // To the type of the tokens, as the op says.
  spec.roundLogits = !logits.getMatmulF32() && spec.x == RouterType::BF16;
  FailureOr<Value> weight = function.unpacked(logits, logits.getWeight());
  if (failed(weight))
    return failure();
  Value logitBias, selectionBias;
  if (spec.logitBias) {
    FailureOr<Value> packed =
        function.packed(logits, logits.getBias(), logitBiasForm(logits));
    if (failed(packed))
      return failure();
    logitBias = *packed;
  }
  if (spec.select.bias) {
    FailureOr<Value> kept =
        function.unpacked(select, select.getSelectionBias());
    if (failed(kept))
      return failure();
    selectionBias = *kept;
  }
  // One word per block of tokens, however small the blocks.
  Value tokens = rowCount(b, logits.getX());
  FailureOr<TokenBytes> most = boundInTokens(tokens, function.getShares());
  if (failed(most))
    most = boundDimInTokens(logits.getX(), 0, function.getShares());
  if (failed(most))
    return logits.emitOpError("has tokens without a bound that is linear in "
                              "the number of tokens");
  Value state = function.zeroedScratch(
      b, *most * 4, MemRefType::get({ShapedType::kDynamic}, b.getI32Type()),
      tokens);
  std::pair<StringRef, Value> arguments[] = {
      {"x", logits.getX()},         {"w", *weight},
      {"logit_bias", logitBias},    {"bias", selectionBias},
      {"logits", logits.getOuts()}, {"state", state},
      {"ids", select.getOuts()[1]}, {"weights", select.getOuts()[0]}};
  if (!spec.usesTensorCores())
    return launchRouter(logits, select, b, function, spec, arguments);
  Value few = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, tokens,
                                    constantIndex(b, smallBlocksUpTo));
  auto branch = scf::IfOp::create(b, few, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  if (failed(launchRouter(logits, select, b, function, spec, arguments)))
    return failure();
  b.setInsertionPointToStart(branch.elseBlock());
  spec.tokensPerBlock = 64;
  return launchRouter(logits, select, b, function, spec, arguments);
}

//===----------------------------------------------------------------------===//
// Whole layers
//===----------------------------------------------------------------------===//

// What the host computes between kernels; may move before them.
static bool isSize(Operation *op) {
  return isa<memref::ViewOp, memref::DimOp, affine::AffineApplyOp>(op) ||
         isa<arith::ArithDialect>(op->getDialect());
}

// The next op that is no size.
static Operation *nextStep(Operation *op) {
  do
    op = op->getNextNode();
  while (op && isSize(op));
  return op;
}

static bool isIdentity(SortOp sort) {
  ArrayRef<int32_t> slots = sort.getSlots();
  for (auto [slot, expert] : llvm::enumerate(slots))
    if (static_cast<int32_t>(slot) != expert)
      return false;
  return !sort.getFirst() &&
         slots.size() == static_cast<size_t>(sort.getExperts());
}

static FewRowsSpec fewRowsSpec(WholeLayer layer, int64_t maxTokens) {
  PackRowsSpec down = packedWeightForm(layer.down);
  EpilogueChoice epilogue = *chooseEpilogue(*layer.up.getActivation());
  FewRowsSpec spec;
  spec.experts = down.groups;
  spec.hidden = down.rows;
  spec.fp8 = hasFp8Weights(layer.down);
  spec.inner = down.paddedColumns * (spec.fp8 ? 2 : 1);
  spec.topK = layer.sort.getTopK();
  spec.maxTokens = maxTokens;
  // One of them may be in rows in e4m3, whose blocks have 128 columns.
  spec.blockedGateUp = packedWeightForm(layer.up).blocked;
  spec.blockedDown = down.blocked;
  spec.epilogue = epilogue.kind;
  spec.alpha = epilogue.alpha;
  spec.limit = epilogue.limit;
  spec.bias = static_cast<bool>(layer.up.getBias());
  spec.addend = static_cast<bool>(layer.combine.getAddend());
  return spec;
}

static bool isPossible(WholeLayer layer, int64_t maxTokens) {
  ScopedDiagnosticHandler silent(layer.sort.getContext(),
                                 [](Diagnostic &) { return success(); });
  return succeeded(verifyFewRows(fewRowsSpec(layer, maxTokens),
                                 [&] { return layer.sort.emitOpError(); }));
}

/// Whether each token has one row, which is its own: the sort keeps every pair,
/// and `order` names them while nothing else has been written.
static bool isPlaced(WholeLayer layer, DeviceFunction &function) {
  SortOp sort = layer.sort;
  CombineOp combine = layer.combine;
  if (sort.getTopK() != 1 || sort.getFirst() || sort.getGroup() != 1 ||
      combine.getAddend() || !function.isInArena(layer.down.getOuts()) ||
      !getElementTypeOrSelf(combine.getOuts().getType()).isBF16())
    return false;
  return llvm::all_of(layer.down.getOuts().getUsers(), [&](Operation *user) {
    return user == layer.down || user == combine;
  });
}

std::optional<WholeLayer> moe::matchWholeLayer(SortOp sort,
                                               DeviceFunction &function) {
  auto up = dyn_cast_or_null<GroupedMatmulOp>(nextStep(sort));
  auto down = up ? dyn_cast_or_null<GroupedMatmulOp>(nextStep(up)) : nullptr;
  auto combine = down ? dyn_cast_or_null<CombineOp>(nextStep(down)) : nullptr;
  if (!combine || !isIdentity(sort))
    return std::nullopt;
  Value order = sort.getOuts()[0], positions = sort.getOuts()[1],
        offsets = sort.getOuts()[2];
  bool rises = up.getOffsets() == offsets && up.getGather() == order &&
               up.getGatherDivisor() == static_cast<uint64_t>(sort.getTopK()) &&
               !up.getScatter() && !up.getRowWeights() && up.getActivation() &&
               chooseEpilogue(*up.getActivation());
  bool falls = down.getLhs() == up.getOuts() && down.getOffsets() == offsets &&
               !down.getGather() && !down.getScatter() && !down.getActivation();
  bool joins = combine.getRows() == down.getOuts() &&
               combine.getPositions() == positions && !combine.getAddendGate();
  auto isBF16 = [](Value value) {
    return getElementTypeOrSelf(value.getType()).isBF16();
  };
  bool oneType = (isBF16(up.getRhs()) && isBF16(down.getRhs())) ||
                 (hasFp8Weights(up) && hasFp8Weights(down));
  bool bf16 = isBF16(up.getLhs()) && isBF16(combine.getOuts());
  if (!rises || !falls || !joins)
    return std::nullopt;
  WholeLayer layer{sort, up, down, combine};
  layer.isPlaced = isPlaced(layer, function);
  // What the kernel refuses is computed by the others.
  bool sameBias =
      static_cast<bool>(down.getBias()) == static_cast<bool>(up.getBias());
  layer.isOneKernel = oneType && bf16 && combine.getWeights() && sameBias &&
                      isPossible(layer, 1);
  if (!layer.isPlaced && !layer.isOneKernel)
    return std::nullopt;
  return layer;
}

static StringRef spellForms(const FewRowsSpec &spec) {
  if (spec.blockedGateUp)
    return spec.blockedDown ? "_blocked" : "_blocked_up";
  return spec.blockedDown ? "_blocked_down" : "";
}

static LogicalResult launchWholeLayer(WholeLayer layer, int64_t maxTokens,
                                      KernelOpBuilder &b,
                                      DeviceFunction &function) {
  GroupedMatmulOp up = layer.up, down = layer.down;
  CombineOp combine = layer.combine;
  FewRowsSpec spec = fewRowsSpec(layer, maxTokens);
  if (failed(verifyFewRows(spec, [&] { return up.emitOpError(); })))
    return failure();
  spec.name =
      llvm::formatv("few_rows_e{0}_h{1}_i{2}_k{3}_t{4}{5}{6}{7}{8}{9}",
                    spec.experts, spec.hidden, spec.inner, spec.topK,
                    spec.maxTokens, spellForms(spec), spec.fp8 ? "_fp8" : "",
                    spec.bias ? "_bias" : "", spec.addend ? "_addend" : "",
                    spellEpilogue(spec.epilogue, spec.alpha, spec.limit));
  auto packed = [&](GroupedMatmulOp op, Value weight,
                    const PackRowsSpec &form) -> FailureOr<Value> {
    return function.packed(op, weight, form);
  };
  FailureOr<Value> gateUp = packed(up, up.getRhs(), packedWeightForm(up));
  FailureOr<Value> fall = packed(down, down.getRhs(), packedWeightForm(down));
  FailureOr<Value> upBias{Value()}, downBias{Value()};
  if (spec.bias) {
    upBias = packed(up, up.getBias(), packedBiasForm(up));
    downBias = packed(down, down.getBias(), packedBiasForm(down));
  }
  if (failed(gateUp) || failed(fall) || failed(upBias) || failed(downBias))
    return failure();
  FailureOr<Value> upScales{Value()}, downScales{Value()};
  if (spec.fp8) {
    upScales = function.unpacked(up, up.getScales());
    downScales = function.unpacked(down, down.getScales());
    if (failed(upScales) || failed(downScales))
      return failure();
  }
  int64_t rows = spec.maxTokens * spec.topK;
  Value hidden =
      function.scratch(b, {0, 0, 2 * rows * spec.inner},
                       MemRefType::get({rows, spec.inner}, b.getBF16Type()));
  Value state = function.zeroedScratch(b, {0, 0, 16},
                                       MemRefType::get({4}, b.getI32Type()));
  KernelInterface interface = getFewRowsInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildFewRows(module, spec); });
  return function.launch(b, up, interface, number, constantIndex(b, -1),
                         {{"x", up.getLhs()},
                          {"ids", layer.sort->getOperand(0)},
                          {"weights", combine.getWeights()},
                          {"gate_up", *gateUp},
                          {"down", *fall},
                          {"gate_up_scale", *upScales},
                          {"down_scale", *downScales},
                          {"up_bias", *upBias},
                          {"down_bias", *downBias},
                          {"addend", combine.getAddend()},
                          {"hidden_rows", hidden},
                          {"state", state},
                          {"y", combine.getOuts()},
                          {"tokens", rowCount(b, layer.sort.getIds())}});
}

namespace {
/// A kernel of the whole layer: up to how many tokens it is right, and, where
/// there are variants, when it is launched besides.
struct FewKernel {
  int64_t mostTokens;
  Value condition; // null: always
};
} // namespace

// Kernels of the whole layer for ever more tokens, the ops' own kernels for
// what is left.
static LogicalResult launchByTokens(const WholeLayer &layer,
                                    ArrayRef<FewKernel> kernels,
                                    KernelOpBuilder &b,
                                    DeviceFunction &function) {
  if (kernels.empty()) {
    if (failed(convertToKernels(layer.sort, b, function)) ||
        failed(convertToKernels(layer.up, b, function)))
      return failure();
    SortOp sort = layer.sort;
    if (layer.isPlaced)
      return convertToKernels(layer.down, {layer.combine, sort.getOuts()[0]}, b,
                              function);
    if (failed(convertToKernels(layer.down, b, function)))
      return failure();
    return convertToKernels(layer.combine, b, function);
  }
  SortOp sort = layer.sort;
  // One token at least: without any the number wraps around.
  Value before =
      arith::SubIOp::create(b, rowCount(b, sort.getIds()), constantIndex(b, 1));
  Value fits =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ult, before,
                            constantIndex(b, kernels.front().mostTokens));
  if (Value condition = kernels.front().condition)
    fits = arith::AndIOp::create(b, fits, condition);
  auto branch = scf::IfOp::create(b, fits, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  if (failed(launchWholeLayer(layer, kernels.front().mostTokens, b, function)))
    return failure();
  b.setInsertionPointToStart(branch.elseBlock());
  return launchByTokens(layer, kernels.drop_front(), b, function);
}

// Variant 0 is what the table says, the next the ops' own kernels, the others
// the layer in one kernel.
static SmallVector<FewKernel> listKernels(WholeLayer layer,
                                          const FewEntry &sizes,
                                          ArrayRef<int64_t> mostTokens,
                                          KernelOpBuilder &b,
                                          DeviceFunction &function) {
  SmallVector<FewKernel> kernels;
  if (!function.hasVariants()) {
    for (int64_t most : mostTokens)
      kernels.push_back({most, Value()});
    return kernels;
  }
  SmallVector<int64_t> few = {0};
  for (int64_t most : fewRowsTokens)
    if (isPossible(layer, most))
      few.push_back(most);
  auto named = [&](StringRef name, int64_t value) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(value));
  };
  Value chosen = function.variant(
      b, b.getDictionaryAttr(
             {named("experts", sizes.experts), named("top_k", sizes.topK),
              named("hidden", sizes.hidden), named("inner", sizes.inner),
              b.getNamedAttr("fp8", b.getBoolAttr(sizes.fp8)),
              b.getNamedAttr("few", b.getI64ArrayAttr(few))}));
  auto isChosen = [&](int64_t variant) {
    return DeviceFunction::isVariant(b, chosen, variant);
  };
  Value isTable = isChosen(0);
  for (auto [index, most] : llvm::enumerate(ArrayRef(few).drop_front())) {
    Value condition = isChosen(index + 2);
    if (llvm::is_contained(mostTokens, most))
      condition = arith::OrIOp::create(b, condition, isTable);
    kernels.push_back({most, condition});
  }
  return kernels;
}

LogicalResult moe::convertToKernels(const WholeLayer &layer, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  SortOp sort = layer.sort;
  for (Operation *op = sort->getNextNode(); op != layer.combine;) {
    Operation *next = op->getNextNode();
    if (isSize(op))
      op->moveBefore(sort);
    op = next;
  }
  b.setInsertionPoint(sort);
  if (!layer.isOneKernel)
    return launchByTokens(layer, {}, b, function);
  FewRowsSpec sizes = fewRowsSpec(layer, 1);
  FewEntry entry = {sizes.experts, sizes.hidden, sizes.inner,
                    sizes.topK,    sizes.fp8,    {}};
  std::vector<int64_t> mostTokens = function.tiles().fewTokens(entry);
  return launchByTokens(
      layer, listKernels(layer, entry, mostTokens, b, function), b, function);
}
