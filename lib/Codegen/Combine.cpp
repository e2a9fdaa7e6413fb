// One thread per token and eight columns (16 bytes): all rows of a token are
// requested before the first is used.
#include "moe/Codegen/Combine.h"
#include "Chunk.h"
#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t threads = 128, perThread = chunk::elements;

LogicalResult moe::verifyCombine(const CombineSpec &spec,
                                 function_ref<InFlightDiagnostic()> emitError) {
  if (spec.columns < 1 || spec.columns % perThread)
    return emitError() << "combine of " << spec.columns
                       << " columns, expected a positive multiple of 8";
  if (spec.topK < 1 || spec.topK > 16)
    return emitError() << "combine of " << spec.topK
                       << " rows per token, expected 1 to 16";
  if (!spec.positions && spec.topK != 1)
    return emitError() << "combine of " << spec.topK
                       << " rows per token without positions, expected 1";
  if (spec.gate && !spec.addend)
    return emitError() << "combine has a gate, expected an addend with it";
  if (spec.placesFirst && !spec.positions)
    return emitError() << "combine reads places first, expected positions";
  return success();
}

/// CTAs that share the columns of one token.
static int64_t countParts(const CombineSpec &spec) {
  return llvm::divideCeil(spec.columns, threads * perThread);
}

KernelInterface moe::getCombineInterface(const CombineSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = threads;
  interface.leastCtas = spec.topK <= 8 ? 8 : 4; // all rows in registers
  auto add = [&](StringRef name) {
    interface.parameters.push_back({name.str()});
  };
  add("rows");
  if (spec.positions)
    add("positions");
  if (spec.weights)
    add("weights");
  if (spec.addend)
    add("addend");
  if (spec.gate)
    add("gate");
  add("y");
  interface.grid = {"y", 1, countParts(spec)};
  return interface;
}

static void buildBody(DeviceBuilder &b, const CombineSpec &spec,
                      LLVM::LLVMFuncOp function) {
  unsigned next = 0;
  Value rows = b.toGlobal(function.getArgument(next++));
  Value positions = spec.positions ? function.getArgument(next++) : Value();
  Value weights = spec.weights ? function.getArgument(next++) : Value();
  Value addend =
      spec.addend ? b.toGlobal(function.getArgument(next++)) : Value();
  Value gate = spec.gate ? function.getArgument(next++) : Value();
  Value y = b.toGlobal(function.getArgument(next++));
  int64_t parts = countParts(spec);
  Value token = b.div(b.blockId(), parts);
  Value column = b.add(b.mul(b.rem(b.blockId(), parts), threads), b.threadId());
  SmallVector<Value> places, factors;
  if (spec.placesFirst)
    b.forgetCached();
  else
    b.awaitPredecessors();
  Value first = b.mul(token, spec.topK);
  for (int64_t j = 0; j < spec.topK; ++j) {
    Value pair = b.add(first, j);
    places.push_back(positions
                         ? b.load(b.getI32Type(),
                                  b.atElement(positions, b.getI32Type(), pair))
                         : token);
    if (weights)
      factors.push_back(
          b.load(b.getF32Type(), b.atElement(weights, b.getF32Type(), pair)));
  }
  if (spec.placesFirst)
    b.awaitPredecessors();
  auto at = [&](Value base, Value row) {
    return chunk::at(b, base, row, spec.columns, column);
  };
  b.ifThen(b.less(column, spec.columns / perThread), [&] {
    SmallVector<Value> chunks, kept;
    for (Value place : places) {
      kept.push_back(positions ? b.less(-1, place) : b.boolean(true));
      chunks.push_back(chunk::load(b, at(rows, b.max(place, 0))));
    }
    Value last = addend ? chunk::load(b, at(addend, token)) : Value();
    SmallVector<Value> sums(perThread, b.f32(0.0f));
    for (int64_t j = 0; j < spec.topK; ++j)
      for (auto [sum, x] : llvm::zip(sums, chunk::toFloats(b, chunks[j]))) {
        Value term =
            spec.weights
                ? LLVM::FMAOp::create(b, x, factors[j], sum).getResult()
                : arith::AddFOp::create(b, sum, x).getResult();
        sum = arith::SelectOp::create(b, kept[j], term, sum);
      }
    Value factor =
        gate ? b.load(b.getF32Type(), b.atElement(gate, b.getF32Type(), token))
             : Value();
    if (last)
      for (auto [sum, x] : llvm::zip(sums, chunk::toFloats(b, last)))
        sum = factor ? LLVM::FMAOp::create(b, x, factor, sum).getResult()
                     : arith::AddFOp::create(b, sum, x).getResult();
    chunk::store(b, chunk::fromFloats(b, sums), at(y, token));
  });
}

LLVM::LLVMFuncOp moe::buildCombine(gpu::GPUModuleOp module,
                                   const CombineSpec &spec) {
  return buildKernel(
      module, getCombineInterface(spec),
      [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
        buildBody(b, spec, function);
      },
      Waits::InBody);
}
