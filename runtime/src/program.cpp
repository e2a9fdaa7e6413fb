#include "program.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace moert;

Result<std::shared_ptr<Program>> Program::load(std::string_view object) {
  int fd = ::memfd_create("moert-program", MFD_CLOEXEC);
  if (fd < 0)
    return Status::error(MOERT_ERROR_IO,
                         "cannot make a file in memory for the "
                         "program: ",
                         std::strerror(errno));
  while (!object.empty()) {
    ssize_t written = ::write(fd, object.data(), object.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0) {
      Status status = Status::error(
          MOERT_ERROR_OUT_OF_MEMORY,
          "cannot copy the program into memory: ", std::strerror(errno));
      ::close(fd);
      return status;
    }
    object.remove_prefix(static_cast<size_t>(written));
  }
  // The loader knows objects by path: while this one is loaded no other may get
  // the same number, so the descriptor stays open.
  std::string path = concat("/proc/self/fd/", fd);
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *why = ::dlerror();
    std::string text = why ? why : "unknown";
    if (text.starts_with(path + ": "))
      text = text.substr(path.size() + 2);
    ::close(fd);
    return Status::error(MOERT_ERROR_INVALID_FILE,
                         "cannot load the program: ", printable(text));
  }
  return std::shared_ptr<Program>(new Program(fd, handle));
}

Program::~Program() {
  ::dlclose(handle);
  ::close(fd);
}

Result<void *> Program::symbol(const std::string &name) const {
  void *address = ::dlsym(handle, name.c_str());
  if (!address)
    return Status::error(MOERT_ERROR_INVALID_FILE,
                         "the program does not export `", printable(name), "`");
  return address;
}
