#include "cuda/nccl_library.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace moert;
using namespace moert::cuda;

#if __has_include(<nccl.h>) && __has_include(<cuda_runtime.h>)
#include <nccl.h>

static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));
static_assert(offsetof(NcclConfig, blocking) ==
              offsetof(ncclConfig_t, blocking));
static_assert(offsetof(NcclConfig, maxCtas) == offsetof(ncclConfig_t, maxCTAs));
static_assert(offsetof(NcclConfig, netName) == offsetof(ncclConfig_t, netName));
static_assert(offsetof(NcclConfig, splitShare) ==
              offsetof(ncclConfig_t, splitShare));
static_assert(INT_MIN == NCCL_CONFIG_UNDEF_INT);
static_assert(NcclSuccess == ncclSuccess && NcclInProgress == ncclInProgress &&
              NcclBytes == ncclInt8);
#endif

// Programs and weights do not depend on the version; non-blocking setup does.
static constexpr int OldestVersion = 21800;

Result<std::shared_ptr<const NcclLibrary>> NcclLibrary::open() {
  const char *named = std::getenv("MOERT_NCCL_LIB");
  std::string path = named && *named ? named : "libnccl.so.2";
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *why = ::dlerror();
    return Status::error(MOERT_ERROR_UNSUPPORTED, "cannot open NCCL '",
                         printable(path),
                         "': ", printable(why ? why : "unknown"),
                         "; MOERT_NCCL_LIB names the library");
  }
  std::shared_ptr<NcclLibrary> library(new NcclLibrary);
  const char *missing = nullptr;
#define MOERT_NCCL(name, symbol, result, types)                                \
  library->name = reinterpret_cast<result(*) types>(::dlsym(handle, #symbol)); \
  if (!library->name && !missing)                                              \
    missing = #symbol;
#include "cuda/nccl_library.def"
  if (missing)
    return Status::error(MOERT_ERROR_UNSUPPORTED, "NCCL '", printable(path),
                         "' has no ", missing,
                         ", version 2.18 or later is "
                         "needed");
  int version = 0;
  if (library->getVersion(&version) != NcclSuccess || version < OldestVersion)
    return Status::error(MOERT_ERROR_UNSUPPORTED, "NCCL '", printable(path),
                         "' is version ", library->version(),
                         ", 2.18 or later is needed");
  return std::shared_ptr<const NcclLibrary>(library);
}

std::string NcclLibrary::version() const {
  int version = 0;
  if (getVersion(&version) != NcclSuccess)
    return "unknown";
  return concat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

Status NcclLibrary::check(int code, NcclHandle handle,
                          std::string_view what) const {
  if (code == NcclSuccess || code == NcclInProgress)
    return {};
  const char *text = getErrorString(code);
  const char *last = getLastError(handle);
  std::string more = last && *last ? concat("; ", printable(last)) : "";
  while (more.ends_with("\\n"))
    more.resize(more.size() - 2);
  return Status::error(MOERT_ERROR_COLLECTIVE, what, ": NCCL says ",
                       printable(text ? text : "nothing"), " (", code, ")",
                       more);
}
