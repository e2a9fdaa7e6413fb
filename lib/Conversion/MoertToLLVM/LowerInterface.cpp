// Functions on buffers get the C signatures of moert/abi.h: the new arguments
// are inserted in front, each old argument is rebuilt from them, and the old
// ones are erased. A buffer is a descriptor around a pointer that is read from
// an array; its sizes are static or the number of tokens.
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "moe/Conversion/Passes.h"

namespace moe {
#define GEN_PASS_DEF_LOWERINTERFACEPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

// Positions of arguments in moert_run_fn and moert_prepare_fn.
enum RunArgument : unsigned {
  Context,
  Thread,
  Threads,
  Tokens,
  MaxTokens,
  Inputs,
  Outputs,
  Packed,
  Arena,
  RunCount
};
enum PrepareArgument : unsigned {
  PrepareWeights = Tokens,
  PreparePacked,
  PrepareCount
};
// Of moert_bind_fn.
enum BindArgument : unsigned {
  BindMaxTokens = Thread,
  BindPacked,
  BindArena,
  BindCount
};

struct LowerInterfacePass
    : moe::impl::LowerInterfacePassBase<LowerInterfacePass> {
  void runOnOperation() override;

private:
  LogicalResult lower(moert::InterfaceOp interface);
};

// Replaces a function's arguments one by one.
class Signature {
public:
  Signature(func::FuncOp function, unsigned count);

  OpBuilder &builder() { return b; }
  BlockArgument argument(unsigned index) { return body.getArgument(index); }
  BlockArgument old(unsigned index) { return body.getArgument(count + index); }

  // The buffer at array[index]; a dynamic first dimension has `rows` rows.
  void bindBuffer(unsigned oldIndex, unsigned array, unsigned index,
                  Value rows);
  void bindArena(unsigned oldIndex, unsigned index, Value bytes);
  void bindIndex(unsigned oldIndex, unsigned index);
  Value constant(int64_t value);
  ImplicitLocOpBuilder &ops() { return b; }

  // Erases the old arguments and lets every path return success.
  void finish();

private:
  Value descriptor(MemRefType type, Value pointer, Value rows);

  func::FuncOp function;
  Block &body;
  unsigned count;
  ImplicitLocOpBuilder b;
  LLVMTypeConverter converter;
};

} // namespace

static SmallVector<Type> argumentTypes(MLIRContext *context, unsigned count) {
  Builder b(context);
  Type pointer = LLVM::LLVMPointerType::get(context);
  SmallVector<Type> types(count, pointer);
  if (count == BindCount) {
    types[BindMaxTokens] = b.getI64Type();
    return types;
  }
  types[Thread] = types[Threads] = b.getI32Type();
  if (count == RunCount)
    types[Tokens] = types[MaxTokens] = b.getI64Type();
  return types;
}

Signature::Signature(func::FuncOp function, unsigned count)
    : function(function), body(function.getBody().front()), count(count),
      b(function.getLoc(), &body, body.begin()),
      converter(function.getContext()) {
  SmallVector<Type> types = argumentTypes(function.getContext(), count);
  for (auto [index, type] : llvm::enumerate(types))
    body.insertArgument(index, type, function.getLoc());
}

Value Signature::constant(int64_t value) {
  return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
}

Value Signature::descriptor(MemRefType type, Value pointer, Value rows) {
  if (type.hasStaticShape())
    return MemRefDescriptor::fromStaticShape(b, b.getLoc(), converter, type,
                                             pointer);
  auto result =
      MemRefDescriptor::poison(b, b.getLoc(), converter.convertType(type));
  result.setAllocatedPtr(b, b.getLoc(), pointer);
  result.setAlignedPtr(b, b.getLoc(), pointer);
  result.setConstantOffset(b, b.getLoc(), 0);
  result.setSize(b, b.getLoc(), 0, rows);
  int64_t stride = 1;
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    result.setConstantStride(b, b.getLoc(), dim, stride);
    if (dim == 0)
      break;
    result.setConstantSize(b, b.getLoc(), dim, type.getDimSize(dim));
    stride *= type.getDimSize(dim);
  }
  return result;
}

void Signature::bindBuffer(unsigned oldIndex, unsigned array, unsigned index,
                           Value rows) {
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  Value slot = argument(array);
  if (index != 0)
    slot = LLVM::GEPOp::create(b, pointer, pointer, slot,
                               ArrayRef<LLVM::GEPArg>{int32_t(index)});
  Value data = LLVM::LoadOp::create(b, pointer, slot);
  auto type = cast<MemRefType>(old(oldIndex).getType());
  Value buffer = descriptor(type, data, rows);
  auto cast = UnrealizedConversionCastOp::create(b, type, buffer);
  old(oldIndex).replaceAllUsesWith(cast.getResult(0));
}

void Signature::bindArena(unsigned oldIndex, unsigned index, Value bytes) {
  auto type = cast<MemRefType>(old(oldIndex).getType());
  Value buffer = descriptor(type, argument(index), bytes);
  auto cast = UnrealizedConversionCastOp::create(b, type, buffer);
  old(oldIndex).replaceAllUsesWith(cast.getResult(0));
}

void Signature::bindIndex(unsigned oldIndex, unsigned index) {
  old(oldIndex).replaceAllUsesWith(
      arith::IndexCastOp::create(b, b.getIndexType(), argument(index)));
}

void Signature::finish() {
  body.eraseArguments(count, body.getNumArguments() - count);
  Type status = b.getI32Type();
  SmallVector<func::ReturnOp> returns;
  function.walk([&](func::ReturnOp op) { returns.push_back(op); });
  for (func::ReturnOp op : returns) {
    b.setInsertionPoint(op);
    Value ok = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
    op->setOperands(ok);
  }
  function.removeArgAttrsAttr();
  function.setType(
      b.getFunctionType(argumentTypes(b.getContext(), count), status));
  function.setPublic();
  // No loop may be recognised as a call of memcpy or memset: the program has
  // no undefined symbol.
  function->setAttr("passthrough", b.getStrArrayAttr({"no-builtins"}));
}

//===----------------------------------------------------------------------===//
// Fitting functions to their interface
//===----------------------------------------------------------------------===//

// A dense buffer whose sizes are known, the first perhaps only at run time.
static LogicalResult checkBuffer(func::FuncOp function, unsigned index,
                                 bool rows) {
  auto type = dyn_cast<MemRefType>(function.getArgumentTypes()[index]);
  bool fits = type && type.getLayout().isIdentity() &&
              type.getElementType().isIntOrFloat();
  for (int64_t dim = rows ? 1 : 0; fits && dim < type.getRank(); ++dim)
    fits = !type.isDynamicDim(dim);
  if (!fits)
    return function.emitError()
           << "argument " << index << " of `" << function.getSymName()
           << "` is " << function.getArgumentTypes()[index]
           << ", but a dense memref of static shape"
           << (rows ? ", rows aside," : "") << " is expected";
  return success();
}

// An input or output agrees with its description.
static LogicalResult checkValue(func::FuncOp function, unsigned index,
                                moert::ValueAttr value) {
  if (failed(checkBuffer(function, index, /*rows=*/true)))
    return failure();
  auto type = cast<MemRefType>(function.getArgumentTypes()[index]);
  auto expected = cast<RankedTensorType>(value.getType().getValue());
  if (type.getElementType() != expected.getElementType() ||
      type.getShape() != expected.getShape())
    return function.emitError()
           << "argument " << index << " of `" << function.getSymName()
           << "` is " << type << ", but the interface describes `"
           << value.getName().getValue() << "` as " << expected;
  return success();
}

static LogicalResult checkNoResults(func::FuncOp function) {
  if (function.getNumResults() != 0)
    return function.emitError()
           << "`" << function.getSymName() << "` has "
           << function.getNumResults()
           << " results, but outputs are expected as arguments";
  if (function.isExternal())
    return function.emitError() << "`" << function.getSymName()
                                << "` has no body, but one is expected";
  return success();
}

static int64_t byteSize(MemRefType type) {
  return type.getNumElements() *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

namespace {
// The old arguments of a run function by role.
struct Roles {
  SmallVector<unsigned> inputs, packed, outputs;
  std::optional<unsigned> arena, tokens, maxTokens;
};
} // namespace

static FailureOr<Roles> assignRoles(func::FuncOp function,
                                    moert::InterfaceOp interface) {
  Roles roles;
  SmallVector<unsigned> rest;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    if (function.getArgAttr(i, moert::arenaName))
      roles.arena = i;
    else if (function.getArgAttr(i, moert::tokensName))
      roles.tokens = i;
    else if (function.getArgAttr(i, moert::maxTokensName))
      roles.maxTokens = i;
    else
      rest.push_back(i);
  }
  size_t inputs = interface.getInputs().size();
  size_t outputs = interface.getOutputs().size();
  if (rest.size() < inputs + outputs)
    return function.emitError()
           << "`" << function.getSymName() << "` has " << rest.size()
           << " buffers, but " << inputs << " inputs and " << outputs
           << " outputs are expected";
  ArrayRef<unsigned> all(rest);
  roles.inputs = llvm::to_vector(all.take_front(inputs));
  roles.outputs = llvm::to_vector(all.take_back(outputs));
  roles.packed = llvm::to_vector(all.drop_front(inputs).drop_back(outputs));
  return roles;
}

// Checks the run function and notes the sizes of its packed weights.
static LogicalResult checkRun(func::FuncOp function, const Roles &roles,
                              moert::InterfaceOp interface) {
  if (failed(checkNoResults(function)))
    return failure();
  for (auto [index, value] : llvm::zip(
           roles.inputs, interface.getInputs().getAsRange<moert::ValueAttr>()))
    if (failed(checkValue(function, index, value)))
      return failure();
  for (auto [index, value] :
       llvm::zip(roles.outputs,
                 interface.getOutputs().getAsRange<moert::ValueAttr>()))
    if (failed(checkValue(function, index, value)))
      return failure();
  SmallVector<int64_t> bytes;
  for (unsigned index : roles.packed) {
    if (failed(checkBuffer(function, index, /*rows=*/false)))
      return failure();
    bytes.push_back(
        byteSize(cast<MemRefType>(function.getArgumentTypes()[index])));
  }
  if (!interface.getPacked().empty() &&
      interface.getPacked() != ArrayRef<int64_t>(bytes))
    return interface.emitOpError()
           << "has packed buffers of [" << interface.getPacked()
           << "] bytes, but `" << function.getSymName() << "` takes [" << bytes
           << "]";
  interface.setPacked(bytes);
  return success();
}

// constant + perToken * M + perShare * ceil(M / shares)
static Value arenaBytes(Signature &signature, Value tokens,
                        moert::ArenaAttr arena) {
  ImplicitLocOpBuilder &b = signature.ops();
  Value shares = arith::CeilDivUIOp::create(
      b, tokens, signature.constant(arena.getShares()));
  Value bytes = arith::AddIOp::create(
      b, signature.constant(arena.getConstant()),
      arith::MulIOp::create(b, tokens,
                            signature.constant(arena.getPerToken())));
  return arith::AddIOp::create(
      b, bytes,
      arith::MulIOp::create(b, shares,
                            signature.constant(arena.getPerShare())));
}

static void lowerRun(func::FuncOp function, const Roles &roles,
                     moert::ArenaAttr arena) {
  Signature signature(function, RunCount);
  Value tokens = signature.argument(Tokens);
  for (auto [index, old] : llvm::enumerate(roles.inputs))
    signature.bindBuffer(old, Inputs, index, tokens);
  for (auto [index, old] : llvm::enumerate(roles.packed))
    signature.bindBuffer(old, Packed, index, Value());
  for (auto [index, old] : llvm::enumerate(roles.outputs))
    signature.bindBuffer(old, Outputs, index, tokens);
  if (roles.arena)
    signature.bindArena(
        *roles.arena, Arena,
        arenaBytes(signature, signature.argument(MaxTokens), arena));
  if (roles.tokens)
    signature.bindIndex(*roles.tokens, Tokens);
  if (roles.maxTokens)
    signature.bindIndex(*roles.maxTokens, MaxTokens);
  signature.finish();
}

static LogicalResult lowerPrepare(func::FuncOp function, size_t weights,
                                  size_t packed) {
  if (failed(checkNoResults(function)))
    return failure();
  if (function.getNumArguments() != weights + packed)
    return function.emitError()
           << "`" << function.getSymName() << "` has "
           << function.getNumArguments() << " arguments, but " << weights
           << " weights and " << packed << " packed buffers are expected";
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (failed(checkBuffer(function, i, /*rows=*/false)))
      return failure();
  Signature signature(function, PrepareCount);
  for (unsigned i = 0; i < weights; ++i)
    signature.bindBuffer(i, PrepareWeights, i, Value());
  for (unsigned i = 0; i < packed; ++i)
    signature.bindBuffer(weights + i, PreparePacked, i, Value());
  signature.finish();
  return success();
}

// A bind function takes the packed weights, and what is marked.
static LogicalResult lowerBind(func::FuncOp function,
                               moert::InterfaceOp interface) {
  if (failed(checkNoResults(function)))
    return failure();
  SmallVector<unsigned> packed;
  std::optional<unsigned> arena, maxTokens;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    if (function.getArgAttr(i, moert::arenaName))
      arena = i;
    else if (function.getArgAttr(i, moert::maxTokensName))
      maxTokens = i;
    else if (failed(checkBuffer(function, i, /*rows=*/false)))
      return failure();
    else
      packed.push_back(i);
  }
  if (packed.size() != interface.getPacked().size())
    return function.emitError()
           << "`" << function.getSymName() << "` has " << packed.size()
           << " packed buffers, but " << interface.getPacked().size()
           << " are expected";
  Signature signature(function, BindCount);
  for (auto [index, old] : llvm::enumerate(packed))
    signature.bindBuffer(old, BindPacked, index, Value());
  if (arena)
    signature.bindArena(*arena, BindArena,
                        arenaBytes(signature, signature.argument(BindMaxTokens),
                                   interface.getArena()));
  if (maxTokens)
    signature.bindIndex(*maxTokens, BindMaxTokens);
  signature.finish();
  return success();
}

LogicalResult LowerInterfacePass::lower(moert::InterfaceOp interface) {
  ModuleOp module = getOperation();
  FailureOr<func::FuncOp> named = lookupFunction(interface);
  if (failed(named))
    return failure();
  func::FuncOp function = *named;
  FailureOr<Roles> roles = assignRoles(function, interface);
  if (failed(roles) || failed(checkRun(function, *roles, interface)))
    return failure();
  std::string name = (interface.getFunction() + "_prepare").str();
  auto prepare = module.lookupSymbol<func::FuncOp>(name);
  size_t weights = interface.getWeights().size();
  if (!prepare && weights != 0)
    return interface.emitOpError()
           << "has " << weights << " weights, but there is no function `"
           << name << "` that packs them";
  if (!prepare) {
    OpBuilder b(function);
    b.setInsertionPointAfter(function);
    prepare = func::FuncOp::create(b, function.getLoc(), name,
                                   b.getFunctionType({}, {}));
    b.setInsertionPointToStart(prepare.addEntryBlock());
    func::ReturnOp::create(b, function.getLoc());
  }
  if (failed(lowerPrepare(prepare, weights, roles->packed.size())))
    return failure();
  auto bind = module.lookupSymbol<func::FuncOp>(
      (interface.getFunction() + "_bind").str());
  if (bind && failed(lowerBind(bind, interface)))
    return failure();
  lowerRun(function, *roles, interface.getArena());
  return success();
}

void LowerInterfacePass::runOnOperation() {
  llvm::SmallDenseSet<StringRef> seen;
  for (moert::InterfaceOp interface :
       llvm::to_vector(getOperation().getOps<moert::InterfaceOp>())) {
    if (!seen.insert(interface.getFunction()).second) {
      interface.emitOpError()
          << "describes `" << interface.getFunction() << "` a second time";
      return signalPassFailure();
    }
    if (failed(lower(interface)))
      return signalPassFailure();
  }
}
