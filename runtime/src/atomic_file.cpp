#include "atomic_file.h"

#include "text.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moert;

static std::string systemError(std::string_view verb, const std::string &path) {
  return concat("cannot ", verb, " '", path, "': ", std::strerror(errno));
}

static bool writeAll(int fd, std::string_view piece) {
  while (!piece.empty()) {
    ssize_t written = ::write(fd, piece.data(), piece.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return false;
    piece.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

static bool writePieces(int fd, std::span<const std::string_view> pieces) {
  for (std::string_view piece : pieces)
    if (!writeAll(fd, piece))
      return false;
  return true;
}

static std::string writeDirectly(const std::string &path,
                                 std::span<const std::string_view> pieces) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return systemError("open", path);
  bool written = writePieces(fd, pieces);
  std::string error = written ? std::string() : systemError("write", path);
  if (::close(fd) != 0 && error.empty())
    error = systemError("write", path);
  return error;
}

// Follows a link to an existing file, so that the link stays a link.
static std::string resolved(const std::string &path) {
  char *real = ::realpath(path.c_str(), nullptr);
  std::string result = real ? real : path.c_str();
  std::free(real);
  return result;
}

std::string
moert::writeFileAtomically(const std::string &path,
                           std::span<const std::string_view> pieces) {
  struct stat info;
  bool exists = ::stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode))
    return concat("cannot write '", path, "': it is a folder");
  if (exists && !S_ISREG(info.st_mode))
    return writeDirectly(path, pieces);

  std::string target = exists ? resolved(path) : path;
  std::string temporary;
  int fd = -1;
  for (int attempt = 0; attempt < 100 && fd < 0; ++attempt) {
    temporary = concat(target, ".tmp-", ::getpid(), "-", attempt);
    fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                0666);
    if (fd < 0 && errno != EEXIST)
      break;
  }
  if (fd < 0)
    return systemError("create", path);
  bool good = writePieces(fd, pieces) && ::fsync(fd) == 0;
  std::string error = good ? std::string() : systemError("write", path);
  if (::close(fd) != 0 && error.empty())
    error = systemError("write", path);
  if (error.empty() && ::rename(temporary.c_str(), target.c_str()) != 0)
    error = systemError("write", path);
  if (!error.empty())
    ::unlink(temporary.c_str());
  return error;
}
