#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;

Value DeviceBuilder::i32(int64_t value) {
  return arith::ConstantOp::create(*this, getI32IntegerAttr(value));
}
Value DeviceBuilder::i64(uint64_t value) {
  return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
}
Value DeviceBuilder::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value DeviceBuilder::boolean(bool value) {
  return arith::ConstantOp::create(*this, getBoolAttr(value));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Value DeviceBuilder::add(Operand a, Operand b) {
  return createOrFold<arith::AddIOp>(get(a), get(b));
}
Value DeviceBuilder::sub(Operand a, Operand b) {
  return createOrFold<arith::SubIOp>(get(a), get(b));
}
Value DeviceBuilder::mul(Operand a, Operand b) {
  return createOrFold<arith::MulIOp>(get(a), get(b));
}
Value DeviceBuilder::div(Operand a, Operand b) {
  return createOrFold<arith::DivUIOp>(get(a), get(b));
}
Value DeviceBuilder::rem(Operand a, Operand b) {
  return createOrFold<arith::RemUIOp>(get(a), get(b));
}
Value DeviceBuilder::ceilDiv(Operand a, int64_t b) {
  return div(add(a, b - 1), b);
}
Value DeviceBuilder::bitAnd(Operand a, Operand b) {
  return createOrFold<arith::AndIOp>(get(a), get(b));
}
Value DeviceBuilder::bitOr(Operand a, Operand b) {
  return createOrFold<arith::OrIOp>(get(a), get(b));
}
Value DeviceBuilder::bitXor(Operand a, Operand b) {
  return createOrFold<arith::XOrIOp>(get(a), get(b));
}
Value DeviceBuilder::shl(Operand a, Operand b) {
  return createOrFold<arith::ShLIOp>(get(a), get(b));
}
Value DeviceBuilder::shr(Operand a, Operand b) {
  return createOrFold<arith::ShRUIOp>(get(a), get(b));
}
Value DeviceBuilder::min(Operand a, Operand b) {
  return createOrFold<arith::MinSIOp>(get(a), get(b));
}
Value DeviceBuilder::max(Operand a, Operand b) {
  return createOrFold<arith::MaxSIOp>(get(a), get(b));
}
Value DeviceBuilder::less(Operand a, Operand b) {
  return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt, get(a), get(b));
}
Value DeviceBuilder::equal(Operand a, Operand b) {
  return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, get(a), get(b));
}
Value DeviceBuilder::both(Value a, Value b) {
  return createOrFold<arith::AndIOp>(a, b);
}
Value DeviceBuilder::select(Value condition, Operand a, Operand b) {
  return createOrFold<arith::SelectOp>(condition, get(a), get(b));
}

Value DeviceBuilder::toFloat(Value bits) {
  return arith::BitcastOp::create(*this, getF32Type(), bits);
}
Value DeviceBuilder::toBits(Value f32) {
  return arith::BitcastOp::create(*this, getI32Type(), f32);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value DeviceBuilder::atByte(Value pointer, Operand offset) {
  return atElement(pointer, getI8Type(), offset);
}

Value DeviceBuilder::atElement(Value pointer, Type type, Operand index) {
  LLVM::GEPArg arg = index.value
                         ? LLVM::GEPArg(index.value)
                         : LLVM::GEPArg(static_cast<int32_t>(index.constant));
  return LLVM::GEPOp::create(*this, pointer.getType(), type, pointer, arg);
}

Value DeviceBuilder::load(Type type, Value pointer, unsigned alignment) {
  return LLVM::LoadOp::create(*this, type, pointer, alignment);
}

void DeviceBuilder::store(Value value, Value pointer, unsigned alignment) {
  LLVM::StoreOp::create(*this, value, pointer, alignment);
}

Value DeviceBuilder::toGlobal(Value pointer) {
  return LLVM::AddrSpaceCastOp::create(
      *this, LLVM::LLVMPointerType::get(getContext(), 1), pointer);
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

Value DeviceBuilder::threadId() {
  return NVVM::ThreadIdXOp::create(*this, getI32Type());
}
Value DeviceBuilder::blockId() {
  return NVVM::BlockIdXOp::create(*this, getI32Type());
}
Value DeviceBuilder::gridSize() {
  return NVVM::GridDimXOp::create(*this, getI32Type());
}

void DeviceBuilder::awaitPredecessors() {
  NVVM::GriddepcontrolOp::create(*this,
                                 NVVM::GridDepActionKind::launch_dependents);
  NVVM::GriddepcontrolOp::create(*this, NVVM::GridDepActionKind::wait);
}

void DeviceBuilder::awaitThenRelease() {
  NVVM::GriddepcontrolOp::create(*this, NVVM::GridDepActionKind::wait);
  NVVM::GriddepcontrolOp::create(*this,
                                 NVVM::GridDepActionKind::launch_dependents);
}

void DeviceBuilder::forgetCached() {
  assembly(Type(), {}, "fence.acq_rel.gpu;", "~{memory}");
}

Value DeviceBuilder::assembly(Type result, ValueRange operands, StringRef text,
                              StringRef constraints) {
  Type type = result ? result : LLVM::LLVMVoidType::get(getContext());
  auto op = LLVM::InlineAsmOp::create(
      *this, result ? TypeRange(type) : TypeRange(), operands, text,
      constraints, /*has_side_effects=*/true, /*is_align_stack=*/false,
      LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(),
      ArrayAttr());
  return result ? op.getResult(0) : Value();
}

Value DeviceBuilder::countUp(Value pointer, StringRef order) {
  std::string text =
      ("atom." + order + ".gpu.global.add.u32 $0, [$1], 1;").str();
  return assembly(getI32Type(), pointer, text, "=r,l,~{memory}");
}

static Value shuffle(DeviceBuilder &b, Value value, Operand lane, int64_t limit,
                     NVVM::ShflKind kind) {
  return NVVM::ShflOp::create(b, value.getType(), b.i32(-1), value, b.get(lane),
                              b.i32(limit), kind, UnitAttr());
}

Value DeviceBuilder::fromLane(Value value, Operand lane) {
  return shuffle(*this, value, lane, 31, NVVM::ShflKind::idx);
}

Value DeviceBuilder::fromBelow(Value value, Operand distance) {
  return shuffle(*this, value, distance, 0, NVVM::ShflKind::up);
}

Value DeviceBuilder::exchange(Value value, Operand distance) {
  return shuffle(*this, value, distance, 31, NVVM::ShflKind::bfly);
}

Value DeviceBuilder::reduce(Value value,
                            function_ref<Value(Value, Value)> combine) {
  for (int64_t distance = 16; distance; distance /= 2)
    value = combine(value, exchange(value, distance));
  return value;
}

void DeviceBuilder::addFromBelow(MutableArrayRef<Value> values) {
  Value mine = lane();
  for (int64_t distance = 1; distance < 32; distance *= 2)
    for (Value &value : values) {
      Value below = fromBelow(value, distance);
      value = add(value, select(less(mine, distance), 0, below));
    }
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

void DeviceBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
}

void DeviceBuilder::ifElse(Value condition, function_ref<void()> body,
                           function_ref<void()> orElse) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
  setInsertionPointToStart(op.elseBlock());
  orElse();
}

SmallVector<Value>
DeviceBuilder::choose(Value condition, function_ref<SmallVector<Value>()> body,
                      function_ref<SmallVector<Value>()> orElse) {
  auto build = [&](function_ref<SmallVector<Value>()> values) {
    return [this, values](OpBuilder &inner, Location) {
      OpBuilder::InsertionGuard guard(*this);
      setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
      scf::YieldOp::create(*this, values());
    };
  };
  auto op = scf::IfOp::create(*this, condition, build(body), build(orElse));
  return llvm::to_vector_of<Value>(op.getResults());
}

SmallVector<Value>
DeviceBuilder::loop(Operand lower, Operand upper, ValueRange carried,
                    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(*this, get(lower), get(upper), i32(1), carried,
                               [](OpBuilder &, Location, Value, ValueRange) {});
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.getBody());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  scf::YieldOp::create(*this, next);
  return llvm::to_vector_of<Value>(op.getResults());
}

void DeviceBuilder::keepRolled(Operation *loop) {
  auto none = LLVM::LoopUnrollAttr::get(getContext(), getBoolAttr(true), {}, {},
                                        {}, {}, {}, {});
  auto annotation =
      LLVM::LoopAnnotationAttr::get(getContext(), {}, {}, {}, none, {}, {}, {},
                                    {}, {}, {}, {}, {}, {}, {}, {});
  // By this name conversions bring it to the branch that closes the loop.
  loop->setAttr("loop_annotation", annotation);
}

SmallVector<Value> DeviceBuilder::loopWhile(
    ValueRange carried,
    function_ref<std::pair<Value, SmallVector<Value>>(ValueRange)> condition,
    function_ref<SmallVector<Value>(ValueRange)> body) {
  SmallVector<Type> types = llvm::to_vector(carried.getTypes());
  SmallVector<Location> locs(types.size(), getLoc());
  auto op = scf::WhileOp::create(*this, types, carried);
  OpBuilder::InsertionGuard guard(*this);
  Block *before = createBlock(&op.getBefore(), {}, types, locs);
  auto [goOn, passed] = condition(before->getArguments());
  scf::ConditionOp::create(*this, goOn, passed);
  Block *after = createBlock(&op.getAfter(), {}, types, locs);
  scf::YieldOp::create(*this, body(after->getArguments()));
  return llvm::to_vector_of<Value>(op.getResults());
}
