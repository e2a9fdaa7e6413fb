#include "mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moert;

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string &path) {
  auto fail = [&](std::string_view why) {
    return Status::error(MOERT_ERROR_IO, "cannot read '", printable(path),
                         "': ", why);
  };
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return fail(std::strerror(errno));
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return fail("it is no regular file");
  }
  size_t size = static_cast<size_t>(info.st_size);
  void *data = nullptr;
  if (size > 0)
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  int error = errno;
  ::close(fd);
  if (data == MAP_FAILED)
    return fail(std::strerror(error));
  return std::shared_ptr<MappedFile>(
      new MappedFile(path, static_cast<const char *>(data), size));
}

MappedFile::~MappedFile() {
  if (data)
    ::munmap(const_cast<char *>(data), size);
}

void moert::forgetPages(std::string_view ofMappedFile) {
  size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t begin = reinterpret_cast<size_t>(ofMappedFile.data());
  size_t end = (begin + ofMappedFile.size()) / page * page;
  begin = (begin + page - 1) / page * page;
  if (begin < end) // nothing is lost where the system does not do it
    (void)::madvise(reinterpret_cast<void *>(begin), end - begin,
                    MADV_DONTNEED);
}
