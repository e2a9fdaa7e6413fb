// The manifest of an artifact, and JSON of the runtime in general.
#include "fuzz.h"
#include "mutators/mutators.h"

#include "manifest.h"

MOE_FUZZ_MUTATE_BY(fuzz::mutateJson);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moert::Result<moert::Manifest> manifest =
      moert::parseManifest(fuzz::text(data, size));
  fuzz::require(manifest.ok() || !manifest.status().message().empty(),
                "an error says what is wrong");
  return 0;
}
