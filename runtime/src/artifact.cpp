#include "artifact.h"

using namespace moert;

Status Artifact::readContent(std::string_view bytes) {
  if (std::string error = decodeArtifact(bytes, content); !error.empty())
    return Status::error(MOERT_ERROR_INVALID_FILE, error);
  text = content.front().data;
  Result<Manifest> manifest = parseManifest(text);
  if (!manifest.ok())
    return manifest.status();
  parsed = std::move(*manifest);
  if (entry(ProgramEntryName).empty())
    return Status::error(MOERT_ERROR_INVALID_FILE, "the artifact has no ",
                         ProgramEntryName);
  return {};
}

Result<std::shared_ptr<Artifact>> Artifact::open(const std::string &path) {
  Result<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
  if (!file.ok())
    return file.status();
  auto artifact = std::make_shared<Artifact>();
  artifact->file = *file;
  Status status = artifact->readContent((*file)->bytes());
  if (!status.ok())
    return status.in(concat("'", printable(path), "'"));
  return artifact;
}

Result<std::shared_ptr<Artifact>> Artifact::openMemory(std::string_view bytes) {
  auto artifact = std::make_shared<Artifact>();
  artifact->copy = bytes;
  MOERT_TRY(artifact->readContent(artifact->copy));
  return artifact;
}

std::string_view Artifact::digest() const {
  std::string_view bytes = file ? file->bytes() : std::string_view(copy);
  return bytes.substr(bytes.size() - 32); // checked when it was opened
}

std::string_view Artifact::entry(std::string_view name) const {
  for (const ArtifactEntry &candidate : content)
    if (candidate.name == name)
      return candidate.data;
  return {};
}

Result<const Function *> Artifact::function(const std::string &name) const {
  const std::vector<Function> &functions = parsed.functions;
  if (name.empty() && functions.size() == 1)
    return &functions.front();
  if (name.empty())
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "the artifact has ",
                         functions.size(), " functions, name one",
                         "; choose from: ", join(parsed.functionNames()));
  for (const Function &function : functions)
    if (function.name == name)
      return &function;
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT,
                       "the artifact has no function `", printable(name), "`",
                       suggest(name, parsed.functionNames()));
}

Result<std::shared_ptr<Program>> Artifact::loadProgram() const {
  MOERT_TRY(checkTarget(parsed.target));
  return Program::load(entry(ProgramEntryName));
}
