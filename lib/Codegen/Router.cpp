// A CTA multiplies a block of tokens with 16 experts, its warps sharing K
// (tensor cores) or the experts (FMA), or with two experts, its warps sharing
// K, and writes the logits.  The CTA that is last for its block of tokens
// selects, one warp per token.
#include "moe/Codegen/Router.h"

#include "SelectExpertsBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t warps = 8, threads = 32 * warps;

LogicalResult moe::verifyRouter(const RouterSpec &spec,
                                function_ref<InFlightDiagnostic()> emitError) {
  if (failed(verifySelectExperts(spec.select, emitError)))
    return failure();
  if (spec.hidden < 8 || spec.hidden % 8)
    return emitError() << "router of hidden size " << spec.hidden
                       << ", expected a multiple of 8 such as "
                       << std::max<int64_t>(8, llvm::alignTo(spec.hidden, 8));
  if (spec.tokensPerBlock != 8 && spec.tokensPerBlock != 64)
    return emitError() << "router with " << spec.tokensPerBlock
                       << " tokens per block, expected 8 or 64";
  if (spec.expertsPerBlock != 2 && spec.expertsPerBlock != 16)
    return emitError() << "router with " << spec.expertsPerBlock
                       << " experts per block, expected 2 or 16";
  if (spec.tokensPerBlock != 8 && !spec.usesTensorCores())
    return emitError() << "router in f32 with " << spec.tokensPerBlock
                       << " tokens per block, expected 8";
  return success();
}

static int64_t getExpertBlocks(const RouterSpec &spec) {
  return llvm::divideCeil(spec.select.experts, spec.expertsPerBlock);
}

KernelInterface moe::getRouterInterface(const RouterSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  int64_t cells = spec.select.groups > 1 ? 4 * warps * spec.select.experts : 0;
  int64_t partials = 4 * warps * spec.tokensPerBlock * spec.expertsPerBlock;
  interface.sharedBytes = std::max(cells, partials) + 16;
  auto add = [&](StringRef name, ParameterKind kind = ParameterKind::Pointer) {
    interface.parameters.push_back({name.str(), kind});
  };
  add("x");
  add("w");
  if (spec.logitBias)
    add("logit_bias");
  if (spec.select.bias)
    add("bias");
  add("logits");
  add("state");
  add("ids");
  add("weights");
  add("tokens", ParameterKind::Integer);
  interface.grid = {"tokens", spec.tokensPerBlock, getExpertBlocks(spec)};
  return interface;
}

namespace {
class RouterBuilder {
public:
  RouterBuilder(DeviceBuilder &b, gpu::GPUModuleOp module,
                LLVM::LLVMFuncOp function, const RouterSpec &spec)
      : b(b), spec(spec), function(function), i32(b.getI32Type()),
        f32(b.getF32Type()), bf16(b.getBF16Type()),
        words(VectorType::get(4, i32)), floats(VectorType::get(4, f32)) {
    // The flag first: the rest is used twice.
    flag = getDynamicShared(b, b.getLoc(), module);
    shared = b.atByte(flag, 16);
  }

  void build();

private:
  Value argument(StringRef name);
  Value rowAddress(StringRef name, Value row, RouterType type, Value column);
  void multiplyOnTensorCores();
  void multiplyStep(Value step, MutableArrayRef<Value> sums);
  void addPartials(ArrayRef<Value> sums);
  void multiplyByFMA();
  SmallVector<Value> loadFour(StringRef name, Value row, RouterType type,
                              Value column);
  void storeLogit(Value sum, Value token, Value expert);
  void selectIfLast();

  DeviceBuilder &b;
  const RouterSpec &spec;
  LLVM::LLVMFuncOp function;
  Type i32, f32, bf16, words, floats;
  Value flag, shared;
  Value thread, lane, warp, tokens, tokenBlock, firstToken, firstExpert;
};
} // namespace

Value RouterBuilder::argument(StringRef name) {
  KernelInterface interface = getRouterInterface(spec);
  for (auto [i, parameter] : llvm::enumerate(interface.parameters))
    if (parameter.name == name) {
      Value value = function.getArgument(i);
      return parameter.kind == ParameterKind::Integer ? value
                                                      : b.toGlobal(value);
    }
  llvm_unreachable("no such parameter");
}

void RouterBuilder::build() {
  thread = b.threadId();
  lane = b.lane();
  warp = b.uniform(b.shr(thread, 5));
  tokens = argument("tokens");
  tokenBlock = b.div(b.blockId(), getExpertBlocks(spec));
  firstToken = b.mul(tokenBlock, spec.tokensPerBlock);
  firstExpert =
      b.mul(b.rem(b.blockId(), getExpertBlocks(spec)), spec.expertsPerBlock);
  spec.usesTensorCores() ? multiplyOnTensorCores() : multiplyByFMA();
  selectIfLast();
}

/// Element `column` of a row; rows may pass 2^31 bytes.
Value RouterBuilder::rowAddress(StringRef name, Value row, RouterType type,
                                Value column) {
  int64_t bytes = type == RouterType::BF16 ? 2 : 4;
  Type i64 = b.getI64Type();
  Value offset = arith::MulIOp::create(b, arith::ExtUIOp::create(b, i64, row),
                                       b.i64(bytes * spec.hidden));
  Value byte = arith::ExtUIOp::create(b, i64, b.mul(column, bytes));
  offset = arith::AddIOp::create(b, offset, byte);
  return b.atElement(argument(name), b.getI8Type(), offset);
}

/// The last step of every logit: bias, rounding, store.
void RouterBuilder::storeLogit(Value sum, Value token, Value expert) {
  Value inside =
      b.both(b.less(token, tokens), b.less(expert, spec.select.experts));
  b.ifThen(inside, [&] {
    Value logit = sum;
    if (spec.logitBias)
      logit = arith::AddFOp::create(
          b, logit,
          b.load(f32, b.atElement(argument("logit_bias"), f32, expert)));
    if (spec.roundLogits) {
      Value rounded = arith::TruncFOp::create(b, bf16, logit);
      logit = arith::ExtFOp::create(b, f32, rounded);
    }
    Value at = b.add(b.mul(token, spec.select.experts), expert);
    b.store(logit, b.atElement(argument("logits"), f32, at));
  });
}

//===----------------------------------------------------------------------===//
// Tensor cores
//===----------------------------------------------------------------------===//

/// 32 elements of K: lane (row, quad) holds elements 8 quad .. of experts row
/// and row + 8 and of token row of each tile, as two products m16n8k16.
void RouterBuilder::multiplyStep(Value step, MutableArrayRef<Value> sums) {
  Value row = b.shr(lane, 2);
  Value column = b.add(b.mul(b.add(b.mul(step, warps), warp), 32),
                       b.mul(b.bitAnd(lane, 3), 8));
  Value inside = b.less(column, spec.hidden);
  column = b.select(inside, column, 0);
  Value zero = LLVM::ZeroOp::create(b, words);
  auto loadExpert = [&](int64_t half) -> Value {
    Value expert = b.min(b.add(b.add(firstExpert, row), 8 * half),
                         spec.select.experts - 1);
    Value value =
        b.load(words, rowAddress("w", expert, RouterType::BF16, column), 16);
    return arith::SelectOp::create(b, inside, value, zero);
  };
  auto part = [&](Value vector, int64_t i) -> Value {
    return LLVM::ExtractElementOp::create(b, vector, b.i32(i));
  };
  Value upper = loadExpert(0), lower = loadExpert(1);
  Type result = LLVM::LLVMStructType::getLiteral(b.getContext(),
                                                 SmallVector<Type>(4, f32));
  auto types = std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16};
  auto layouts = std::array{NVVM::MMALayout::row, NVVM::MMALayout::col};
  SmallVector<Value> xs;
  for (size_t tile = 0; tile < sums.size() / 4; ++tile) {
    Value token =
        b.min(b.add(b.add(firstToken, row), 8 * tile), b.sub(tokens, 1));
    // Times zero past the end of a row.
    xs.push_back(
        b.load(words, rowAddress("x", token, RouterType::BF16, column), 16));
  }
  for (auto [tile, x] : llvm::enumerate(xs))
    for (int64_t i = 0; i < 4; i += 2) {
      MutableArrayRef<Value> mine = sums.slice(4 * tile, 4);
      Value product = NVVM::MmaOp::create(
          b, result,
          ValueRange{part(upper, i), part(lower, i), part(upper, i + 1),
                     part(lower, i + 1)},
          ValueRange{part(x, i), part(x, i + 1)}, ValueRange(mine),
          ArrayRef<int64_t>{16, 8, 16}, std::nullopt, std::nullopt, types,
          layouts);
      for (auto [j, sum] : llvm::enumerate(mine))
        sum = LLVM::ExtractValueOp::create(b, product, j);
    }
}

void RouterBuilder::multiplyOnTensorCores() {
  int64_t tiles = spec.tokensPerBlock / 8;
  int64_t steps = llvm::divideCeil(spec.hidden, 32 * warps);
  int64_t unroll = std::min<int64_t>(steps, tiles == 1 ? 4 : 1);
  SmallVector<Value> sums(4 * tiles, b.f32(0.0f));
  // Steps past the end multiply zeros.
  sums = b.loop(0, llvm::divideCeil(steps, unroll), sums,
                [&](Value i, ValueRange before) -> SmallVector<Value> {
                  SmallVector<Value> after = llvm::to_vector_of<Value>(before);
                  for (int64_t j = 0; j < unroll; ++j)
                    multiplyStep(b.add(b.mul(i, unroll), j), after);
                  return after;
                });
  addPartials(sums);
}

/// The sums of all warps, in order.
void RouterBuilder::addPartials(ArrayRef<Value> sums) {
  int64_t values = 32 * sums.size();
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Value at = b.add(b.mul(warp, values), b.add(lane, 32 * i));
    b.store(sum, b.atElement(shared, f32, at));
  }
  NVVM::BarrierOp::create(b);
  b.loop(
      0, llvm::divideCeil(values, threads), {},
      [&](Value i, ValueRange) -> SmallVector<Value> {
        Value index = b.add(b.mul(i, threads), thread);
        b.ifThen(b.less(index, values), [&] {
          Value sum = b.f32(0.0f);
          for (int64_t other = 0; other < warps; ++other) {
            Value at = b.atElement(shared, f32, b.add(index, other * values));
            sum = arith::AddFOp::create(b, sum, b.load(f32, at));
          }
          Value from = b.bitAnd(index, 31);
          Value place = b.bitAnd(b.shr(index, 5), 3);
          Value expert = b.add(b.shr(from, 2), b.mul(b.shr(place, 1), 8));
          Value token =
              b.add(b.mul(b.shr(index, 7), 8),
                    b.add(b.mul(b.bitAnd(from, 3), 2), b.bitAnd(place, 1)));
          storeLogit(sum, b.add(firstToken, token), b.add(firstExpert, expert));
        });
        return {};
      });
}

//===----------------------------------------------------------------------===//
// FMA
//===----------------------------------------------------------------------===//

SmallVector<Value> RouterBuilder::loadFour(StringRef name, Value row,
                                           RouterType type, Value column) {
  Value from = rowAddress(name, row, type, column);
  SmallVector<Value> values;
  if (type == RouterType::F32) {
    Value four = b.load(floats, from, 16);
    for (int64_t i = 0; i < 4; ++i)
      values.push_back(LLVM::ExtractElementOp::create(b, four, b.i32(i)));
    return values;
  }
  Value two = b.load(VectorType::get(2, i32), from, 8);
  for (int64_t i = 0; i < 2; ++i) {
    Value word = LLVM::ExtractElementOp::create(b, two, b.i32(i));
    values.push_back(b.toFloat(b.shl(word, 16)));
    values.push_back(b.toFloat(b.bitAnd(word, 0xFFFF0000)));
  }
  return values;
}

/// A warp has two experts and all tokens of the block; its lanes share K, all
/// warps do where they have the same experts.
void RouterBuilder::multiplyByFMA() {
  constexpr int64_t mine = 2;
  bool shareK = spec.expertsPerBlock == mine;
  int64_t rows = spec.tokensPerBlock, sharers = shareK ? warps : 1;
  SmallVector<Value> sums(mine * rows, b.f32(0.0f));
  Value first = shareK ? firstExpert : b.add(firstExpert, b.mul(warp, mine));
  Value place = shareK ? thread : lane;
  sums =
      b.loop(0, llvm::divideCeil(spec.hidden, 128 * sharers), sums,
             [&](Value i, ValueRange before) -> SmallVector<Value> {
               SmallVector<Value> after = llvm::to_vector_of<Value>(before);
               Value column = b.mul(b.add(b.mul(i, 32 * sharers), place), 4);
               Value inside = b.less(column, spec.hidden);
               column = b.select(inside, column, 0);
               SmallVector<SmallVector<Value>> experts;
               for (int64_t e = 0; e < mine; ++e) {
                 Value expert = b.min(b.add(first, e), spec.select.experts - 1);
                 experts.push_back(loadFour("w", expert, spec.w, column));
                 for (Value &value : experts.back())
                   value =
                       arith::SelectOp::create(b, inside, value, b.f32(0.0f));
               }
               for (int64_t t = 0; t < rows; ++t) {
                 Value token = b.min(b.add(firstToken, t), b.sub(tokens, 1));
                 SmallVector<Value> x = loadFour("x", token, spec.x, column);
                 for (int64_t e = 0; e < mine; ++e)
                   for (int64_t j = 0; j < 4; ++j) {
                     Value &sum = after[e * rows + t];
                     sum = LLVM::FMAOp::create(b, experts[e][j], x[j], sum);
                   }
               }
               return after;
             });
  for (auto [i, sum] : llvm::enumerate(sums)) {
    sum = b.reduce(sum, [&](Value x, Value y) -> Value {
      return arith::AddFOp::create(b, x, y);
    });
    b.ifThen(b.equal(lane, static_cast<int64_t>(i)), [&] {
      if (shareK)
        b.store(sum,
                b.atElement(shared, f32, b.add(b.mul(warp, mine * rows), i)));
      else
        storeLogit(sum, b.add(firstToken, i % rows), b.add(first, i / rows));
    });
  }
  if (!shareK)
    return;
  NVVM::BarrierOp::create(b);
  b.ifThen(b.less(thread, mine * rows), [&] {
    Value sum = b.f32(0.0f);
    for (int64_t other = 0; other < warps; ++other)
      sum = arith::AddFOp::create(
          b, sum,
          b.load(f32,
                 b.atElement(shared, f32, b.add(thread, other * mine * rows))));
    storeLogit(sum, b.add(firstToken, b.rem(thread, rows)),
               b.add(first, b.div(thread, rows)));
  });
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

void RouterBuilder::selectIfLast() {
  NVVM::BarrierOp::create(b); // all logits are written, partials read
  b.ifThen(b.equal(thread, 0), [&] {
    Value counter = b.atElement(argument("state"), i32, tokenBlock);
    Value before = b.countUp(counter, "acq_rel");
    Value last = b.equal(before, getExpertBlocks(spec) - 1);
    b.ifThen(last, [&] { b.store(b.i32(0), counter); });
    b.store(b.select(last, 1, 0), flag);
  });
  NVVM::BarrierOp::create(b);
  Value last = b.equal(b.uniform(b.load(i32, flag)), 1);
  b.ifThen(last, [&] {
    SelectBuilder::Arrays arrays;
    arrays.logits = argument("logits");
    if (spec.select.bias)
      arrays.bias = argument("bias");
    arrays.ids = argument("ids");
    arrays.weights = argument("weights");
    if (spec.select.groups > 1)
      arrays.cells = b.atByte(shared, b.mul(warp, 4 * spec.select.experts));
    b.loop(0, spec.tokensPerBlock / warps, {},
           [&](Value i, ValueRange) -> SmallVector<Value> {
             Value token = b.add(firstToken, b.add(b.mul(i, warps), warp));
             b.ifThen(b.less(token, tokens), [&] {
               SelectBuilder(b, arrays, spec.select).selectFor(token);
             });
             return {};
           });
  });
}

LLVM::LLVMFuncOp moe::buildRouter(gpu::GPUModuleOp module,
                                  const RouterSpec &spec) {
  return buildKernel(module, getRouterInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       RouterBuilder(b, module, function, spec).build();
                     });
}
