#ifndef MOE_ANALYSIS_WORKINTERFACE_TD
#define MOE_ANALYSIS_WORKINTERFACE_TD
include "mlir/IR/OpBase.td"

def Moe_WorkInterface : OpInterface<"WorkInterface"> {
  let cppNamespace = "::moe";
  let description = [{
    What one rank does when it runs an operation of the `sharded` form: floating-point operations and bytes, as functions of the rows that
    its values hold. Collectives have `coll::Collective` beside it: what they send.
  }];
  let methods = [
    InterfaceMethod<"The work for these numbers of rows.", "::moe::Work", "getWork", (ins "const ::moe::RowCounts &":$rows)>
  ];
}
#endif
