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
      [{ return false; }]>
  ];
}
#endif
