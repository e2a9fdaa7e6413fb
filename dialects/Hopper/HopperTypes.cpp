// Shapes and byte counts of the hopper types, and what they refuse.
#include "dialects/Hopper/HopperDialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe::hopper;

static ParseResult parseShape(AsmParser &parser, int64_t &rows,
                              int64_t &columns) {
  SmallVector<int64_t, 2> dims;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseDimensionList(dims, /*allowDynamic=*/false,
                                /*withTrailingX=*/false))
    return failure();
  if (dims.size() != 2)
    return parser.emitError(loc) << "expected rows x columns, but found "
                                 << dims.size() << " dimensions";
  rows = dims[0];
  columns = dims[1];
  return success();
}

static void printShape(AsmPrinter &printer, int64_t rows, int64_t columns) {
  printer << rows << 'x' << columns;
}

#define GET_TYPEDEF_CLASSES
#include "dialects/Hopper/HopperTypes.cpp.inc"

void HopperDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Hopper/HopperTypes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Tile
//===----------------------------------------------------------------------===//

Type TileType::parse(AsmParser &parser) {
  SmallVector<int64_t, 2> dims;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parser.parseDimensionList(dims, /*allowDynamic=*/false) ||
      parser.parseType(element) || parser.parseGreater())
    return {};
  if (dims.size() != 2) {
    parser.emitError(loc) << "expected rows x columns, but found "
                          << dims.size() << " dimensions";
    return {};
  }
  return parser.getChecked<TileType>(loc, parser.getContext(), dims[0], dims[1],
                                     element);
}

void TileType::print(AsmPrinter &printer) const {
  printer << '<' << getRows() << 'x' << getColumns() << 'x' << getElementType()
          << '>';
}

int64_t TileType::getRowBytes() const {
  return getColumns() * getElementType().getIntOrFloatBitWidth() / 8;
}

int64_t TileType::getBytes() const { return getRows() * getRowBytes(); }

LogicalResult TileType::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t rows, int64_t columns, Type element) {
  if (!isa<BFloat16Type, Float8E4M3FNType>(element))
    return emitError() << "tile of " << element
                       << ", but only bf16 and f8E4M3FN are supported";
  if (rows > INT32_MAX || columns > INT32_MAX)
    return emitError() << "tile is " << rows << " x " << columns
                       << ", but at most 2147483647 of each are expected";
  int64_t bytes = columns * element.getIntOrFloatBitWidth() / 8;
  if (bytes != 128 && bytes != 64) // (C1)
    return emitError() << "tile has rows of " << bytes
                       << " bytes, but a swizzled row has 128 or 64";
  if (rows <= 0 || rows % 8) // (C2)
    return emitError() << "tile has " << rows
                       << " rows, expected a positive multiple of 8";
  return success();
}

//===----------------------------------------------------------------------===//
// Ring and staging
//===----------------------------------------------------------------------===//

int64_t RingType::getTileOffset(int64_t tile) const {
  int64_t offset = 0;
  for (TileType before : getTiles().take_front(tile))
    offset += before.getBytes() * getStages();
  return offset;
}

int64_t RingType::getBarrierOffset() const {
  return getTileOffset(getTiles().size());
}

int64_t RingType::getNoteOffset() const {
  return getBarrierOffset() + 16 * getStages();
}

int64_t RingType::getBytes() const {
  return getNoteOffset() + 16 * getStages();
}

LogicalResult RingType::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t stages, ArrayRef<TileType> tiles) {
  if (stages < 1 || tiles.empty()) // (C1)
    return emitError() << "ring has " << stages << " stages of " << tiles.size()
                       << " tiles, expected at least one of each";
  if (stages > INT16_MAX)
    return emitError() << "ring has " << stages
                       << " stages, but at most 32767 are expected";
  for (TileType tile : tiles)
    if (tile.getRowBytes() != 128 || tile.getBytes() % 1024) // (C2)
      return emitError() << "ring tile " << tile << " has rows of "
                         << tile.getRowBytes() << " bytes, expected 128";
  return success();
}

LogicalResult PlacesType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t rows) {
  if (rows > 0 && rows <= 256 && rows % 16 == 0) // (C1)
    return success();
  return emitError() << "places of " << rows
                     << " rows, expected a positive multiple of 16 up to 256";
}

LogicalResult StagingType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t buffers, TileType box) {
  if (buffers < 1) // (C1)
    return emitError() << "staging has " << buffers
                       << " buffers, expected at least 1";
  if (!isa<BFloat16Type>(box.getElementType())) // (C2)
    return emitError() << "staging of " << box.getElementType()
                       << ", but only bf16 is stored";
  return success();
}

LogicalResult GatheredType::verify(function_ref<InFlightDiagnostic()> emitError,
                                   TileType tile) {
  if (tile.getRows() % 16) // (C1)
    return emitError() << "gathered tile has " << tile.getRows()
                       << " rows, expected a multiple of 16";
  return success();
}

//===----------------------------------------------------------------------===//
// Accumulators and fragments
//===----------------------------------------------------------------------===//

static LogicalResult verifyColumns(function_ref<InFlightDiagnostic()> emitError,
                                   StringRef what, int64_t columns) {
  if (columns >= 8 && columns <= 256 && columns % 8 == 0)
    return success();
  return emitError() << what << " has " << columns
                     << " columns, expected a multiple of 8 up to 256";
}

LogicalResult FactorsType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t stages, int64_t columns) {
  if (stages < 1 || stages > INT16_MAX) // (C1)
    return emitError() << "factors of " << stages
                       << " stages, expected 1 to 32767";
  return verifyColumns(emitError, "a stage of factors", columns); // (C2)
}

LogicalResult
AccumulatorType::verify(function_ref<InFlightDiagnostic()> emitError,
                        int64_t rows, int64_t columns) {
  if (rows != 64) // (C1)
    return emitError() << "accumulator has " << rows
                       << " rows, but wgmma always has 64";
  return verifyColumns(emitError, "accumulator", columns); // (C2)
}

LogicalResult FragmentType::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t rows, int64_t columns) {
  if (rows != 64 && rows != 32) // (C1)
    return emitError() << "fragment has " << rows << " rows, expected 64 or 32";
  return verifyColumns(emitError, "fragment", columns); // (C2)
}
