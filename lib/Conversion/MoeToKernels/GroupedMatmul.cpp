// A grouped product in a few tiles, one of which the host chooses at run time.
#include "Conversions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Codegen/GroupedMatmul.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

namespace {

class Conversion {
public:
  Conversion(GroupedMatmulOp op, const PlacedRows &placed, KernelOpBuilder &b,
             DeviceFunction &function)
      : op(op), placed(placed), b(b), function(function) {}
  LogicalResult run();

private:
  LogicalResult readShapes();
  LogicalResult readFp8();
  bool feedsFp8();
  LogicalResult quantizeRows();
  LogicalResult quantizeNow(const QuantizedRows &to, Value from, Value index,
                            Value count);
  FailureOr<QuantizedRows> quantizeFor(const Bucket &bucket);
  LogicalResult readEpilogue();
  LogicalResult readRows();
  LogicalResult readWeights();
  LogicalResult readTarget();
  LogicalResult makeRoomForRows();
  GroupedMatmulSpec place(GroupedMatmulSpec plain);
  GroupedMatmulSpec specify(const Bucket &bucket);
  LogicalResult finish(const GroupedMatmulSpec &launched);
  bool canMove();
  LogicalResult makeRoom();
  LogicalResult makeRoomFor(ArrayRef<Bucket> buckets);
  LogicalResult moveRows();
  void makeRoomForParts(ArrayRef<Bucket> buckets);
  LogicalResult launchFrom(ArrayRef<Bucket> rest);
  LogicalResult launch(const Bucket &bucket);
  FailureOr<DictionaryAttr> describe(ArrayRef<TileCandidate> candidates);
  LogicalResult launchChosen(Value chosen, ArrayRef<Bucket> buckets,
                             ArrayRef<TileCandidate> candidates);

  GroupedMatmulOp op;
  PlacedRows placed;
  KernelOpBuilder &b;
  DeviceFunction &function;
  GroupedMatmulSpec spec;
  int64_t parts = 1, columns = 0, depth = 0; // of the op, unpadded
  Value rows, index, weights, bias, offsets, target;
  Value output;                 // what rows are stored to in the end
  Value moved;                  // room for the rows that `index` names
  Value splitState, splitParts; // of kernels that split tiles
  Value expected;               // rows by which a tile is chosen
  // With fp8 weights: the rows, their scales, and what the next product reads.
  QuantizedRows quantized, quantizedTarget;
  // The same where a tile decides: rows in the order of the experts, or tokens.
  QuantizedRows quantizedMoved, quantizedTokens;
  Value weightScales;
};

} // namespace

LogicalResult Conversion::readShapes() {
  spec.fp8 = hasFp8Weights(op);
  if (failed(expectBF16(op, "rows", op.getLhs())) ||
      (!spec.fp8 && failed(expectBF16(op, "a weight", op.getRhs()))) ||
      failed(expectBF16(op, "a result", op.getOuts())))
    return failure();
  ArrayRef<int64_t> shape = cast<MemRefType>(op.getRhs().getType()).getShape();
  if (shape.size() < 3)
    return op.emitOpError() << "has a weight of type " << op.getRhs().getType()
                            << ", but one that is not packed is expected";
  spec.experts = shape[0];
  parts = shape.size() == 4 ? shape[1] : 1;
  columns = shape[shape.size() - 2];
  depth = shape.back();
  spec.n = parts * devicePitch(columns);
  spec.k = devicePitch(depth);
  return spec.fp8 ? readFp8() : success();
}

LogicalResult Conversion::readFp8() {
  if (columns % 16 || depth % 16)
    return op.emitOpError()
           << "has fp8 weights of " << columns << " x " << depth
           << ", but multiples of 16 are expected on a "
              "device; compile for --target=cpu";
  FailureOr<Value> scales = function.unpacked(op, op.getScales());
  if (failed(scales))
    return failure();
  weightScales = *scales;
  return success();
}

/// Whether another product with fp8 weights, and nothing else, reads the
/// result.
bool Conversion::feedsFp8() {
  if (!spec.fp8 || !op.getActivation() || op.getScatter())
    return false;
  bool feeds = false;
  for (Operation *user : op.getOuts().getUsers()) {
    if (user == op)
      continue;
    auto next = dyn_cast<GroupedMatmulOp>(user);
    if (!next || next.getLhs() != op.getOuts() || !hasFp8Weights(next) ||
        next.getGather() || next.getRowWeights() ||
        next.getRows() != op.getRows())
      return false;
    feeds = true;
  }
  return feeds;
}

std::optional<EpilogueChoice> moe::chooseEpilogue(ActivationAttr activation) {
  bool plain = activation.getAlpha() == 1.0 && activation.getLimit() == 0.0 &&
               activation.getUpOffset() == 0.0;
  bool clamped = activation.getLimit() > 0.0 && activation.getUpOffset() == 1.0;
  if (activation.getKind() != ActivationKind::Silu || !activation.getGated() ||
      (!plain && !clamped))
    return std::nullopt;
  if (plain)
    return EpilogueChoice{GroupedEpilogue::Swiglu};
  return EpilogueChoice{GroupedEpilogue::SwigluClamped, activation.getAlpha(),
                        activation.getLimit()};
}

std::string moe::spellEpilogue(GroupedEpilogue kind, double alpha,
                               double limit) {
  if (kind == GroupedEpilogue::None)
    return "";
  if (kind == GroupedEpilogue::Swiglu)
    return "_swiglu";
  return llvm::formatv("_clamped_{0}_{1}",
                       llvm::utohexstr(llvm::bit_cast<uint64_t>(alpha)),
                       llvm::utohexstr(llvm::bit_cast<uint64_t>(limit)));
}

LogicalResult Conversion::readEpilogue() {
  std::optional<ActivationAttr> activation = op.getActivation();
  if (!activation)
    return success();
  std::optional<EpilogueChoice> choice = chooseEpilogue(*activation);
  if (!choice)
    return op.emitOpError()
           << "has the activation " << *activation
           << ", but on a device gated silu is expected, plain or with a "
              "limit and an up_offset of 1; compile for --target=cpu";
  spec.epilogue = choice->kind;
  spec.alpha = choice->alpha;
  spec.limit = choice->limit;
  return success();
}

// Rows come by plain pointers where they are gathered or are the caller's, else
// through a tensor map.
LogicalResult Conversion::readRows() {
  if (spec.fp8)
    return quantizeRows();
  rows = op.getLhs();
  index = op.getGather();
  spec.gatherIndex = static_cast<bool>(index);
  spec.gatherDivisor = index ? op.getGatherDivisor() : 1;
  // Weighted rows are rounded before the product, as the op says.
  if (op.getRowWeights()) {
    if (failed(makeRoom()) || failed(moveRows()))
      return failure();
    rows = moved;
    index = Value();
    spec.gatherIndex = false;
    spec.gatherDivisor = 1;
    return success();
  }
  bool mapped = function.isInArena(rows);
  spec.gather = index || !mapped;
  if (!mapped && depth % 8 != 0)
    return op.emitOpError() << "reads rows of " << depth
                            << " elements that the caller gives, but a "
                               "multiple of 8 is expected on a device";
  return success();
}

LogicalResult Conversion::makeRoom() {
  FailureOr<Value> room = function.scratchRows(b, op, op.getRows(), depth);
  if (succeeded(room))
    moved = *room;
  return room;
}

/// For rows that are moved, or quantised, before a product.
LogicalResult Conversion::makeRoomFor(ArrayRef<Bucket> buckets) {
  bool someMove = llvm::any_of(buckets, [](auto &b) { return b.moves; });
  if (!spec.fp8)
    return success(!someMove || succeeded(makeRoom()));
  if (!spec.gather)
    return success();
  auto take = [&](QuantizedRows &target, Value count) -> LogicalResult {
    FailureOr<QuantizedRows> room =
        function.scratchQuantized(b, op, count, depth);
    if (succeeded(room))
      target = *room;
    return room;
  };
  if (someMove && failed(take(quantizedMoved, op.getRows())))
    return failure();
  if (llvm::all_of(buckets, [](auto &b) { return b.moves; }))
    return success();
  return take(quantizedTokens, rowCount(b, op.getLhs()));
}

LogicalResult Conversion::moveRows() {
  RowMove move;
  move.from = op.getLhs();
  move.index = op.getGather();
  move.weights = op.getRowWeights();
  move.to = moved;
  move.rows = op.getRows();
  move.columns = depth;
  move.divisor = op.getGatherDivisor();
  return launchMove(op, b, function, move);
}

/// Of rows that are a bound, not all have an index.
bool Conversion::canMove() {
  return op.getGather() && !op->hasAttr("moe.part") &&
         succeeded(boundInTokens(op.getRows(), function.getShares()));
}

LogicalResult Conversion::quantizeNow(const QuantizedRows &to, Value from,
                                      Value index, Value count) {
  RowMove move;
  move.from = from;
  move.index = index;
  move.rows = count;
  move.columns = depth;
  move.divisor = index ? op.getGatherDivisor() : 1;
  // Of rows that are a bound, not all have an index.
  bool isBound = op->hasAttr("moe.part") && op.getOffsets();
  return launchQuantize(op, b, function, move, to, op.getOffsets(),
                        isBound ? spec.experts : 0);
}

/// Rows that the product before has not quantised already.  Where they may be
/// gathered the tile decides what is quantised, else it is done here.
LogicalResult Conversion::quantizeRows() {
  spec.gatherIndex = false;
  if (std::optional<QuantizedRows> known = function.quantized(op.getLhs())) {
    quantized = *known;
    return success();
  }
  Value tokens = rowCount(b, op.getLhs());
  if (!op.getRowWeights() && canMove() &&
      succeeded(boundInTokens(tokens, function.getShares()))) {
    index = op.getGather();
    spec.gather = spec.gatherIndex = true;
    spec.gatherDivisor = op.getGatherDivisor();
    return success();
  }
  FailureOr<QuantizedRows> room =
      function.scratchQuantized(b, op, op.getRows(), depth);
  if (failed(room))
    return failure();
  quantized = *room;
  if (!op.getRowWeights())
    return quantizeNow(quantized, op.getLhs(), op.getGather(), op.getRows());
  if (op->hasAttr("moe.part") && op.getOffsets())
    return op.emitOpError("weighs rows whose number is a bound on their way "
                          "to fp8, which no kernel does; compile for "
                          "--target=cpu or with dispatcher=all_to_all");
  // Weighted rows are rounded before the product, as the op says.
  if (failed(makeRoom()) || failed(moveRows()))
    return failure();
  return quantizeNow(quantized, moved, /*index=*/Value(), op.getRows());
}

/// What the kernel of a tile reads.
FailureOr<QuantizedRows> Conversion::quantizeFor(const Bucket &bucket) {
  if (!spec.gather)
    return quantized;
  const QuantizedRows &to = bucket.moves ? quantizedMoved : quantizedTokens;
  LogicalResult done =
      bucket.moves
          ? quantizeNow(to, op.getLhs(), index, op.getRows())
          : quantizeNow(to, op.getLhs(), Value(), rowCount(b, op.getLhs()));
  if (failed(done))
    return failure();
  return to;
}

bool moe::hasFp8Weights(GroupedMatmulOp op) {
  return isa<Float8E4M3FNType>(getElementTypeOrSelf(op.getRhs().getType()));
}

PackRowsSpec moe::packedWeightForm(GroupedMatmulOp op) {
  ArrayRef<int64_t> shape = cast<MemRefType>(op.getRhs().getType()).getShape();
  PackRowsSpec form;
  form.groups = shape[0];
  form.parts = shape.size() == 4 ? shape[1] : 1;
  form.rows = shape[shape.size() - 2];
  form.columns = shape.back();
  form.paddedRows = devicePitch(form.rows);
  // Pairs of e4m3 are packed as one element of two bytes.
  if (hasFp8Weights(op))
    form.columns /= 2;
  form.paddedColumns = devicePitch(form.columns);
  // Both weights of an expert have these two sizes: in bf16 they are stored
  // alike.
  form.blocked = form.rows % 64 == 0 && form.columns % 64 == 0;
  return form;
}

PackRowsSpec moe::packedBiasForm(GroupedMatmulOp op) {
  PackRowsSpec form = packedWeightForm(op);
  form.columns = form.paddedColumns = 1;
  form.blocked = false;
  form.sourceF32 = getElementTypeOrSelf(op.getBias().getType()).isF32();
  form.targetF32 = true;
  return form;
}

LogicalResult Conversion::readWeights() {
  PackRowsSpec form = packedWeightForm(op);
  FailureOr<Value> packed = function.packed(op, op.getRhs(), form);
  if (failed(packed))
    return failure();
  weights = *packed;
  spec.blockedWeights = form.blocked;
  if (!op.getBias())
    return success();
  spec.bias = true;
  FailureOr<Value> packedBias =
      function.packed(op, op.getBias(), packedBiasForm(op));
  if (failed(packedBias))
    return failure();
  bias = *packedBias;
  return success();
}

LogicalResult Conversion::readTarget() {
  offsets = op.getOffsets();
  if (!offsets) {
    offsets =
        function.scratch(b, {0, 0, 8}, MemRefType::get({2}, b.getI32Type()));
    if (failed(launchSetWords(op, b, function, offsets,
                              {constantIndex(b, 0), op.getRows()})))
      return failure();
  }
  target = op.getOuts();
  output = placed.combine ? placed.combine.getOuts() : target;
  if (feedsFp8()) {
    FailureOr<QuantizedRows> room =
        function.scratchQuantized(b, op, op.getRows(), columns);
    if (failed(room))
      return failure();
    quantizedTarget = *room;
    function.setQuantized(target, quantizedTarget);
  }
  return success();
}

/// For kernels that write consecutive rows, through a tensor map.
LogicalResult Conversion::makeRoomForRows() {
  if (!op.getScatter() && function.isInArena(target))
    return success();
  FailureOr<Value> room = function.scratchRows(b, op, op.getRows(), columns);
  if (failed(room))
    return failure();
  target = *room;
  return success();
}

static std::string nameOf(const GroupedMatmulSpec &spec) {
  std::string name =
      llvm::formatv("matmul_e{0}_n{1}_k{2}_{3}x{4}", spec.experts, spec.n,
                    spec.k, spec.tileTokens, spec.tileWeights);
  if (spec.swap)
    name += "_swap";
  if (spec.skipDead)
    name += "_skip";
  if (spec.tails)
    name += llvm::formatv("_tails{0}", spec.tails);
  if (spec.cluster != 1)
    name += llvm::formatv("_cluster{0}", spec.cluster);
  if (spec.split)
    name += llvm::formatv("_split{0}", spec.split);
  if (spec.weightsFirst)
    name += "_first";
  if (spec.scatter)
    name += spec.scatterFactors ? "_scatter_scaled" : "_scatter";
  if (spec.blockedWeights)
    name += "_blocked";
  if (spec.gather)
    name += spec.gatherIndex ? "_gather" : "_plain";
  if (spec.gatherDivisor != 1)
    name += llvm::formatv("_div{0}", spec.gatherDivisor);
  if (spec.fp8)
    name += "_fp8";
  if (spec.rescale)
    name += "_rescaled";
  if (spec.inTurn)
    name += "_turns";
  if (spec.quantize)
    name += "_quantized";
  if (spec.bias)
    name += "_bias";
  name += spellEpilogue(spec.epilogue, spec.alpha, spec.limit);
  return name;
}

/// The kernel that stores rows where they belong, if they do not stay in order
/// and there is one; else the kernel itself.
GroupedMatmulSpec Conversion::place(GroupedMatmulSpec plain) {
  if ((!placed.combine && !op.getScatter()) || columns != spec.n)
    return plain;
  GroupedMatmulSpec variant = plain;
  variant.scatter = true;
  variant.scatterFactors = placed.combine && placed.combine.getWeights();
  ScopedDiagnosticHandler silent(op.getContext(),
                                 [](Diagnostic &) { return success(); });
  bool isLegal =
      succeeded(verifyGroupedMatmul(variant, [&] { return op.emitOpError(); }));
  return isLegal ? variant : plain;
}

GroupedMatmulSpec Conversion::specify(const Bucket &bucket) {
  GroupedMatmulSpec variant = place(bucket.product());
  // Other tiles are for more rows, to which a few microseconds are little, and
  // are needed in turn as well.
  variant.weightsFirst = bucket.early && variant.swap && !variant.tails &&
                         !variant.gather && !variant.fp8 &&
                         variant.split <= 1 && function.isSettled(offsets);
  // Tiles for few rows store bf16, which is quantised after them.
  variant.quantize =
      quantizedTarget.codes && !variant.swap && variant.tileWeights == 256;
  return variant;
}

LogicalResult Conversion::launch(const Bucket &bucket) {
  Value read = bucket.moves ? moved : rows;
  QuantizedRows codes;
  if (spec.fp8) {
    FailureOr<QuantizedRows> made = quantizeFor(bucket);
    if (failed(made))
      return failure();
    codes = *made;
    read = codes.codes;
  } else if (bucket.moves && failed(moveRows())) {
    return failure();
  }
  GroupedMatmulSpec variant = specify(bucket);
  if (failed(verifyGroupedMatmul(variant, [&] { return op.emitOpError(); })))
    return failure();
  variant.name = nameOf(variant);
  KernelInterface interface = getGroupedMatmulInterface(variant);
  int32_t number = function.kernels().add(
      interface,
      [&](gpu::GPUModuleOp module) { buildGroupedMatmul(module, variant); },
      bucket.early);
  if (failed(function.launch(
          b, op, interface, number, constantIndex(b, -1),
          {{"x", read},
           {"index", index},
           {"w", weights},
           {"y", variant.scatter    ? output
                 : variant.quantize ? quantizedTarget.codes
                                    : target},
           {"offsets", offsets},
           {"state", splitState},
           {"parts", splitParts},
           {"places", placed.combine ? placed.order : op.getScatter()},
           {"factors", placed.combine ? placed.combine.getWeights() : Value()},
           {"bias", bias},
           {"x_scale", codes.scales},
           {"w_scale", weightScales},
           {"y_scale", quantizedTarget.scales},
           {"scale_rows",
            variant.gather ? rowCount(b, op.getLhs()) : op.getRows()}})))
    return failure();
  return finish(variant);
}

/// What is left to do behind a kernel.
LogicalResult Conversion::finish(const GroupedMatmulSpec &launched) {
  if (launched.scatter || launched.quantize)
    return success();
  RowMove move;
  move.from = target;
  move.rows = op.getRows();
  move.columns = columns;
  if (quantizedTarget.codes)
    return launchQuantize(op, b, function, move, quantizedTarget);
  if (placed.combine) {
    function.setLastProduct(target);
    return convertToKernels(placed.combine, b, function);
  }
  if (!op.getScatter())
    return success();
  move.index = op.getScatter();
  move.to = output;
  move.scatter = true;
  return launchMove(op, b, function, move);
}

/// Of the launches one runs: they share the memory of the largest.
void Conversion::makeRoomForParts(ArrayRef<Bucket> buckets) {
  int64_t stateBytes = 0, partBytes = 0;
  for (const Bucket &bucket : buckets) {
    if (!bucket.spec.split)
      continue;
    stateBytes = std::max(stateBytes, getSplitStateBytes(bucket.spec));
    partBytes = std::max(partBytes, getSplitPartBytes(bucket.spec));
  }
  if (stateBytes)
    splitState = function.zeroedScratch(
        b, {0, 0, stateBytes},
        MemRefType::get({stateBytes / 4}, b.getI32Type()));
  if (partBytes)
    splitParts = function.scratch(
        b, {0, 0, partBytes}, MemRefType::get({partBytes / 4}, b.getF32Type()));
}

LogicalResult Conversion::launchFrom(ArrayRef<Bucket> rest) {
  const Bucket &bucket = rest.front();
  if (rest.size() == 1)
    return launch(bucket);
  Value most = constantIndex(b, bucket.mostRows);
  Value fits =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ule, expected, most);
  auto branch = scf::IfOp::create(b, fits, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  if (failed(launch(bucket)))
    return failure();
  b.setInsertionPointToStart(branch.elseBlock());
  return launchFrom(rest.drop_front());
}

/// What moe-run needs to write a table of what it has timed.
FailureOr<DictionaryAttr>
Conversion::describe(ArrayRef<TileCandidate> candidates) {
  FailureOr<TokenBytes> bound =
      boundInTokens(op.getRows(), function.getShares());
  if (failed(bound) || bound->constant)
    return op.emitOpError("has rows whose number is no multiple of the number "
                          "of tokens, but variants are timed by tokens");
  SmallVector<Attribute> tiles;
  for (const TileCandidate &candidate : candidates)
    tiles.push_back(candidate.choice.spell(op.getContext()));
  return b.getDictionaryAttr(
      {b.getNamedAttr("k", b.getI64IntegerAttr(spec.k)),
       b.getNamedAttr("n", b.getI64IntegerAttr(spec.n)),
       b.getNamedAttr("paired", b.getBoolAttr(spec.isPaired())),
       b.getNamedAttr("fp8", b.getBoolAttr(spec.fp8)),
       b.getNamedAttr("experts", b.getI64IntegerAttr(spec.experts)),
       b.getNamedAttr("rows_per_token",
                      b.getI64IntegerAttr(bound->perToken + bound->perShare)),
       b.getNamedAttr("tiles", b.getArrayAttr(tiles))});
}

/// Variant 0 is what the table says, the others are the candidates.
LogicalResult Conversion::launchChosen(Value chosen, ArrayRef<Bucket> buckets,
                                       ArrayRef<TileCandidate> candidates) {
  OpBuilder::InsertionGuard guard(b);
  for (size_t i = 0; i < candidates.size(); ++i) {
    Value isIt = DeviceFunction::isVariant(b, chosen, i);
    auto branch = scf::IfOp::create(b, isIt, /*withElseRegion=*/true);
    b.setInsertionPointToStart(branch.thenBlock());
    ArrayRef<Bucket> launched = buckets;
    if (i)
      launched = candidates[i - 1].buckets;
    if (failed(launchFrom(launched)))
      return failure();
    b.setInsertionPointToStart(branch.elseBlock());
  }
  return launchFrom(candidates.back().buckets);
}

LogicalResult Conversion::run() {
  if (failed(readShapes()) || failed(readEpilogue()) || failed(readRows()) ||
      failed(readWeights()) || failed(readTarget()))
    return failure();
  bool isChoice = index && canMove();
  // A token has all of its rows or none.
  FailureOr<TokenBytes> most =
      boundInTokens(op.getRows(), function.getShares());
  int64_t leastRows = spec.gatherDivisor;
  if (!op->hasAttr("moe.part") && succeeded(most) && !most->perShare &&
      !most->constant)
    leastRows = std::max(leastRows, most->perToken);
  SmallVector<Bucket> buckets =
      function.tiles().choose(op.getLoc(), spec, isChoice, leastRows);
  std::vector<TileCandidate> candidates;
  if (function.hasVariants())
    candidates = Tiles::listCandidates(op.getLoc(), spec, isChoice);
  SmallVector<Bucket> mayRun(buckets.begin(), buckets.end());
  for (const TileCandidate &candidate : candidates)
    llvm::append_range(mayRun, candidate.buckets);
  if (failed(makeRoomFor(mayRun)))
    return failure();
  makeRoomForParts(mayRun);
  auto isPlaced = [&](const Bucket &bucket) {
    return place(bucket.product()).scatter;
  };
  if (!llvm::all_of(mayRun, isPlaced) && failed(makeRoomForRows()))
    return failure();
  expected = op.getRows();
  if (auto part = op->getAttrOfType<DenseI64ArrayAttr>("moe.part"))
    expected = arith::DivUIOp::create(b, timesFactor(b, expected, part[0]),
                                      constantIndex(b, part[1]));
  if (candidates.empty()) {
    if (failed(launchFrom(buckets)))
      return failure();
  } else {
    FailureOr<DictionaryAttr> description = describe(candidates);
    if (failed(description) ||
        failed(launchChosen(function.variant(b, *description), buckets,
                            candidates)))
      return failure();
  }
  function.setSettled(offsets);
  if (placed.combine || op.getScatter())
    return success();
  if (target == op.getOuts()) {
    if (!quantizedTarget.codes)
      function.setLastProduct(target);
    return success();
  }
  auto type = cast<MemRefType>(op.getOuts().getType());
  if (devicePitch(columns) != columns)
    return op.emitOpError()
           << "writes rows of " << columns << " elements to " << type
           << ", but a multiple of 8 is expected on a device";
  moert::CopyOp::create(b, target, op.getOuts());
  return success();
}

LogicalResult moe::convertToKernels(GroupedMatmulOp op,
                                    const PlacedRows &placed,
                                    KernelOpBuilder &b,
                                    DeviceFunction &function) {
  return Conversion(op, placed, b, function).run();
}

LogicalResult moe::convertToKernels(GroupedMatmulOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  return Conversion(op, PlacedRows(), b, function).run();
}
