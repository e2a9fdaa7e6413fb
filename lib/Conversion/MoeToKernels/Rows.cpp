// Sorting, moving and adding up rows.
#include "Conversions.h"

#include "dialects/Coll/CollDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe/Codegen/Combine.h"
#include "moe/Codegen/MoveRows.h"
#include "moe/Codegen/QuantizeRows.h"
#include "moe/Codegen/Regroup.h"
#include "moe/Codegen/SumRanks.h"
#include "moe/Codegen/TokenSort.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

Value moe::constantIndex(KernelOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

Value moe::rowCount(KernelOpBuilder &b, Value buffer) {
  return b.createOrFold<memref::DimOp>(buffer, 0);
}

Value moe::timesFactor(KernelOpBuilder &b, Value rows, int64_t factor) {
  if (factor == 1)
    return rows;
  return arith::MulIOp::create(b, rows, constantIndex(b, factor));
}

LogicalResult moe::expectBF16(Operation *op, StringRef what, Value buffer) {
  Type element = cast<ShapedType>(buffer.getType()).getElementType();
  if (element.isBF16())
    return success();
  if (!element.isF32() && !element.isF16())
    return op->emitOpError() << "has " << what << " of " << element
                             << ", which the cuda target does not read yet: "
                                "make the checkpoint's weights bf16, or "
                                "compile for --target=cpu";
  return op->emitOpError() << "has " << what << " of " << element
                           << ", but the device computes in bf16: import the "
                              "model with --dtype=bf16";
}

LogicalResult moe::launchSetWords(Operation *op, KernelOpBuilder &b,
                                  DeviceFunction &function, Value target,
                                  ValueRange words) {
  SetWordsSpec spec;
  spec.count = words.size();
  spec.name = llvm::formatv("set_words_{0}", spec.count);
  KernelInterface interface = getSetWordsInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildSetWords(module, spec); });
  SmallVector<std::string> names;
  for (size_t i = 0; i < words.size(); ++i)
    names.push_back("word" + std::to_string(i));
  SmallVector<std::pair<StringRef, Value>> arguments = {{"target", target}};
  for (auto [name, word] : llvm::zip(names, words))
    arguments.push_back({name, word});
  return function.launch(b, op, interface, number, constantIndex(b, 1),
                         arguments);
}

LogicalResult moe::launchMove(Operation *op, KernelOpBuilder &b,
                              DeviceFunction &function, const RowMove &move) {
  MoveRowsSpec spec;
  spec.columns = move.columns;
  spec.divisor = move.divisor;
  spec.scatter = move.scatter;
  spec.weights = static_cast<bool>(move.weights);
  spec.words =
      getElementTypeOrSelf(move.from.getType()).getIntOrFloatBitWidth() == 32;
  if (failed(verifyMoveRows(spec, [&] { return op->emitOpError(); })))
    return failure();
  spec.name = llvm::formatv(
      "{0}_{1}_{2}{3}{4}", spec.scatter ? "scatter" : "gather",
      spec.words ? "words" : "rows", spec.columns,
      spec.divisor == 1 ? std::string()
                        : llvm::formatv("_div{0}", spec.divisor).str(),
      spec.weights ? "_weighted" : "");
  KernelInterface interface = getMoveRowsInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildMoveRows(module, spec); });
  return function.launchRows(b, op, interface, number, move.rows,
                             {{"x", move.from},
                              {"index", move.index},
                              {"weights", move.weights},
                              {"y", move.to}});
}

LogicalResult moe::launchQuantize(Operation *op, KernelOpBuilder &b,
                                  DeviceFunction &function, const RowMove &move,
                                  const QuantizedRows &to, Value offsets,
                                  int64_t groups) {
  QuantizeRowsSpec spec;
  spec.columns = move.columns;
  spec.divisor = move.divisor;
  spec.indexed = static_cast<bool>(move.index);
  spec.groups = groups;
  if (failed(verifyQuantizeRows(spec, [&] { return op->emitOpError(); })))
    return failure();
  spec.name = llvm::formatv(
      "quantize_{0}_{1}{2}{3}", spec.indexed ? "gathered" : "rows",
      spec.columns,
      spec.divisor == 1 ? std::string()
                        : llvm::formatv("_div{0}", spec.divisor).str(),
      groups ? llvm::formatv("_of{0}", groups).str() : std::string());
  KernelInterface interface = getQuantizeRowsInterface(spec);
  int32_t number =
      function.kernels().add(interface, [&](gpu::GPUModuleOp module) {
        buildQuantizeRows(module, spec);
      });
  return function.launchRows(b, op, interface, number, move.rows,
                             {{"x", move.from},
                              {"index", move.index},
                              {"offsets", offsets},
                              {"y", to.codes},
                              {"y_scale", to.scales},
                              {"scale_rows", move.rows},
                              {"rows", move.rows}});
}

//===----------------------------------------------------------------------===//
// Sort
//===----------------------------------------------------------------------===//

/// Pairs up to which one CTA sorts, and pairs of each CTA beyond.
static constexpr int64_t singlePairs = 1024, sharedPairs = 512;
static constexpr int64_t mostBlocks = 128;

static TokenSortSpec sortSpec(SortOp op) {
  TokenSortSpec spec;
  spec.experts = op.getExperts();
  spec.slots = op.getWindow();
  spec.topK = op.getTopK();
  spec.group = op.getGroup();
  spec.tokens = false;
  spec.window = static_cast<bool>(op.getFirst());
  ArrayRef<int32_t> slots = op.getSlots();
  spec.placement.assign(spec.experts, -1);
  for (auto [slot, expert] : llvm::enumerate(slots))
    if (expert >= 0)
      spec.placement[expert] = slot;
  bool identity = true;
  for (auto [expert, slot] : llvm::enumerate(spec.placement))
    identity &= slot == static_cast<int32_t>(expert);
  // Without a window slots and experts are equally many only if none is empty.
  if (identity && (spec.window || spec.slots == spec.experts))
    spec.placement.clear();
  return spec;
}

static std::string sortName(const TokenSortSpec &spec) {
  static constexpr StringRef stages[] = {"", "_count", "_place"};
  std::string name = llvm::formatv(
      "sort_e{0}_s{1}_k{2}{3}{4}{5}", spec.experts, spec.getSlots(), spec.topK,
      spec.group == 1 ? std::string()
                      : llvm::formatv("_by{0}", spec.group).str(),
      spec.window ? "_window" : "", stages[static_cast<int>(spec.stage)]);
  // A placement is spelled whole: a name says all that a kernel is made from.
  if (!spec.placement.empty()) {
    name += "_at";
    for (int32_t slot : spec.placement)
      name += "_" + std::to_string(slot);
  }
  return name;
}

LogicalResult moe::convertToKernels(SortOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  TokenSortSpec spec = sortSpec(op);
  if (failed(verifyTokenSort(spec, [&] { return op.emitOpError(); })))
    return failure();
  Value pairs = timesFactor(b, rowCount(b, op.getIds()), spec.topK);
  Value status =
      moert::StatusOp::create(b, MemRefType::get({1}, b.getI32Type()));
  Value counts = function.scratch(
      b, {0, 0, 4 * mostBlocks * spec.getBins()},
      MemRefType::get({mostBlocks * spec.getBins()}, b.getI32Type()));
  auto launch = [&](TokenSortStage stage, Value grid) {
    TokenSortSpec staged = spec;
    staged.stage = stage;
    staged.name = sortName(staged);
    KernelInterface interface = getTokenSortInterface(staged);
    int32_t number =
        function.kernels().add(interface, [&](gpu::GPUModuleOp module) {
          buildTokenSort(module, staged);
        });
    return function.launch(b, op, interface, number, grid,
                           {{"ids", op.getIds()},
                            {"counts", counts},
                            {"order", op.getOuts()[0]},
                            {"positions", op.getOuts()[1]},
                            {"offsets", op.getOuts()[2]},
                            {"status", status},
                            {"first", op.getFirst()},
                            {"pairs", pairs}});
  };
  Value few = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, pairs,
                                    constantIndex(b, singlePairs));
  auto branch = scf::IfOp::create(b, few, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  if (failed(launch(TokenSortStage::Single, constantIndex(b, 1))))
    return failure();
  b.setInsertionPointToStart(branch.elseBlock());
  Value blocks = arith::MinUIOp::create(
      b, arith::DivUIOp::create(b, pairs, constantIndex(b, sharedPairs)),
      constantIndex(b, mostBlocks));
  if (failed(launch(TokenSortStage::Count, blocks)))
    return failure();
  return launch(TokenSortStage::Place, blocks);
}

//===----------------------------------------------------------------------===//
// Take, counts, regroup
//===----------------------------------------------------------------------===//

LogicalResult moe::convertToKernels(TakeOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  // Numbers of experts and their weights move as they are.
  Type element = getElementTypeOrSelf(op.getX().getType());
  bool words = element.isInteger(32) || (element.isF32() && !op.getWeights());
  if (!words && failed(expectBF16(op, "rows", op.getX())))
    return failure();
  RowMove move;
  move.from = op.getX();
  move.index = op.getOrder();
  move.weights = op.getWeights();
  move.to = op.getOuts();
  move.rows = op.getRows();
  move.columns = cast<MemRefType>(op.getX().getType()).getDimSize(1);
  move.divisor = op.getTopK();
  return launchMove(op, b, function, move);
}

LogicalResult moe::convertToKernels(CountsOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  CountsSpec spec;
  spec.count = cast<MemRefType>(op.getOuts().getType()).getNumElements();
  spec.name = llvm::formatv("counts_{0}", spec.count);
  KernelInterface interface = getCountsInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildCounts(module, spec); });
  return function.launch(
      b, op, interface, number, constantIndex(b, getCountsBlocks(spec)),
      {{"offsets", op.getOffsets()}, {"counts", op.getOuts()}});
}

LogicalResult moe::convertToKernels(RegroupOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  auto counts = cast<MemRefType>(op.getCounts().getType());
  RegroupSpec spec;
  spec.slots = counts.getShape().back();
  spec.sources = counts.getNumElements() / spec.slots;
  if (failed(verifyRegroup(spec, [&] { return op.emitOpError(); })))
    return failure();
  spec.name = llvm::formatv("regroup_{0}x{1}", spec.sources, spec.slots);
  KernelInterface interface = getRegroupInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildRegroup(module, spec); });
  return function.launch(b, op, interface, number,
                         constantIndex(b, spec.sources * spec.slots),
                         {{"counts", op.getCounts()},
                          {"order", op.getOuts()[0]},
                          {"offsets", op.getOuts()[1]}});
}

//===----------------------------------------------------------------------===//
// Combine and sums
//===----------------------------------------------------------------------===//

LogicalResult moe::convertToKernels(CombineOp op, KernelOpBuilder &b,
                                    DeviceFunction &function) {
  if (failed(expectBF16(op, "rows", op.getRows())) ||
      failed(expectBF16(op, "a result", op.getOuts())) ||
      (op.getAddend() && failed(expectBF16(op, "an addend", op.getAddend()))))
    return failure();
  CombineSpec spec;
  spec.columns = cast<MemRefType>(op.getRows().getType()).getDimSize(1);
  spec.positions = static_cast<bool>(op.getPositions());
  spec.topK = spec.positions
                  ? cast<MemRefType>(op.getPositions().getType()).getDimSize(1)
                  : 1;
  spec.weights = static_cast<bool>(op.getWeights());
  spec.addend = static_cast<bool>(op.getAddend());
  spec.gate = static_cast<bool>(op.getAddendGate());
  // Directly behind the product that makes the rows, all else is there.
  spec.placesFirst =
      spec.positions && function.getLastProduct() == op.getRows();
  if (failed(verifyCombine(spec, [&] { return op.emitOpError(); })))
    return failure();
  spec.name = llvm::formatv(
      "combine_{0}_k{1}{2}{3}{4}{5}{6}", spec.columns, spec.topK,
      spec.positions ? "" : "_in_order", spec.weights ? "_weighted" : "",
      spec.addend ? "_addend" : "", spec.gate ? "_gated" : "",
      spec.placesFirst ? "_first" : "");
  KernelInterface interface = getCombineInterface(spec);
  int32_t number = function.kernels().add(
      interface, [&](gpu::GPUModuleOp module) { buildCombine(module, spec); });
  return function.launchRows(b, op, interface, number,
                             rowCount(b, op.getOuts()),
                             {{"rows", op.getRows()},
                              {"positions", op.getPositions()},
                              {"weights", op.getWeights()},
                              {"addend", op.getAddend()},
                              {"gate", op.getAddendGate()},
                              {"y", op.getOuts()}});
}

void moe::addSumKernels(func::FuncOp function, KernelTable &table) {
  function.walk([&](Operation *op) {
    if (!isa<coll::AllReduceOp, coll::ReduceScatterOp, coll::ReduceScatterVOp>(
            op))
      return;
    Type element =
        cast<ShapedType>(op->getOperand(0).getType()).getElementType();
    if (!element.isF32() && !element.isBF16())
      return;
    SumRanksSpec spec;
    spec.f32 = element.isF32();
    StringRef dtype = spec.f32 ? "f32" : "bf16";
    spec.name = "sum_ranks_" + dtype.str();
    table.setSum(dtype, table.add(getSumRanksInterface(spec),
                                  [&](gpu::GPUModuleOp module) {
                                    buildSumRanks(module, spec);
                                  }));
  });
}
