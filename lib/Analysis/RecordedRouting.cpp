#include "moe/Analysis/PayloadPrediction.h"
#include "moe/Json/StrictJson.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace moe;

// The integers of a JSON array, or nothing.
static std::optional<SmallVector<int64_t, 2>>
integersOf(const llvm::json::Array *array) {
  SmallVector<int64_t, 2> values;
  if (!array)
    return std::nullopt;
  for (const llvm::json::Value &value : *array) {
    std::optional<int64_t> integer = integerOf(value);
    if (!integer || *integer < 0)
      return std::nullopt;
    values.push_back(*integer);
  }
  return values;
}

FailureOr<RecordedRouting> moe::readRouting(StringRef file, int64_t layer,
                                            std::string &error) {
  auto refuse = [&](const Twine &why) {
    error = ("'" + file + "' " + why).str();
    return failure();
  };
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    return refuse("cannot be read: " + buffer.getError().message());
  StringRef bytes = (*buffer)->getBuffer();
  uint64_t length =
      bytes.size() < 8 ? 0 : llvm::support::endian::read64le(bytes.data());
  if (bytes.size() < 8 || length > bytes.size() - 8)
    return refuse("is no safetensors file");
  llvm::Expected<llvm::json::Object> root = parseObject(
      bytes.substr(8, length), "'" + file.str() + "'", maxSafetensorsHeader);
  if (!root) {
    error = llvm::toString(root.takeError());
    return failure();
  }
  std::string name = ("layers." + Twine(layer) + ".expert_ids").str();
  const llvm::json::Object *tensor = root->getObject(name);
  if (!tensor)
    return refuse("has no tensor `" + name +
                  "`; `moe-run --record-routing` writes one");
  auto shape = integersOf(tensor->getArray("shape")),
       range = integersOf(tensor->getArray("data_offsets"));
  StringRef data = bytes.drop_front(8 + length);
  constexpr int64_t most = int64_t(1) << 40;
  if (tensor->getString("dtype") != "I32" || !shape || shape->size() != 2 ||
      !range || range->size() != 2 || (*range)[1] > int64_t(data.size()) ||
      (*shape)[0] > most || (*shape)[1] > 4096 ||
      (*range)[1] - (*range)[0] != 4 * (*shape)[0] * (*shape)[1])
    return refuse("has `" + name +
                  "`, but not as I32 of shape [tokens, top_k]");
  RecordedRouting routing{(*shape)[0], (*shape)[1], {}};
  for (int64_t at = (*range)[0]; at < (*range)[1]; at += 4)
    routing.ids.push_back(llvm::support::endian::read32le(data.data() + at));
  return routing;
}
