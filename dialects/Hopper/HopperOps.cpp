// What the hopper ops refuse.
#include "dialects/Forms/TwoForms.h"
#include "dialects/Hopper/HopperDialect.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace moe::hopper;

static ParseResult parseTileShape(OpAsmParser &parser, IntegerAttr &rows,
                                  IntegerAttr &columns) {
  SmallVector<int64_t, 2> dims;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseDimensionList(dims, /*allowDynamic=*/false,
                                /*withTrailingX=*/false))
    return failure();
  if (dims.size() != 2)
    return parser.emitError(loc) << "expected rows x columns, but found "
                                 << dims.size() << " dimensions";
  rows = parser.getBuilder().getI64IntegerAttr(dims[0]);
  columns = parser.getBuilder().getI64IntegerAttr(dims[1]);
  return success();
}

static void printTileShape(OpAsmPrinter &printer, Operation *, IntegerAttr rows,
                           IntegerAttr columns) {
  printer << rows.getInt() << 'x' << columns.getInt();
}

#define GET_OP_CLASSES
#include "dialects/Hopper/HopperOps.cpp.inc"

/// The swizzle is a function of address bits up to 1024 bytes. Addresses in
/// shared memory have 32 bits.
static LogicalResult verifyPlacement(Operation *op, int64_t offset) {
  constexpr int64_t period = 1024, last = INT32_MAX / period * period;
  if (offset >= 0 && offset <= last && offset % period == 0)
    return success();
  int64_t nearest = std::clamp<int64_t>(offset, 0, last);
  return op->emitOpError() << "starts at byte " << offset
                           << ", expected a multiple of 1024 such as "
                           << (nearest + period - 1) / period * period;
}

static LogicalResult verifyTile(Operation *op, RingType ring, int64_t tile) {
  int64_t count = ring.getTiles().size();
  if (tile >= 0 && tile < count)
    return success();
  return op->emitOpError() << "names tile " << tile << ", but the ring has "
                           << count;
}

static LogicalResult verifyPositive(Operation *op, StringRef what,
                                    int64_t value) {
  if (value >= 1)
    return success();
  return op->emitOpError() << "has " << value << " " << what
                           << ", expected at least 1";
}

LogicalResult RingDeclOp::verify() {
  return verifyPlacement(*this, getOffset()); // (C1)
}

LogicalResult StagingOp::verify() {
  return verifyPlacement(*this, getOffset()); // (C1)
}

LogicalResult InitRingOp::verify() {
  if (getFill() > 0 && getDrain() > 0) // (C1)
    return success();
  return emitOpError() << "has " << getFill() << " fill and " << getDrain()
                       << " drain arrivals, expected at least 1 of each";
}

LogicalResult ExpectOp::verify() {
  llvm::SmallSet<int64_t, 8> seen;
  for (int64_t tile : getTiles()) { // (C1)
    if (failed(verifyTile(*this, getRing().getType(), tile)))
      return failure();
    if (!seen.insert(tile).second)
      return emitOpError() << "names tile " << tile << " twice";
  }
  return success();
}

LogicalResult TmaLoadOp::verify() {
  return verifyTile(*this, getRing().getType(), getTile()); // (C1)
}

LogicalResult GatherRowsOp::verify() {
  Type element = getRows().getType().getTile().getElementType();
  int64_t pitch = getPitch();
  if (pitch <= 0 || pitch > INT32_MAX) // (C1)
    return emitOpError() << "has rows " << pitch
                         << " elements apart, expected 1 to 2147483647";
  int64_t bytes = pitch * element.getIntOrFloatBitWidth() / 8;
  if (bytes % 16 != 0) // (C1)
    return emitOpError() << "has rows " << bytes
                         << " bytes apart, expected a positive multiple of 16";
  int64_t divisor = getDivisor();
  if (divisor < 1 || (divisor != 1 && !getIndex())) // (C2)
    return emitOpError() << "divides by " << divisor << ", expected "
                         << (getIndex() ? "a positive number"
                                        : "1 without an index");
  return success();
}

LogicalResult GatherLoadOp::verify() {
  RingType ring = getRing().getType();
  if (failed(verifyTile(*this, ring, getTile()))) // (C1)
    return failure();
  TileType want = ring.getTiles()[getTile()];
  TileType have = getRows().getType().getTile();
  if (want != have) // (C1)
    return emitOpError() << "loads rows of " << have << " into " << want;
  return success();
}

LogicalResult NextTileOp::verify() {
  for (auto [what, value] :
       {std::pair<StringRef, int64_t>{"experts", getExperts()},
        {"columns", getColumns()},
        {"tile rows", getTileRows()},
        {"tile columns", getTileColumns()},
        {"row tiles per pass", getPassTiles()}})
    if (failed(verifyPositive(*this, what, value))) // (C1)
      return failure();
  int64_t unit = getEqual().value_or(1);
  if (unit < 1 || getTileRows() % unit) // (C2)
    return emitOpError() << "rounds the height of row tiles of "
                         << getTileRows() << " to " << unit
                         << ", expected a divisor";
  return success();
}

LogicalResult CountTilesOp::verify() {
  for (auto [what, value] :
       {std::pair<StringRef, int64_t>{"experts", getExperts()},
        {"columns", getColumns()},
        {"tile rows", getTileRows()},
        {"tile columns", getTileColumns()}})
    if (failed(verifyPositive(*this, what, value))) // (C1)
      return failure();
  return success();
}

LogicalResult ArrivePartOp::verify() {
  return verifyPositive(*this, "parts", getCount()); // (C1)
}

LogicalResult SumPartsOp::verify() {
  return verifyPositive(*this, "parts", getCount()); // (C1)
}

LogicalResult MmaOp::verify() {
  if (failed(verifyFirstSegments(*this, 3)))
    return failure();
  RingType ring = getRing().getType();
  if (failed(verifyTile(*this, ring, getLhs())) || // (C1)
      failed(verifyTile(*this, ring, getRhs())))
    return failure();
  TileType lhs = ring.getTiles()[getLhs()], rhs = ring.getTiles()[getRhs()];
  if (lhs.getColumns() != rhs.getColumns() ||
      lhs.getElementType() != rhs.getElementType()) // (C1)
    return emitOpError() << "multiplies " << lhs << " by " << rhs
                         << ", expected equal columns and element types";
  AccumulatorType acc = getResult().getType();
  int64_t first = getFirst();
  if (first < 0 || first > INT32_MAX || first % 8) // (C3)
    return emitOpError() << "begins at row " << first
                         << " of rhs, expected a multiple of 8";
  int64_t columns = getColumns().value_or(acc.getColumns());
  if (columns < 8 || columns % 8 || columns > acc.getColumns()) // (C5)
    return emitOpError() << "sums " << columns << " columns of " << acc
                         << ", expected a multiple of 8 up to all of them";
  if (lhs.getRows() < acc.getRows() || rhs.getRows() < first + columns) // (C2)
    return emitOpError() << "needs " << acc.getRows() << " rows of lhs and "
                         << first + columns << " of rhs, but they have "
                         << lhs.getRows() << " and " << rhs.getRows();
  if (static_cast<bool>(getStep()) != getGroup().has_value()) // (C7)
    return emitOpError() << "has `" << (getStep() ? "step" : "group")
                         << "` alone, expected both `step` and `group`, or "
                            "neither";
  int64_t steps = lhs.getRowBytes() / 32, group = getGroup().value_or(steps);
  if (group < 1 || group > steps || steps % group) // (C6)
    return emitOpError() << "has " << group << " of " << steps
                         << " steps in a group, expected a divisor";
  if ((getUnless() || getColumns()) && !getAcc()) // (C4)
    return emitOpError() << (getUnless() ? "drops" : "keeps")
                         << " accumulators that it does not have";
  return success();
}

LogicalResult MmaThrottleOp::verify() {
  if (getPending() >= 0 && getPending() <= 7) // (C1)
    return success();
  return emitOpError() << "keeps " << getPending()
                       << " groups in flight, expected 0 to 7";
}

void MmaWaitOp::build(OpBuilder &builder, OperationState &state,
                      ValueRange accumulators) {
  SmallVector<Type> types;
  for (Value accumulator : accumulators) {
    auto type = cast<AccumulatorType>(accumulator.getType());
    types.push_back(FragmentType::get(builder.getContext(), type.getRows(),
                                      type.getColumns()));
  }
  build(builder, state, types, accumulators);
}

LogicalResult MmaWaitOp::verify() {
  if (getAcc().size() != getFragment().size())
    return emitOpError() << "gives " << getFragment().size()
                         << " fragments out of " << getAcc().size()
                         << " accumulators, expected as many";
  for (auto [from, to] : llvm::zip_equal(getAcc(), getFragment())) {
    auto acc = cast<AccumulatorType>(from.getType());
    auto fragment = cast<FragmentType>(to.getType());
    if (acc.getRows() != fragment.getRows() ||
        acc.getColumns() != fragment.getColumns()) // (C1)
      return emitOpError() << "gives " << fragment << " out of " << acc
                           << ", expected the same shape";
  }
  return success();
}

LogicalResult MmaResumeOp::verify() {
  AccumulatorType acc = getAcc().getType();
  FragmentType fragment = getFragment().getType();
  if (acc.getRows() == fragment.getRows() &&
      acc.getColumns() == fragment.getColumns()) // (C1)
    return success();
  return emitOpError() << "makes " << acc << " of " << fragment
                       << ", expected the same shape";
}

/// Slices of the fragment's shape: two that alternate, one, or one for each 128
/// columns.
static LogicalResult verifyUnits(Operation *op, FragmentType fragment,
                                 ValueRange units,
                                 std::optional<Axis> alternate) {
  for (Value unit : units) {
    auto type = cast<SliceType>(unit.getType());
    if (type != units.front().getType() ||
        type.getRows() != fragment.getRows() ||
        type.getColumns() != fragment.getColumns())
      return op->emitOpError()
             << "has " << type
             << ", expected slices of one type and of the shape of "
             << fragment;
  }
  size_t most =
      alternate ? 2 : std::max<int64_t>(fragment.getColumns() / 128, 1);
  if (units.size() == most || (units.size() == 1 && !alternate))
    return success();
  return op->emitOpError() << "has " << units.size() << " slices for "
                           << fragment << ", expected " << most
                           << (alternate ? " that alternate" : " or 1");
}

LogicalResult PromoteOp::verify() {
  FragmentType partial = getPartial().getType(), sum = getSum().getType();
  if (failed(
          verifyUnits(*this, partial, getUnits(), getAlternate()))) // (C1) (C2)
    return failure();
  int64_t first = getFirst();
  if (partial.getRows() != sum.getRows() || first < 0 ||
      first + partial.getColumns() > sum.getColumns()) // (C3)
    return emitOpError() << "adds " << partial << " from column " << first
                         << " on to " << sum << ", expected it to fit";
  if (first % 16) // (C4)
    return emitOpError() << "adds from column " << first
                         << " on, expected a multiple of 16";
  return success();
}

LogicalResult RescaleOp::verify() {
  if (failed(verifyFirstSegments(*this, 1)))
    return failure();
  if (!getTo().empty() && getTo().getTypes() != getFrom().getTypes()) // (C2)
    return emitOpError() << "goes from " << getFrom().size() << " slices to "
                         << getTo().size() << ", expected the same types";
  return verifyUnits(*this, getFragment().getType(), getFrom(),
                     getAlternate()); // (C1) (C2)
}

LogicalResult EpilogueOp::verify() {
  FragmentType in = getFragment().getType(), out = getResult().getType();
  std::optional<Axis> pair = getPair();
  for (Value slice : getSlices()) { // (C1)
    auto type = cast<SliceType>(slice.getType());
    if (type.getRows() != in.getRows() || type.getColumns() != in.getColumns())
      return emitOpError() << "has " << type << ", expected the shape of "
                           << in;
    if (pair && type.getAxis() == *pair)
      return emitOpError() << "pairs " << stringifyAxis(*pair)
                           << ", so a slice along them has two values per "
                              "result, expected the other axis";
  }
  int64_t rows = in.getRows() / (pair == Axis::Rows ? 2 : 1);
  int64_t columns = in.getColumns() / (pair == Axis::Columns ? 2 : 1);
  if (out.getRows() != rows || out.getColumns() != columns) // (C2)
    return emitOpError() << "gives " << out << ", expected " << rows << "x"
                         << columns;
  if (pair == Axis::Columns && in.getColumns() % 16) // (C2)
    return emitOpError() << "pairs columns of " << in
                         << ", expected a multiple of 16 columns";
  Block &body = getBody().front();
  size_t expected = (pair ? 2 : 1) + getSlices().size();
  if (body.getNumArguments() != expected ||
      !llvm::all_of(body.getArgumentTypes(),
                    [](Type type) { return type.isF32(); })) // (C3)
    return emitOpError() << "has a region of " << body.getNumArguments()
                         << " arguments, expected " << expected << " f32";
  return success();
}

void YieldOp::build(OpBuilder &, OperationState &) {}

template <typename Store> static int64_t countBoxes(Store store) {
  TileType box = store.getStaging().getType().getBox();
  int64_t along = store.getTransposed() ? box.getRows() : box.getColumns();
  return store.getFragment().getType().getColumns() / along;
}

template <typename Store> static LogicalResult verifyBoxes(Store store) {
  FragmentType fragment = store.getFragment().getType();
  StagingType staging = store.getStaging().getType();
  TileType box = staging.getBox();
  // Boxes lie along the fragment's columns in either orientation.
  int64_t across = store.getTransposed() ? box.getColumns() : box.getRows();
  int64_t along = store.getTransposed() ? box.getRows() : box.getColumns();
  if (fragment.getRows() != across || fragment.getColumns() % along)
    return store.emitOpError() << "stores " << fragment << " in boxes of "
                               << box << ", expected a whole number of them";
  if (store.getBoxes() % staging.getBuffers())
    return store.emitOpError()
           << "stores " << store.getBoxes() << " boxes through "
           << staging.getBuffers() << " buffers, expected a multiple";
  return success();
}

int64_t StoreTileOp::getBoxes() { return countBoxes(*this); }

LogicalResult StoreTileOp::verify() {
  return verifyBoxes(*this); // (C1) (C2)
}

LogicalResult StoreQuantizedOp::verify() {
  FragmentType fragment = getFragment().getType();
  TileType box = getStaging().getType().getBox();
  if (fragment.getRows() != 64 || fragment.getColumns() != 128 ||
      box.getRows() != 64 || box.getColumns() != 64) // (C1)
    return emitOpError() << "stores " << fragment << " in a box of " << box
                         << ", expected 64x128 in 64x64";
  if (getStaging().getType().getBuffers() != 1) // (C2)
    return emitOpError() << "has " << getStaging().getType().getBuffers()
                         << " buffers, expected 1";
  if (getColumns() < 1) // (C3)
    return emitOpError() << "has an output of " << getColumns()
                         << " columns, expected at least 1";
  return success();
}

LogicalResult TakeColumnsOp::verify() {
  FragmentType from = getFragment().getType(), to = getResult().getType();
  if (from.getRows() != to.getRows()) // (C1)
    return emitOpError() << "takes " << to << " from " << from
                         << ", expected as many rows";
  int64_t first = getFirst(), most = from.getColumns() - to.getColumns();
  if (first < 0 || first % 8 || first > most) // (C2)
    return emitOpError() << "takes " << to << " from column " << first << " of "
                         << from << " on, expected a multiple of 8 up to "
                         << most;
  return success();
}

LogicalResult JoinColumnsOp::verify() {
  FragmentType whole = getResult().getType();
  int64_t columns = 0;
  for (Type type : getParts().getTypes()) {
    auto part = cast<FragmentType>(type);
    columns += part.getColumns();
    if (part.getRows() != whole.getRows()) // (C1)
      return emitOpError() << "makes " << whole << " of " << part
                           << ", expected as many rows";
  }
  if (columns != whole.getColumns()) // (C2)
    return emitOpError() << "makes " << whole << " of " << columns
                         << " columns, expected as many";
  return success();
}

LogicalResult PackOverOp::verify() {
  FragmentType values = getValues().getType(), part = getPart().getType();
  bool fits = values.getRows() == part.getRows() ||
              values.getRows() * 2 == part.getRows();
  if (values.getColumns() == part.getColumns() && fits) // (C1)
    return success();
  return emitOpError() << "packs " << values << " over " << part
                       << ", expected as many columns, and rows or half of "
                          "them";
}

LogicalResult WriteStagingOp::verify() {
  FragmentType packed = getPacked().getType();
  StagingType staging = getStaging().getType();
  TileType box = staging.getBox();
  int64_t buffer = getBuffer(), first = getFirst();
  if (buffer < 0 || buffer >= staging.getBuffers()) // (C1)
    return emitOpError() << "writes buffer " << buffer << " of "
                         << staging.getBuffers() << ", expected 0 to "
                         << staging.getBuffers() - 1;
  int64_t rows = packed.getRows();
  if (box.getColumns() != rows && box.getColumns() * 2 != rows) // (C2)
    return emitOpError() << "writes " << packed << " to a box of " << box
                         << ", expected boxes of " << rows << " or " << rows / 2
                         << " columns";
  int64_t most = box.getRows() - packed.getColumns();
  if (first < 0 || first % 8 || first > most) // (C2) (C3)
    return emitOpError() << "writes " << packed.getColumns()
                         << " rows of a box of " << box << " from " << first
                         << " on, expected a multiple of 8 up to " << most;
  return success();
}

static LogicalResult verifySent(Operation *op, StagingType staging,
                                int64_t boxes) {
  int64_t buffers = staging.getBuffers();
  if (boxes >= 1 && boxes <= buffers)
    return success();
  return op->emitOpError() << "sends " << boxes << " of " << buffers
                           << " buffers, expected 1 to " << buffers;
}

LogicalResult SendStagingOp::verify() {
  return verifySent(*this, getStaging().getType(), getBoxes()); // (C1)
}

/// Of words that are read in fours.
static LogicalResult verifyWords(Operation *op, int64_t offset) {
  if (offset >= 0 && offset <= INT32_MAX && offset % 16 == 0)
    return success();
  return op->emitOpError() << "starts at byte " << offset
                           << ", expected a multiple of 16 below 2147483648";
}

LogicalResult PlacesOp::verify() {
  return verifyWords(*this, getOffset()); // (C1)
}

LogicalResult FactorsOp::verify() {
  return verifyWords(*this, getOffset()); // (C1)
}

LogicalResult ApplyFactorsOp::verify() {
  size_t weights = getWeights().size();
  if (weights < 1 || weights > 2) // (C1)
    return emitOpError() << "has " << weights
                         << " factors of weights, expected 1, or 2 in turn";
  int64_t columns = getFragment().getType().getColumns();
  int64_t known = getFactors().getType().getColumns();
  if (columns > known) // (C2)
    return emitOpError() << "multiplies " << columns
                         << " columns by factors of " << known;
  return success();
}

/// Along the rows of a box, whose rows `places` names, to an output of rows of
/// `columns` elements.
static LogicalResult verifyScatter(Operation *op, TileType box,
                                   PlacesType places, int64_t rows,
                                   int64_t columns) {
  if (box.getColumns() != 64 || rows > places.getRows()) // (C2)
    return op->emitOpError()
           << "has boxes of " << box << " and places of " << places.getRows()
           << " rows, expected 64 columns and at least " << rows << " rows";
  if (columns < 8 || columns % 8) // (C3)
    return op->emitOpError() << "has an output of " << columns
                             << " columns, expected a positive multiple of 8";
  return success();
}

LogicalResult ScatterTileOp::verify() {
  if (failed(verifyBoxes(*this))) // (C1)
    return failure();
  TileType box = getStaging().getType().getBox();
  int64_t rows =
      getTransposed() ? getFragment().getType().getColumns() : box.getRows();
  return verifyScatter(*this, box, getPlaces().getType(), rows, getColumns());
}

int64_t ScatterTileOp::getBoxes() { return countBoxes(*this); }

LogicalResult ScatterStagingOp::verify() {
  StagingType staging = getStaging().getType();
  if (failed(verifySent(*this, staging, getBoxes()))) // (C1)
    return failure();
  TileType box = staging.getBox();
  return verifyScatter(*this, box, getPlaces().getType(), box.getRows(),
                       getColumns());
}
