#ifndef COLL_DIALECT_TD
#define COLL_DIALECT_TD
include "mlir/IR/OpBase.td"

def Coll_Dialect : Dialect {
  let name = "coll";
  let cppNamespace = "::moe::coll";
  let summary = "collectives on one rank's tensors, over axes of a shard.grid";
  let description = [{
    One SPMD program serves all ranks. A collective names the grid and the axes over which it communicates; its group is the set of
    ranks that agree on all other axes, its members ordered by their coordinates on those axes, first axis slowest. Collectives are
    never `Pure`: each writes the `Communicator` resource, so that nothing sinks, hoists, duplicates or reorders it.

    Value form on tensors (phase `sharded`), buffer form on memrefs with `outs` (phase `scheduled`). In buffer form a collective may go on while
    other work is done: `coll.start` holds it and gives a token, `coll.wait` awaits it.

    The grid's axes are named by the discardable attribute `coll.axes` (array of strings) on `shard.grid`.
  }];
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::mlir::shard::ShardDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}
#endif
