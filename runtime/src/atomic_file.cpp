#include "atomic_file.h"

#include "text.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

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

namespace {
// A file that is being written. It has no name where the file system can do
// that, so that even a killed process leaves nothing behind.
class Draft {
public:
  explicit Draft(std::string target) : target(std::move(target)) {
    size_t slash = this->target.find_last_of('/');
    std::string folder = slash == std::string::npos
                             ? std::string(".")
                             : this->target.substr(0, slash + 1);
    fd = ::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    for (int attempt = 0; attempt < Attempts && fd < 0; ++attempt) {
      name = nameOf(attempt);
      fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd < 0 && errno != EEXIST)
        break;
    }
  }
  ~Draft() {
    int kept = errno; // that of what failed
    if (fd >= 0)
      ::close(fd);
    if (!name.empty())
      ::unlink(name.c_str());
    errno = kept;
  }
  // Puts it in the place of what is there. False with errno.
  bool publish() {
    if (name.empty() && !giveName())
      return false;
    if (::close(std::exchange(fd, -1)) != 0 ||
        ::rename(name.c_str(), target.c_str()) != 0)
      return false;
    name.clear();
    return true;
  }

  int fd = -1;

private:
  static constexpr int Attempts = 100;
  std::string nameOf(int attempt) const {
    return concat(target, ".tmp-", ::getpid(), "-", attempt);
  }
  bool giveName() {
    std::string self = concat("/proc/self/fd/", fd);
    for (int attempt = 0; attempt < Attempts; ++attempt) {
      std::string candidate = nameOf(attempt);
      if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, candidate.c_str(),
                   AT_SYMLINK_FOLLOW) == 0) {
        name = candidate;
        return true;
      }
      if (errno != EEXIST)
        return false;
    }
    return false;
  }

  const std::string target;
  std::string name; // empty: none yet
};
} // namespace

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
  Draft draft(target);
  if (draft.fd < 0)
    return systemError("create", path);
  bool good = writePieces(draft.fd, pieces) && ::fsync(draft.fd) == 0;
  if (good)
    good = draft.publish();
  return good ? std::string() : systemError("write", path);
}
