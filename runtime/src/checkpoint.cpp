#include "checkpoint.h"

#include "json_reader.h"

#include <filesystem>

using namespace moert;
namespace fs = std::filesystem;

static constexpr const char *SingleFile = "model.safetensors";
static constexpr const char *IndexFile = "model.safetensors.index.json";

Result<std::shared_ptr<Checkpoint>>
Checkpoint::openFile(const std::string &path) {
  Result<std::shared_ptr<SafetensorsFile>> file = SafetensorsFile::open(path);
  if (!file.ok())
    return file.status();
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->where = path;
  for (const std::string &name : (*file)->names())
    checkpoint->fileOf[name] = path;
  checkpoint->files[path] = *file;
  return checkpoint;
}

static Status checkShardName(const std::string &tensor,
                             const std::string &file) {
  if (file.empty() || file.find('/') != std::string::npos ||
      file.find('\0') != std::string::npos || file == "." || file == "..")
    return Status::error(MOERT_ERROR_INVALID_FILE, "weight_map puts '",
                         printable(tensor), "' into '", printable(file),
                         "', the name of a file in the same folder is "
                         "expected");
  return {};
}

Result<std::shared_ptr<Checkpoint>>
Checkpoint::openIndex(const std::string &path) {
  Result<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
  if (!file.ok())
    return file.status();
  std::string quoted = concat("'", printable(path), "'");
  Result<Json> json = parseJson((*file)->bytes(), {256 << 20, 32});
  if (!json.ok())
    return json.status().in(quoted);
  auto fail = [&](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_FILE, quoted, ": ", args...);
  };
  if (!json->is_object() || !json->contains("weight_map"))
    return fail("weight_map is missing");
  const Json &map = (*json)["weight_map"];
  if (!map.is_object())
    return fail("weight_map is a ", map.type_name(), ", an object is expected");
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->where = path;
  fs::path folder = fs::path(path).parent_path();
  for (const auto &item : map.items()) {
    if (!item.value().is_string())
      return fail("weight_map.", printable(item.key()), " is a ",
                  item.value().type_name(), ", a string is expected");
    std::string name = item.value().get<std::string>();
    Status status = checkShardName(item.key(), name);
    if (!status.ok())
      return status.in(quoted);
    checkpoint->fileOf[item.key()] = (folder / name).string();
  }
  return checkpoint;
}

Result<std::shared_ptr<Checkpoint>> Checkpoint::open(const std::string &path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored))
    return path.ends_with(".json") ? openIndex(path) : openFile(path);
  fs::path single = fs::path(path) / SingleFile;
  fs::path index = fs::path(path) / IndexFile;
  Result<std::shared_ptr<Checkpoint>> result =
      fs::exists(single, ignored) ? openFile(single.string())
      : fs::exists(index, ignored)
          ? openIndex(index.string())
          : Result<std::shared_ptr<Checkpoint>>(Status::error(
                MOERT_ERROR_INVALID_FILE, "'", printable(path),
                "' holds neither ", SingleFile, " nor ", IndexFile));
  if (result.ok())
    (*result)->where = path;
  return result;
}

bool Checkpoint::contains(const std::string &name) const {
  return fileOf.contains(name);
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> result;
  for (const auto &entry : fileOf)
    result.push_back(entry.first);
  return result;
}

Result<std::shared_ptr<SafetensorsFile>>
Checkpoint::shard(const std::string &path) {
  std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<SafetensorsFile> &file = files[path];
  if (!file) {
    Result<std::shared_ptr<SafetensorsFile>> opened =
        SafetensorsFile::open(path);
    if (!opened.ok())
      return opened.status();
    file = *opened;
  }
  return file;
}

Result<const TensorView *> Checkpoint::find(const std::string &name) {
  auto it = fileOf.find(name);
  if (it == fileOf.end())
    return Status::error(MOERT_ERROR_INVALID_FILE, "'", printable(where),
                         "' has no tensor '", printable(name), "'",
                         suggest(name, names()));
  Result<std::shared_ptr<SafetensorsFile>> file = shard(it->second);
  if (!file.ok())
    return file.status();
  const TensorView *tensor = (*file)->find(name);
  if (!tensor)
    return Status::error(MOERT_ERROR_INVALID_FILE, "'", printable(it->second),
                         "' has no tensor '", printable(name),
                         "', but the index puts it there");
  return tensor;
}
