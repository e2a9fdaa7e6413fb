// From a described layer to a function of the moe dialect.
#ifndef MOE_LIB_IMPORT_EMITLAYER_H
#define MOE_LIB_IMPORT_EMITLAYER_H

#include "Model.h"
#include "mlir/IR/Builders.h"

namespace moe::import {

/// Appends `@layerL` at the insertion point of `builder`. `program` is the
/// element type of activations and plain weights. With `router` the function
/// routes by itself and returns the routing too; without, expert ids and
/// weights are inputs.
void emitLayer(mlir::OpBuilder &builder, const Layer &layer,
               mlir::FloatType program, bool router);

} // namespace moe::import
#endif
