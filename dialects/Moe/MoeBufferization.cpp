#include "dialects/Forms/TwoForms.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace moe;

template <typename... OpTys> static void attachAll(MLIRContext &context) {
  (OpTys::template attachInterface<TwoFormsBufferization<OpTys>>(context), ...);
}

void moe::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MoeDialect *) {
    attachAll<RouteOp, ExpertsOp, SharedExpertOp, RouterLogitsOp,
              SelectExpertsOp, SortOp, CountsOp, TakeOp, RegroupOp,
              GroupedMatmulOp, TokenGateOp, CombineOp>(*context);
  });
}
