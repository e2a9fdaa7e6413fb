#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe::moert;

#define GET_OP_CLASSES
#include "dialects/Moert/MoertOps.cpp.inc"

// (C1), (C2): what the runtime can move.
static LogicalResult verifyDense(Operation *op, StringRef name,
                                 MemRefType type) {
  if (!isRuntimeElement(type.getElementType()))
    return op->emitOpError() << "`" << name << "` is " << type
                             << ", but elements of f32, bf16, f16, i32 or i64 "
                                "are expected";
  if (type.getLayout().isIdentity())
    return success();
  // An offset is harmless; strides must be those of dense rows.
  auto [strides, offset] = type.getStridesAndOffset();
  (void)offset;
  int64_t expected = 1;
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    bool single = type.getDimSize(dim) == 1;
    if (!single &&
        (ShapedType::isDynamic(expected) ||
         ShapedType::isDynamic(strides[dim]) || strides[dim] != expected))
      return op->emitOpError() << "`" << name << "` is " << type
                               << ", but dense row-major memory is expected";
    if (ShapedType::isDynamic(type.getDimSize(dim)))
      expected = ShapedType::kDynamic;
    else if (!ShapedType::isDynamic(expected) &&
             llvm::MulOverflow(expected, type.getDimSize(dim), expected))
      return op->emitOpError()
             << "`" << name << "` is " << type
             << ", which has more elements than 64 bits count";
  }
  return success();
}

static LogicalResult verifyBoth(Operation *op, Value send, Value recv) {
  auto from = cast<MemRefType>(send.getType());
  auto to = cast<MemRefType>(recv.getType());
  if (failed(verifyDense(op, "send", from)) ||
      failed(verifyDense(op, "recv", to)))
    return failure();
  if (from.getElementType() != to.getElementType())
    return op->emitOpError()
           << "sends " << from.getElementType() << " and receives "
           << to.getElementType() << ", but equal element types are expected";
  return success();
}

// (C3) `whole` with `members` leading dimensions dropped has the shape `part`.
static LogicalResult verifyBlocks(Operation *op, Value send, Value recv,
                                  unsigned sendLead, unsigned recvLead) {
  if (failed(verifyBoth(op, send, recv)))
    return failure();
  auto from = cast<MemRefType>(send.getType());
  auto to = cast<MemRefType>(recv.getType());
  bool ranks = from.getRank() >= sendLead && to.getRank() >= recvLead;
  if (!ranks ||
      failed(verifyCompatibleShape(from.getShape().drop_front(sendLead),
                                   to.getShape().drop_front(recvLead))))
    return op->emitOpError()
           << "sends " << from << " and receives " << to << ", but "
           << (sendLead == recvLead ? "equal shapes are expected"
               : sendLead ? "a dimension for the members before the shape of "
                            "`recv` is expected in `send`"
                          : "a dimension for the members before the shape of "
                            "`send` is expected in `recv`");
  return success();
}

LogicalResult AllReduceOp::verify() {
  return verifyBlocks(*this, getSend(), getRecv(), 0, 0);
}
LogicalResult AllGatherOp::verify() {
  return verifyBlocks(*this, getSend(), getRecv(), 0, 1);
}
LogicalResult ReduceScatterOp::verify() {
  return verifyBlocks(*this, getSend(), getRecv(), 1, 0);
}
LogicalResult AllToAllOp::verify() {
  auto send = cast<MemRefType>(getSend().getType());
  if (send.getRank() == 0)
    return emitOpError() << "`send` is " << send
                         << ", but a dimension for the members is expected";
  return verifyBlocks(*this, getSend(), getRecv(), 0, 0);
}

// (C4) and static counts.
static LogicalResult verifyRows(Operation *op, Value send, Value recv,
                                MemRefType counts) {
  if (failed(verifyBoth(op, send, recv)) ||
      failed(verifyDense(op, "counts", counts)))
    return failure();
  if (!counts.hasStaticShape() || counts.getRank() == 0)
    return op->emitOpError() << "has counts of type " << counts
                             << ", but a static shape [members, ...] is "
                                "expected";
  auto from = cast<MemRefType>(send.getType());
  auto to = cast<MemRefType>(recv.getType());
  if (from.getRank() == 0 || to.getRank() == 0 ||
      from.getShape().drop_front() != to.getShape().drop_front() ||
      llvm::any_of(from.getShape().drop_front(), ShapedType::isDynamic))
    return op->emitOpError() << "moves rows of " << from << " into " << to
                             << ", but rows of one static shape are expected";
  return success();
}

LogicalResult AllGatherVOp::verify() {
  return verifyRows(*this, getSend(), getRecv(), getCounts().getType());
}
LogicalResult ReduceScatterVOp::verify() {
  return verifyRows(*this, getSend(), getRecv(), getCounts().getType());
}
LogicalResult AllToAllVOp::verify() {
  MemRefType send = getSendCounts().getType(), recv = getRecvCounts().getType();
  if (failed(verifyRows(*this, getSend(), getRecv(), send)) ||
      failed(verifyRows(*this, getSend(), getRecv(), recv)))
    return failure();
  if (send.getShape() != recv.getShape()) // (C5)
    return emitOpError() << "has send counts of type " << send
                         << " and receive counts of type " << recv
                         << ", but equal shapes are expected";
  return success();
}

LogicalResult SendOp::verify() {
  return verifyDense(*this, "data", cast<MemRefType>(getData().getType()));
}
LogicalResult RecvOp::verify() {
  return verifyDense(*this, "data", cast<MemRefType>(getData().getType()));
}

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

static bool fitsParameter(Type type, StringRef kind) {
  if (kind == "ptr")
    return isa<MemRefType>(type);
  if (kind == "i64")
    return type.isInteger(64);
  if (kind == "f32")
    return type.isF32();
  return type.isInteger(32);
}

LogicalResult LaunchOp::verify() {
  auto module = (*this)->getParentOfType<ModuleOp>();
  auto kernels =
      module ? module->getAttrOfType<ArrayAttr>(kernelsName) : ArrayAttr();
  if (!kernels) // a function on its own, or before its kernels are known
    return success();
  if (getKernel() >= kernels.size()) // (C1)
    return emitOpError() << "runs kernel " << getKernel()
                         << ", but the module has " << kernels.size();
  auto kernel = dyn_cast<KernelAttr>(kernels[getKernel()]);
  if (!kernel)
    return success(); // the module's own verifier says so
  if (kernel.getParams().size() != getArguments().size()) // (C2)
    return emitOpError() << "has " << getArguments().size()
                         << " arguments, but `" << kernel.getName().getValue()
                         << "` takes " << kernel.getParams().size();
  for (auto [index, argument, param] : llvm::enumerate(
           getArguments(), kernel.getParams().getAsRange<StringAttr>()))
    if (!fitsParameter(argument.getType(), param.getValue())) // (C2)
      return emitOpError() << "has " << argument.getType() << " for argument "
                           << index << ", but `" << kernel.getName().getValue()
                           << "` takes " << param;
  return success();
}

LogicalResult TensorMapOp::verify() {
  Type element = cast<MemRefType>(getBuffer().getType()).getElementType();
  if (!element.isBF16() && !element.isF32()) // (C1)
    return emitOpError() << "maps elements of " << element
                         << ", but bf16 or f32 is expected";
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  int64_t pitch = getPitch(), columns = getColumns();
  constexpr int64_t mostBytes = int64_t(1) << 40; // of a tensor map's stride
  if (columns < 1 || pitch < columns || pitch > mostBytes / bytes ||
      pitch * bytes % 16) // (C1)
    return emitOpError() << "maps rows of " << columns << " elements, " << pitch
                         << " apart, but a pitch of no fewer and a multiple "
                            "of 16 bytes is expected";
  int64_t boxRows = getBoxRows();
  int64_t width = std::clamp<int64_t>(getBoxColumns(), 0, 1 << 20) * bytes;
  if (boxRows < 1 || boxRows > 256 ||
      !llvm::is_contained({32, 64, 128}, width)) // (C2)
    return emitOpError() << "has a box of " << boxRows << " rows of " << width
                         << " bytes, but 1 to 256 of 32, 64 or 128 are "
                            "expected";
  if (getBlocked() &&
      (!element.isBF16() || getRagged() || columns % 64 || pitch != columns ||
       getBoxColumns() != 64 || boxRows % 8)) // (C3)
    return emitOpError() << "maps blocks of 8 x 64, but bf16 that is not "
                            "ragged, whole blocks of columns and rows, and "
                            "boxes of 64 columns are expected";
  return success();
}

static LogicalResult verifyCopied(Operation *op, Value source, Value target) {
  if (failed(verifyBoth(op, source, target)))
    return failure();
  auto from = cast<MemRefType>(source.getType());
  auto to = cast<MemRefType>(target.getType());
  if (failed(verifyCompatibleShape(from.getShape(), to.getShape())))
    return op->emitOpError() << "copies " << from << " to " << to
                             << ", but equal shapes are expected";
  return success();
}

LogicalResult CopyOp::verify() {
  return verifyCopied(*this, getSource(), getTarget());
}
LogicalResult ReadOp::verify() {
  return verifyCopied(*this, getSource(), getTarget());
}

static bool isWord(MemRefType type) {
  return type.getElementType().isInteger(32) && type.getRank() == 1 &&
         type.getDimSize(0) == 1 && type.getLayout().isIdentity();
}

LogicalResult VariantOp::verify() {
  auto type = cast<MemRefType>(getWord().getType());
  if (isWord(type)) // (C1)
    return success();
  return emitOpError() << "writes " << type
                       << ", but memref<1xi32> is expected";
}

LogicalResult StatusOp::verify() {
  if (isWord(getType())) // (C1)
    return success();
  return emitOpError() << "is " << getType()
                       << ", but memref<1xi32> is expected";
}
