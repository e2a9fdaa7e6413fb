#include "GroupedMatmulTurns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;

/// The named barriers of the consumers' turns, after those of the consumers and
/// of gathering threads.
static constexpr int64_t firstBarrier = consumers + 2;

Turns::Turns(DeviceBuilder &b, Value consumer) : b(b), consumer(consumer) {}

void Turns::begin() {
  b.ifThen(b.equal(consumer, 1), [&] { pass(); });
}

void Turns::take() {
  NVVM::BarrierOp::create(b, Type(), b.add(consumer, firstBarrier),
                          b.i32(128 * consumers), NVVM::BarrierReductionAttr(),
                          Value());
}

void Turns::pass() {
  b.assembly(Type(),
             {b.sub(firstBarrier + 1, consumer), b.i32(128 * consumers)},
             "barrier.cta.arrive $0, $1;", "r,r,~{memory}");
}

void Turns::end() {
  b.ifThen(b.equal(consumer, 0), [&] { take(); });
}
