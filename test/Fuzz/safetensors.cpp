// Safetensors: what is accepted lies inside the file.
#include "fuzz.h"
#include "mutators/mutators.h"

#include "safetensors.h"

using namespace moert;

MOE_FUZZ_MUTATE_BY(fuzz::mutateSafetensors);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes = fuzz::text(data, size);
  auto tensors = SafetensorsFile::parse(bytes);
  if (!tensors.ok())
    return 0;
  for (const auto &[name, tensor] : *tensors) {
    fuzz::require(tensor.bytes.empty() ||
                      (tensor.bytes.data() >= bytes.data() &&
                       tensor.bytes.data() + tensor.bytes.size() <=
                           bytes.data() + bytes.size()),
                  "a tensor lies inside its file");
    fuzz::require(tensor.elements() >= 0, "a tensor has elements");
  }
  return 0;
}
