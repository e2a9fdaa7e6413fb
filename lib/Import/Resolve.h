// Which layout of each weight a checkpoint has, and whether it is whole.
#ifndef MOE_LIB_IMPORT_RESOLVE_H
#define MOE_LIB_IMPORT_RESOLVE_H

#include "Model.h"
#include "Tensors.h"

namespace moe::import {

/// Leaves in each weight of `layer` the one source whose tensors are there,
/// with the shapes and types that config.json implies. Without `router`, the
/// router's weights are not looked at.
llvm::Error resolveLayer(Layer &layer, Tensors &tensors, bool router);

} // namespace moe::import
#endif
