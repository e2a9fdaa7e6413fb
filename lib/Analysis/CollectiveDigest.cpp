#include "moe/Analysis/CollectiveDigest.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Forms/TwoForms.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace moe;

static void describeGroup(raw_ostream &os, coll::Collective op) {
  shard::GridOp grid = coll::lookupGrid(op, op.getGridAttr());
  os << " grid ";
  llvm::interleave(grid.getShape(), os, "x");
  os << " axes";
  for (int64_t axis : op.getAxes())
    if (grid.getShape()[axis] != 1)
      os << " " << axis;
}

// What this rank hands over, or what it takes where it only receives.
static ShapedType movedType(coll::Collective op) {
  if (Value sent = op.getSent())
    return cast<ShapedType>(sent.getType());
  Operation *raw = op;
  return cast<ShapedType>(raw->getNumResults() != 0
                              ? raw->getResult(0).getType()
                              : raw->getOperands().back().getType());
}

static void describe(raw_ostream &os, coll::Collective op,
                     Operation *function) {
  os << op->getName().getStringRef();
  describeGroup(os, op);
  ShapedType type = movedType(op);
  os << " of " << type.getElementType() << " [";
  llvm::interleave(
      type.getShape(), os,
      [&](int64_t size) {
        ShapedType::isDynamic(size) ? os << "?" : os << size;
      },
      ", ");
  os << "] depth ";
  int64_t depth = 0;
  for (Operation *parent = op->getParentOp(); parent && parent != function;
       parent = parent->getParentOp())
    ++depth;
  os << depth << "\n";
}

std::string moe::describeCollectives(Operation *function) {
  std::string text;
  llvm::raw_string_ostream os(text);
  function->walk<WalkOrder::PreOrder>(
      [&](coll::Collective op) { describe(os, op, function); });
  return text;
}

std::string moe::collectiveDigest(Operation *function) {
  std::string text = describeCollectives(function);
  llvm::XXH128_hash_t hash = llvm::xxh3_128bits(
      ArrayRef(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
  return llvm::utohexstr(hash.high64, /*LowerCase=*/true, /*Width=*/16) +
         llvm::utohexstr(hash.low64, /*LowerCase=*/true, /*Width=*/16);
}

// The collectives of `function` in order of execution, as dictionaries of
// `collective` (the op's name), `payload` and `axes`. Null where one of them
// stands in a loop or branch.
static ArrayAttr listCollectives(Operation *function) {
  Builder builder(function->getContext());
  SmallVector<Attribute> calls;
  WalkResult walked = function->walk([&](coll::Collective op) {
    Operation *holder = op->getParentOp();
    if (isa<coll::StartOp>(holder))
      holder = holder->getParentOp();
    if (holder != function)
      return WalkResult::interrupt();
    calls.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr(
             "collective", builder.getStringAttr(op->getName().stripDialect())),
         builder.getNamedAttr("payload",
                              builder.getStringAttr(op.getPayload())),
         builder.getNamedAttr("axes",
                              builder.getDenseI64ArrayAttr(op.getAxes()))}));
    return WalkResult::advance();
  });
  return walked.wasInterrupted() ? ArrayAttr() : builder.getArrayAttr(calls);
}

void moe::recordCollectives(Operation *interface, Operation *function) {
  interface->setAttr(
      "moert.collectives",
      StringAttr::get(function->getContext(), collectiveDigest(function)));
  interface->removeAttr("moert.calls");
  if (ArrayAttr calls = listCollectives(function))
    interface->setAttr("moert.calls", calls);
}
