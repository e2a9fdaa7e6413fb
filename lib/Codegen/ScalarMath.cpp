#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace moe;

static constexpr double log2e = 1.4426950408889634;

/// 2^x, subnormals flushed.
static Value createExp2(DeviceBuilder &b, Value x) {
  auto op = LLVM::InlineAsmOp::create(
      b, b.getF32Type(), x, "ex2.approx.ftz.f32 $0, $1;", "=f,f",
      /*has_side_effects=*/false, /*is_align_stack=*/false,
      LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(),
      ArrayAttr());
  return op.getResult(0);
}

Value moe::createExp(DeviceBuilder &b, Value x) {
  return createExp2(b, arith::MulFOp::create(b, x, b.f32(log2e)));
}

Value moe::createSigmoid(DeviceBuilder &b, Value x, double scale) {
  Value power =
      createExp2(b, arith::MulFOp::create(b, x, b.f32(-log2e * scale)));
  Value sum = arith::AddFOp::create(b, power, b.f32(1.0f));
  return NVVM::RcpApproxFtzF32Op::create(b, b.getF32Type(), sum);
}

Value moe::createSwiglu(DeviceBuilder &b, Value gate, Value up) {
  Value silu = arith::MulFOp::create(b, gate, createSigmoid(b, gate));
  return arith::MulFOp::create(b, silu, up);
}

Value moe::createClampedSwiglu(DeviceBuilder &b, Value gate, Value up,
                               double alpha, double limit) {
  Value high = b.f32(limit), low = b.f32(-limit);
  gate = arith::MinimumFOp::create(b, gate, high);
  up =
      arith::MaximumFOp::create(b, arith::MinimumFOp::create(b, up, high), low);
  Value glu = arith::MulFOp::create(b, gate, createSigmoid(b, gate, alpha));
  return arith::MulFOp::create(b, arith::AddFOp::create(b, up, b.f32(1.0f)),
                               glu);
}

Value moe::createBF16Pair(DeviceBuilder &b, Value low, Value high) {
  Value pair = NVVM::ConvertF32x2ToBF16x2Op::create(
      b, VectorType::get(2, b.getBF16Type()), high, low, Value(),
      NVVM::FPRoundingMode::RN);
  return LLVM::BitcastOp::create(b, b.getI32Type(), pair);
}

Value moe::createE4M3Pair(DeviceBuilder &b, Value low, Value high) {
  Value pair = NVVM::ConvertF32x2ToF8x2Op::create(
      b, b.getI16Type(), high, low, NVVM::FPRoundingMode::RN,
      NVVM::SaturationMode::SATFINITE, /*relu=*/false,
      Float8E4M3FNType::get(b.getContext()));
  return arith::ExtUIOp::create(b, b.getI32Type(), pair);
}

QuantizedScale moe::createQuantizedScale(DeviceBuilder &b, Value largest) {
  constexpr float leastMagnitude = 1e-30f, largestE4M3 = 448.0f;
  int64_t leastBits = llvm::bit_cast<int32_t>(leastMagnitude);
  Value most = b.toFloat(b.max(largest, leastBits));
  Value inverse = NVVM::RcpApproxFtzF32Op::create(b, b.getF32Type(), most);
  return {arith::MulFOp::create(b, most, b.f32(1.0f / largestE4M3)),
          arith::MulFOp::create(b, inverse, b.f32(largestE4M3))};
}
