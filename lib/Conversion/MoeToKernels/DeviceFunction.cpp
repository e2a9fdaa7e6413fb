#include "Conversions.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "moe/Codegen/Regroup.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

int64_t moe::devicePitch(int64_t columns) { return llvm::alignTo(columns, 8); }

static Value ceilDiv(ImplicitLocOpBuilder &b, Value value, int64_t divisor) {
  if (divisor == 1)
    return value;
  return arith::CeilDivUIOp::create(b, value, constantIndex(b, divisor));
}

// The buffer behind casts and reshapes.
static Value rootOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<memref::ExpandShapeOp, memref::CollapseShapeOp, memref::CastOp>(
            op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

DeviceFunction::DeviceFunction(func::FuncOp function,
                               moert::InterfaceOp interface, KernelTable &table,
                               Tiles &tiles)
    : function(function), interface(interface), table(table), choices(tiles) {
  unsigned first = interface.getInputs().size();
  for (unsigned i = 0; i < interface.getWeights().size(); ++i)
    weights.push_back({function.getArgument(first + i), {}, false, {}});
  arena = moert::markedArgument(function, moert::arenaName);
  maxTokens = moert::markedArgument(function, moert::maxTokensName);
  moert::ArenaAttr planned = interface.getArena();
  size = {planned.getPerToken(), planned.getPerShare(), planned.getConstant()};
  createBind();
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

DeviceFunction::Weight *DeviceFunction::find(Operation *op, Value value) {
  for (Weight &weight : weights)
    if (weight.argument == rootOf(value))
      return &weight;
  op->emitOpError() << "has a weight of type " << value.getType()
                    << " that is no weight of the function's interface";
  return nullptr;
}

static bool isSameForm(const PackRowsSpec &a, const PackRowsSpec &b) {
  return a.name == b.name;
}

FailureOr<Value> DeviceFunction::packed(Operation *op, Value value,
                                        const PackRowsSpec &form) {
  Weight *weight = find(op, value);
  if (!weight)
    return failure();
  PackRowsSpec named = form;
  auto spell = [](bool f32) { return f32 ? "f32" : "bf16"; };
  named.name =
      llvm::formatv("pack_{0}x{1}x{2}x{3}_{4}_to_{5}x{6}_{7}{8}", form.groups,
                    form.parts, form.rows, form.columns, spell(form.sourceF32),
                    form.paddedRows, form.paddedColumns, spell(form.targetF32),
                    form.blocked ? "_blocked" : "");
  if (weight->asked && (!weight->form || !isSameForm(*weight->form, named)))
    return op->emitOpError()
           << "uses argument " << weight->argument.getArgNumber()
           << " in another form than the op before it, but one is expected";
  if (failed(verifyPackRows(named, [&] { return op->emitOpError(); })))
    return failure();
  weight->asked = true;
  weight->form = named;
  Builder b(op->getContext());
  Type element = form.targetF32 ? Type(b.getF32Type()) : b.getBF16Type();
  weight->packedType = MemRefType::get(
      {form.groups * form.parts * form.paddedRows * form.paddedColumns},
      element);
  return Value(weight->argument);
}

FailureOr<Value> DeviceFunction::unpacked(Operation *op, Value value) {
  Weight *weight = find(op, value);
  if (!weight)
    return failure();
  if (weight->asked && weight->form)
    return op->emitOpError()
           << "uses argument " << weight->argument.getArgNumber()
           << " as it is, but the op before it in a packed form";
  weight->asked = true;
  return Value(weight->argument);
}

// A weight that is kept, or that nothing uses, is copied.
void DeviceFunction::writePrepare() {
  OpBuilder outer(function);
  outer.setInsertionPointAfter(function);
  SmallVector<Type> types;
  for (Weight &weight : weights)
    types.push_back(weight.argument.getType());
  for (Weight &weight : weights)
    types.push_back(weight.packedType);
  auto prepare = func::FuncOp::create(outer, function.getLoc(),
                                      (function.getName() + "_prepare").str(),
                                      outer.getFunctionType(types, {}));
  Block *body = prepare.addEntryBlock();
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToStart(body);
  for (auto [index, weight] : llvm::enumerate(weights)) {
    Value raw = body->getArgument(index),
          target = body->getArgument(weights.size() + index);
    if (!weight.form) {
      int64_t rank = cast<MemRefType>(raw.getType()).getRank();
      if (rank != 1)
        raw = memref::CollapseShapeOp::create(
            b, raw,
            SmallVector<ReassociationIndices>{
                llvm::to_vector(llvm::seq<int64_t>(0, rank))});
      moert::CopyOp::create(b, raw, target);
      continue;
    }
    int32_t number = table.add(
        getPackRowsInterface(*weight.form),
        [&](gpu::GPUModuleOp module) { buildPackRows(module, *weight.form); });
    moert::LaunchOp::create(b, number,
                            constantIndex(b, getPackRowsBlocks(*weight.form)),
                            ValueRange{raw, target});
  }
  func::ReturnOp::create(b);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

bool DeviceFunction::isInArena(Value buffer) {
  auto view = buffer.getDefiningOp<memref::ViewOp>();
  return view && view.getSource() == arena;
}

Value DeviceFunction::scratch(ImplicitLocOpBuilder &b, TokenBytes bytes,
                              MemRefType type, ValueRange sizes) {
  AffineExpr start = toExpression(size, getShares(), b.getContext());
  Value offset = affine::AffineApplyOp::create(b, AffineMap::get(0, 1, start),
                                               ValueRange{maxTokens});
  size = size + bytes.aligned();
  return memref::ViewOp::create(b, type, arena, offset, sizes);
}

Value DeviceFunction::zeroedScratch(ImplicitLocOpBuilder &b, TokenBytes bytes,
                                    MemRefType type, ValueRange sizes) {
  Block &body = bind.getBody().front();
  ImplicitLocOpBuilder inBind(b.getLoc(), body.getTerminator());
  ZeroWordsSpec spec;
  int32_t number =
      table.add(getZeroWordsInterface(spec),
                [&](gpu::GPUModuleOp module) { buildZeroWords(module, spec); });
  auto apply = [&](const TokenBytes &value) -> Value {
    AffineExpr expr = toExpression(value, getShares(), b.getContext());
    return affine::AffineApplyOp::create(
        inBind, AffineMap::get(0, 1, expr),
        ValueRange{body.getArgument(weights.size() + 1)});
  };
  Value start = apply(size);
  Value words = arith::DivUIOp::create(inBind, apply(bytes.aligned()),
                                       constantIndex(inBind, 4));
  Type i32 = b.getI32Type();
  Value target = memref::ViewOp::create(
      inBind, MemRefType::get({ShapedType::kDynamic}, i32),
      body.getArgument(weights.size()), start, ValueRange{words});
  Value count = arith::IndexCastOp::create(inBind, i32, words);
  moert::LaunchOp::create(inBind, number, constantIndex(inBind, -1),
                          ValueRange{target, count});
  return scratch(b, bytes, type, sizes);
}

FailureOr<Value> DeviceFunction::scratchRows(ImplicitLocOpBuilder &b,
                                             Operation *op, Value rows,
                                             int64_t columns) {
  FailureOr<TokenBytes> bound = boundInTokens(rows, getShares());
  if (failed(bound))
    return op->emitOpError("needs memory for its rows, but their number has no "
                           "bound that is linear in the number of tokens");
  return scratch(
      b, *bound * (2 * devicePitch(columns)),
      MemRefType::get({ShapedType::kDynamic, columns}, b.getBF16Type()), rows);
}

FailureOr<QuantizedRows>
DeviceFunction::scratchQuantized(ImplicitLocOpBuilder &b, Operation *op,
                                 Value rows, int64_t columns) {
  // Two e4m3 are one bf16.
  FailureOr<Value> codes = scratchRows(b, op, rows, columns / 2);
  if (failed(codes))
    return failure();
  int64_t blocks = llvm::divideCeil(columns, 128);
  TokenBytes bound = *boundInTokens(rows, getShares());
  Value count = arith::MulIOp::create(b, rows, constantIndex(b, blocks));
  Value scales =
      scratch(b, bound * (4 * blocks),
              MemRefType::get({ShapedType::kDynamic}, b.getF32Type()), count);
  return QuantizedRows{*codes, scales};
}

std::optional<QuantizedRows> DeviceFunction::quantized(Value buffer) const {
  auto known = quantizedForms.find(buffer);
  if (known == quantizedForms.end())
    return std::nullopt;
  return known->second;
}

void DeviceFunction::setQuantized(Value buffer, const QuantizedRows &rows) {
  quantizedForms[buffer] = rows;
}

//===----------------------------------------------------------------------===//
// Variants
//===----------------------------------------------------------------------===//

Value DeviceFunction::variant(ImplicitLocOpBuilder &b,
                              DictionaryAttr description) {
  auto type = MemRefType::get({1}, b.getI32Type());
  OpBuilder entry = OpBuilder::atBlockBegin(&function.getBody().front());
  Value word = memref::AllocaOp::create(entry, b.getLoc(), type);
  moert::VariantOp::create(b, variants->size(), word);
  variants->push_back(description);
  return memref::LoadOp::create(b, word, ValueRange{constantIndex(b, 0)});
}

Value DeviceFunction::isVariant(ImplicitLocOpBuilder &b, Value chosen,
                                int64_t number) {
  Value same = arith::ConstantOp::create(b, b.getI32IntegerAttr(number));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chosen, same);
}

//===----------------------------------------------------------------------===//
// Tensor maps
//===----------------------------------------------------------------------===//

void DeviceFunction::createBind() {
  OpBuilder outer(function);
  outer.setInsertionPointAfter(function);
  Type unknown = MemRefType::get({1}, outer.getBF16Type());
  SmallVector<Type> types(weights.size(), unknown);
  types.push_back(arena.getType());
  types.push_back(outer.getIndexType());
  bind = func::FuncOp::create(outer, function.getLoc(),
                              (function.getName() + "_bind").str(),
                              outer.getFunctionType(types, {}));
  Attribute unit = outer.getUnitAttr();
  bind.setArgAttr(weights.size(), moert::arenaName, unit);
  bind.setArgAttr(weights.size() + 1, moert::maxTokensName, unit);
  outer.setInsertionPointToStart(bind.addEntryBlock());
  func::ReturnOp::create(outer, function.getLoc());
}

// Clones what an index is made from, which arguments decide alone.
static Value cloneIndex(OpBuilder &b, Value value, IRMapping &mapping) {
  if (Value known = mapping.lookupOrNull(value))
    return known;
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  for (Value operand : op->getOperands())
    if (!cloneIndex(b, operand, mapping))
      return {};
  b.clone(*op, mapping);
  return mapping.lookup(value);
}

FailureOr<int32_t> DeviceFunction::slot(Operation *op, Value buffer,
                                        const KernelParameter &parameter) {
  std::string key = llvm::formatv(
      "{0} {1} {2} {3} {4} {5}", buffer.getAsOpaquePointer(),
      static_cast<int>(parameter.kind), parameter.columns, parameter.boxRows,
      parameter.boxColumns, parameter.elementBytes);
  auto [known, isNew] = slotOf.try_emplace(key, slots);
  if (!isNew)
    return known->second;
  Block &body = bind.getBody().front();
  ImplicitLocOpBuilder b(op->getLoc(), body.getTerminator());
  bool ragged = parameter.kind == ParameterKind::RaggedMap;
  bool blocked = parameter.kind == ParameterKind::BlockedMap;
  auto create = [&](Value base, Value rows) {
    moert::TensorMapOp::create(b, slots, base, rows, parameter.columns,
                               parameter.columns, parameter.boxRows,
                               parameter.boxColumns, ragged, blocked);
    return slots++;
  };
  for (auto [index, weight] : llvm::enumerate(weights)) {
    if (weight.argument != buffer)
      continue;
    if (blocked != (weight.form && weight.form->blocked))
      return op->emitOpError()
             << "maps argument " << weight.argument.getArgNumber() << " in "
             << (blocked ? "blocks" : "rows") << ", but it is packed in "
             << (blocked ? "rows" : "blocks");
    BlockArgument base = body.getArgument(index);
    base.setType(weight.packedType);
    return create(base, constantIndex(b, weight.packedType.getNumElements() /
                                             parameter.columns));
  }
  auto view = buffer.getDefiningOp<memref::ViewOp>();
  if (!isInArena(buffer))
    return op->emitOpError() << "maps a buffer of type " << buffer.getType()
                             << ", but one in the arena or a packed weight is "
                                "expected";
  IRMapping mapping;
  Value all = body.getArgument(weights.size());
  mapping.map(maxTokens, body.getArgument(weights.size() + 1));
  Value offset = cloneIndex(b, view.getByteShift(), mapping);
  if (!offset)
    return op->emitOpError("maps a buffer whose place in the arena depends on "
                           "more than the maximum of tokens");
  // As many rows as there are to the arena's end: no box reaches further.
  int64_t pitch = parameter.columns * parameter.elementBytes;
  Value bytes = memref::DimOp::create(b, all, 0);
  Value rest = arith::SubIOp::create(b, bytes, offset);
  Value rows = arith::DivUIOp::create(b, rest, constantIndex(b, pitch));
  auto type =
      MemRefType::get({ShapedType::kDynamic, parameter.columns},
                      cast<MemRefType>(buffer.getType()).getElementType());
  Value base = memref::ViewOp::create(b, type, all, offset, ValueRange{rows});
  return create(base, rows);
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

LogicalResult DeviceFunction::launch(ImplicitLocOpBuilder &b, Operation *op,
                                     const KernelInterface &kernel,
                                     int32_t number, Value grid,
                                     Arguments arguments) {
  setLastProduct(Value());
  SmallVector<Value> values;
  for (const KernelParameter &parameter : kernel.parameters) {
    const auto *given = llvm::find_if(arguments, [&](const auto &argument) {
      return argument.first == parameter.name;
    });
    assert(given != arguments.end() && "a parameter without a value");
    Value value = given->second;
    switch (parameter.kind) {
    case ParameterKind::Pointer:
      break;
    case ParameterKind::MatrixMap:
    case ParameterKind::BlockedMap:
    case ParameterKind::RaggedMap: {
      FailureOr<int32_t> number = slot(op, value, parameter);
      if (failed(number))
        return failure();
      value = arith::ConstantOp::create(b, b.getI32IntegerAttr(*number));
      break;
    }
    case ParameterKind::Integer:
    case ParameterKind::Integer64:
      if (value.getType().isIndex())
        value = arith::IndexCastOp::create(
            b,
            parameter.kind == ParameterKind::Integer ? b.getI32Type()
                                                     : b.getI64Type(),
            value);
      break;
    }
    values.push_back(value);
  }
  moert::LaunchOp::create(b, number, grid, values);
  return success();
}

LogicalResult DeviceFunction::launchRows(ImplicitLocOpBuilder &b, Operation *op,
                                         const KernelInterface &kernel,
                                         int32_t number, Value rows,
                                         Arguments arguments) {
  const RowsGrid &grid = *kernel.grid;
  Value blocks = ceilDiv(b, rows, grid.rowsPerBlock);
  Value parts = timesFactor(b, blocks, grid.partsPerBlock);
  return launch(b, op, kernel, number, ceilDiv(b, parts, grid.partsPerCta),
                arguments);
}

LogicalResult DeviceFunction::finish() {
  if (hasVariants() && variants->empty())
    return function.emitError("computes nothing of which there are variants: "
                              "leave --variants out");
  if (hasVariants())
    interface->setAttr(moert::variantsName,
                       ArrayAttr::get(function.getContext(), *variants));
  for (auto [index, weight] : llvm::enumerate(weights)) {
    auto raw = dyn_cast<MemRefType>(weight.argument.getType());
    if (!raw || !raw.hasStaticShape() || !raw.getLayout().isIdentity())
      return function.emitError()
             << "argument " << weight.argument.getArgNumber()
             << " is a weight of type " << weight.argument.getType()
             << ", but a memref of static shape and identity layout is "
                "expected";
    if (!weight.form)
      weight.packedType =
          MemRefType::get({raw.getNumElements()}, raw.getElementType());
  }
  writePrepare();
  // Reshapes of weights have no users any more.
  for (Operation &op :
       llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
    if (isOpTriviallyDead(&op))
      op.erase();
  for (auto [index, weight] : llvm::enumerate(weights)) {
    weight.argument.setType(weight.packedType);
    bind.getBody().front().getArgument(index).setType(weight.packedType);
    function.setArgAttrs(weight.argument.getArgNumber(),
                         ArrayRef<NamedAttribute>());
  }
  for (func::FuncOp changed : {function, bind})
    changed.setFunctionType(
        FunctionType::get(function.getContext(),
                          changed.getBody().front().getArgumentTypes(), {}));
  interface.setArenaAttr(moert::ArenaAttr::get(function.getContext(),
                                               size.constant, size.perToken,
                                               size.perShare, getShares()));
  SmallVector<int64_t> bytes;
  for (Weight &weight : weights)
    bytes.push_back(weight.packedType.getNumElements() *
                    weight.packedType.getElementTypeBitWidth() / 8);
  interface.setPacked(bytes);
  interface->setAttr(moert::tensorMapsName,
                     Builder(function.getContext()).getI64IntegerAttr(slots));
  return success();
}
