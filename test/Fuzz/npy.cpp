// NumPy's files: what is accepted lies inside the file.
#include "fuzz.h"

#include "npy.h"

using namespace moert;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes = fuzz::text(data, size);
  Result<TensorView> tensor = parseNpy(bytes);
  if (tensor.ok())
    fuzz::require(tensor->bytes.empty() ||
                      (tensor->bytes.data() >= bytes.data() &&
                       tensor->bytes.data() + tensor->bytes.size() <=
                           bytes.data() + bytes.size()),
                  "a tensor lies inside its file");
  return 0;
}
