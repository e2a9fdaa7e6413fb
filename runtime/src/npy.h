// Reading NumPy's .npy files.
#ifndef MOERT_NPY_H
#define MOERT_NPY_H

#include "dtype.h"
#include "mapped_file.h"
#include "safetensors.h"
#include "status.h"

#include <string_view>

namespace moert {

// Versions 1 to 3, C order, little endian, of the types '<f8', '<f4', '<f2',
// '<i4' and '<i8'. The view points into `bytes`.
Result<TensorView> parseNpy(std::string_view bytes);

} // namespace moert

#endif
