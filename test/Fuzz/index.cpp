// The index of a checkpoint of several files; each tensor that it names is
// asked for. One file is there.
#include "fuzz.h"
#include "mutators/mutators.h"

#include "checkpoint.h"

using namespace moert;

MOE_FUZZ_MUTATE_BY(fuzz::mutateJson);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder folder;
  static bool isWritten = false;
  if (!isWritten) {
    isWritten = true;
    const float value = 1;
    std::string path = folder.write("a.safetensors", "");
    fuzz::require(writeSafetensors(path, {{"t", MOERT_F32, {1}, &value}}).ok(),
                  "a file can be written");
  }
  std::string path =
      folder.write("model.safetensors.index.json", fuzz::text(data, size));
  Result<std::shared_ptr<Checkpoint>> checkpoint = Checkpoint::open(path);
  if (!checkpoint.ok())
    return 0;
  for (const std::string &name : (*checkpoint)->names())
    (void)(*checkpoint)->find(name);
  return 0;
}
