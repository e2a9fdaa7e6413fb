// A file mapped for reading.
#ifndef MOERT_MAPPED_FILE_H
#define MOERT_MAPPED_FILE_H

#include "status.h"

#include <memory>
#include <string>
#include <string_view>

namespace moert {

class MappedFile {
public:
  // Only regular files are mapped. The content must not shrink while mapped.
  static Result<std::shared_ptr<MappedFile>> open(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  std::string_view bytes() const { return {data, size}; }
  const std::string &path() const { return name; }

private:
  MappedFile(std::string name, const char *data, size_t size)
      : name(std::move(name)), data(data), size(size) {}

  std::string name;
  const char *data;
  size_t size;
};

// Gives back the memory of pages that lie wholly inside a part of a mapped
// file; they are read anew when they are looked at again.
void forgetPages(std::string_view ofMappedFile);

} // namespace moert

#endif
