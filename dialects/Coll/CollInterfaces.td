#ifndef COLL_INTERFACES_TD
#define COLL_INTERFACES_TD
include "mlir/IR/OpBase.td"

def Coll_CollectiveInterface : OpInterface<"Collective"> {
  let cppNamespace = "::moe::coll";
  let description = [{
    An operation in which every member of a group takes part: all of them must issue it, in the same order, with sizes that match. `coll.index`,
    `coll.rows` and `coll.share` name axes, but do not communicate.
  }];
  let methods = [
    InterfaceMethod<"The grid whose axes `getAxes` names.", "::mlir::FlatSymbolRefAttr", "getGridAttr">,
    InterfaceMethod<"The axes over which the group extends.", "::llvm::ArrayRef<int64_t>", "getAxes">,
    InterfaceMethod<"What this rank sends; null if it only receives.", "::mlir::Value", "getSent", (ins), [{}],
      [{ return $_op.getSource(); }]>,
    InterfaceMethod<"Whether all members move blocks of one size, given by the type of `getSent`.", "bool", "isFixedSize", (ins), [{}],
      [{ return false; }]>,
    InterfaceMethod<[{What moves: `rows` of activations or of a sum, the expert `ids` or `weights` of tokens, or `counts`.}],
      "::llvm::StringRef", "getPayload", (ins), [{}], [{ return ::moe::coll::defaultPayload($_op); }]>,
    InterfaceMethod<[{The counts whose block p says how many rows go to member p (`all_to_all_v`), or stand for member p; null where the type
      says all.}], "::mlir::Value", "getBlockCounts", (ins), [{}], [{ return {}; }]>,
    InterfaceMethod<[{Bytes that leave member `me` for each member, 0 for itself. `rows[p]` is the sum of block p of `getBlockCounts`; where there
      are none, `rows` holds the first dimension of what is sent if that is dynamic. Other dimensions are static. These are the bytes that a
      communicator counts for whole rows, and what expected rows come to: an all_reduce is a reduce_scatter of shares and their gather.}],
      "::llvm::SmallVector<double>", "getSentBytes", (ins "int64_t":$me, "::llvm::ArrayRef<double>":$rows), [{}],
      [{ return ::moe::coll::sentBytes($_op, me, rows); }]>
  ];
}
#endif
