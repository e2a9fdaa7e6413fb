// An opened artifact: validated container, manifest, program on demand.
#ifndef MOERT_SRC_ARTIFACT_H
#define MOERT_SRC_ARTIFACT_H

#include "manifest.h"
#include "mapped_file.h"
#include "moert/artifact.h"
#include "program.h"

#include <memory>

namespace moert {

class Artifact {
public:
  static Result<std::shared_ptr<Artifact>> open(const std::string &path);
  // Copies the bytes.
  static Result<std::shared_ptr<Artifact>> openMemory(std::string_view bytes);

  const Manifest &manifest() const { return parsed; }
  const std::string &manifestText() const { return text; }
  const std::vector<ArtifactEntry> &entries() const { return content; }
  // Of all bytes, as the file itself says at its end.
  std::string_view digest() const;
  // Its path; empty if it was opened from memory.
  std::string path() const { return file ? file->path() : std::string(); }
  // Empty if there is no such entry.
  std::string_view entry(std::string_view name) const;
  // Null if there is none of this name; `name` empty: the only one.
  Result<const Function *> function(const std::string &name) const;
  // Checks the machine and loads the code; each call loads anew.
  Result<std::shared_ptr<Program>> loadProgram() const;

private:
  Status readContent(std::string_view bytes);

  std::shared_ptr<MappedFile> file;
  std::string copy;
  std::vector<ArtifactEntry> content;
  std::string text;
  Manifest parsed;
};

} // namespace moert

#endif
