// Consumers that begin their products in turn.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULTURNS_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULTURNS_H

#include "GroupedMatmulPlan.h"
#include "moe/Codegen/DeviceBuilder.h"

namespace moe {

/// Two consumers that wait for the same stage begin together and end together,
/// and then both do something else while nobody multiplies.  In turn, the
/// products of one run while the other one scales its sums.  Both take as many
/// turns.
class Turns {
public:
  Turns(DeviceBuilder &b, mlir::Value consumer);

  /// Before the first turn: it is the first consumer's.
  void begin();
  void take();
  void pass();
  /// Behind the last turn: takes what is left over.
  void end();

private:
  DeviceBuilder &b;
  mlir::Value consumer;
};

} // namespace moe

#endif
