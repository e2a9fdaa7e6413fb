#include "cuda/driver.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace moert;
using namespace moert::cuda;

static constexpr const char *DefaultLibrary = "libcuda.so.1";

Driver::~Driver() {
  // The library stays loaded: other users in this process (PyTorch) and its own
  // threads expect that.
}

Status Driver::load(const std::string &library) {
  handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *why = ::dlerror();
    return Status::error(
        MOERT_ERROR_UNSUPPORTED, "cannot open the CUDA driver '",
        printable(library), "': ", printable(why ? why : "unknown"),
        "; the device cuda needs an NVIDIA GPU and its driver");
  }
  const char *missing = nullptr;
#define MOERT_CUDA(name, symbol, types)                                        \
  name = reinterpret_cast<int(*) types>(::dlsym(handle, #symbol));             \
  if (!name && !missing)                                                       \
    missing = #symbol;
#include "cuda/driver.def"
  if (missing)
    return Status::error(MOERT_ERROR_UNSUPPORTED, "the CUDA driver '",
                         printable(library), "' has no ", missing,
                         ", a newer driver is needed");
  return {};
}

Result<std::shared_ptr<const Driver>> Driver::open() {
  const char *named = std::getenv("MOERT_CUDA_LIB");
  std::shared_ptr<Driver> driver(new Driver);
  MOERT_TRY(driver->load(named && *named ? named : DefaultLibrary));
  MOERT_TRY(driver->check(driver->init(0), "cannot start the CUDA driver"));
  return std::shared_ptr<const Driver>(driver);
}

static moert_status statusOf(int code) {
  switch (code) {
  case OutOfMemory:
    return MOERT_ERROR_OUT_OF_MEMORY;
  case NoDevice:
    return MOERT_ERROR_UNSUPPORTED;
  case InvalidImage:
  case NoBinaryForGpu:
  case UnsupportedPtxVersion:
    return MOERT_ERROR_UNSUPPORTED;
  default:
    return MOERT_ERROR_INTERNAL;
  }
}

Status Driver::check(int code, std::string_view what) const {
  if (code == Success)
    return {};
  const char *name = nullptr, *text = nullptr;
  if (getErrorName(code, &name) != Success || !name)
    name = "unknown error";
  if (getErrorString(code, &text) != Success || !text)
    text = "no description";
  return Status::error(statusOf(code), what, ": ", name, " (", code, ", ", text,
                       ")");
}
