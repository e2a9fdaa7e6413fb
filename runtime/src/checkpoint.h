// A checkpoint: named tensors in one safetensors file or in several shards.
#ifndef MOERT_CHECKPOINT_H
#define MOERT_CHECKPOINT_H

#include "safetensors.h"

#include <mutex>

namespace moert {

class Checkpoint {
public:
  // `path` is a safetensors file, an index (*.json), or a folder that holds
  // model.safetensors or model.safetensors.index.json; other files in the
  // folder are ignored. Shards are opened when a tensor of theirs is asked for.
  static Result<std::shared_ptr<Checkpoint>> open(const std::string &path);

  bool contains(const std::string &name) const;
  // The tensor lives as long as the checkpoint. Safe to call from many threads.
  Result<const TensorView *> find(const std::string &name);
  std::vector<std::string> names() const;
  const std::string &path() const { return where; }

private:
  static Result<std::shared_ptr<Checkpoint>> openFile(const std::string &path);
  static Result<std::shared_ptr<Checkpoint>> openIndex(const std::string &path);
  Result<std::shared_ptr<SafetensorsFile>> shard(const std::string &path);

  std::string where;
  std::map<std::string, std::string> fileOf; // tensor -> path of its file
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<SafetensorsFile>> files;
};

} // namespace moert

#endif
