#include "Tensors.h"
#include "moe/Json/StrictJson.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace moe::import {

constexpr StringLiteral kOneFile = "model.safetensors";
constexpr StringLiteral kIndex = "model.safetensors.index.json";
constexpr uint64_t kMaxIndex = 256 << 20;

static std::string inFolder(StringRef folder, StringRef file) {
  SmallString<128> path(folder);
  sys::path::append(path, file);
  return path.str().str();
}

// Bits of one element; 0 for an unknown type.
static uint64_t bitsOf(StringRef dtype) {
  return StringSwitch<uint64_t>(dtype)
      .Case("F4", 4)
      .Cases({"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"}, 8)
      .Cases({"U16", "I16", "F16", "BF16"}, 16)
      .Cases({"U32", "I32", "F32"}, 32)
      .Cases({"U64", "I64", "F64", "C64"}, 64)
      .Default(0);
}

using moe::spell;
static std::string spell(const json::Array &array) {
  return spell(json::Value(json::Array(array)));
}

namespace {

struct Extent {
  uint64_t begin, end;
  std::string name;
};

} // namespace

// One entry of a header; its bytes are added to `extents`.
static Expected<TensorInfo> readTensor(StringRef file, StringRef name,
                                       const json::Value &value,
                                       std::vector<Extent> &extents) {
  auto wrong = [&](const Twine &message) {
    return fileError(file, "tensor `" + name + "` " + message);
  };
  const json::Object *fields = value.getAsObject();
  if (!fields)
    return wrong("is " + spell(value) + ", but an object is expected");
  std::optional<StringRef> dtype = fields->getString("dtype");
  const json::Array *shape = fields->getArray("shape");
  const json::Array *offsets = fields->getArray("data_offsets");
  if (!dtype || !shape || !offsets || fields->size() != 3)
    return wrong("is " + spell(value) +
                 ", but `dtype`, `shape` and `data_offsets` are expected");
  TensorInfo info{dtype->str(), {}};
  uint64_t bits = bitsOf(*dtype);
  if (bits == 0)
    return wrong("has dtype \"" + *dtype +
                 "\", but a type that safetensors defines is expected");
  bool overflow = false;
  for (const json::Value &entry : *shape) {
    std::optional<uint64_t> size = entry.getAsUINT64();
    if (!size || *size > INT64_MAX)
      return wrong("has shape " + spell(*shape) +
                   ", but sizes that are not negative are expected");
    bool once = false;
    bits = SaturatingMultiply(bits, *size, &once);
    overflow |= once;
    info.shape.push_back(*size);
  }
  std::optional<uint64_t> begin, end;
  if (offsets->size() == 2) {
    begin = (*offsets)[0].getAsUINT64();
    end = (*offsets)[1].getAsUINT64();
  }
  if (!begin || !end || *begin > *end)
    return wrong("has data_offsets " + spell(*offsets) +
                 ", but a first and a last offset are expected");
  if (overflow || bits % 8 != 0 || bits / 8 != *end - *begin)
    return wrong("has data_offsets " + spell(*offsets) +
                 ", but its dtype and shape " + spell(*shape) + " take " +
                 (overflow ? "more than 2^61" : Twine(bits / 8)) + " bytes");
  extents.push_back({*begin, *end, name.str()});
  return info;
}

// The tensors must fill the rest of the file, without holes or overlaps.
static Error checkExtents(StringRef file, std::vector<Extent> &extents,
                          uint64_t dataBytes) {
  sort(extents, [](const Extent &a, const Extent &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t next = 0;
  for (const Extent &extent : extents) {
    if (extent.begin != next)
      return fileError(file, "tensor `" + extent.name + "` starts at byte " +
                                 Twine(extent.begin) +
                                 " of the data, but byte " + Twine(next) +
                                 " is expected");
    next = extent.end;
  }
  if (next != dataBytes)
    return fileError(file, "tensors take " + Twine(next) +
                               " bytes, but the file holds " +
                               Twine(dataBytes) + " after its header");
  return Error::success();
}

static Expected<std::unique_ptr<MemoryBuffer>>
readBytes(StringRef file, uint64_t offset, uint64_t count) {
  ErrorOr<std::unique_ptr<MemoryBuffer>> bytes =
      MemoryBuffer::getFileSlice(file, count, offset);
  if (!bytes)
    return fileError(file, "cannot be read: " + bytes.getError().message());
  if ((*bytes)->getBufferSize() != count)
    return fileError(file, "ended while it was read");
  return std::move(*bytes);
}

Expected<Tensors::Header> Tensors::readHeader(const std::string &file) {
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(file, status))
    return fileError(file, "cannot be read: " + code.message());
  if (status.type() != sys::fs::file_type::regular_file)
    return fileError(file, "is not a regular file");
  uint64_t fileBytes = status.getSize();
  if (fileBytes < 8)
    return fileError(file,
                     "has " + Twine(fileBytes) +
                         " bytes, but a header of at least 8 is expected");
  Expected<std::unique_ptr<MemoryBuffer>> length = readBytes(file, 0, 8);
  if (!length)
    return length.takeError();
  uint64_t headerBytes = support::endian::read64le((*length)->getBufferStart());
  if (headerBytes > maxSafetensorsHeader || headerBytes > fileBytes - 8)
    return fileError(file,
                     "announces a header of " + Twine(headerBytes) +
                         " bytes, but at most " +
                         Twine(std::min(maxSafetensorsHeader, fileBytes - 8)) +
                         " are expected");
  Expected<std::unique_ptr<MemoryBuffer>> text =
      readBytes(file, 8, headerBytes);
  if (!text)
    return text.takeError();
  Expected<json::Object> entries =
      parseObject((*text)->getBuffer(), file, maxSafetensorsHeader);
  if (!entries)
    return entries.takeError();
  Header header;
  std::vector<Extent> extents;
  for (const auto &[key, value] : *entries) {
    if (StringRef(key) == "__metadata__")
      continue;
    Expected<TensorInfo> info = readTensor(file, key, value, extents);
    if (!info)
      return info.takeError();
    header.try_emplace(key, std::move(*info));
  }
  if (Error error = checkExtents(file, extents, fileBytes - 8 - headerBytes))
    return std::move(error);
  return header;
}

Error Tensors::readIndex() {
  Expected<json::Object> index = readObject(listingFile, kMaxIndex);
  if (!index)
    return index.takeError();
  const json::Object *map = index->getObject("weight_map");
  if (!map)
    return fileError(listingFile, "has no object `weight_map`, but the files "
                                  "of all tensors are expected there");
  for (const auto &[name, value] : *map) {
    std::optional<StringRef> file = value.getAsString();
    // Only files of this folder: an index is no licence to read others.
    if (!file || file->empty() || *file == "." || *file == ".." ||
        file->contains('/') || file->contains('\0'))
      return fileError(listingFile, "places tensor `" + StringRef(name) +
                                        "` in " + spell(value) +
                                        ", but a file of the same folder is "
                                        "expected");
    names.try_emplace(name, *file);
  }
  if (names.empty())
    return fileError(listingFile, "names no tensor");
  return Error::success();
}

Expected<Tensors> Tensors::open(StringRef folder) {
  Tensors tensors;
  tensors.folder = folder.str();
  std::string one = inFolder(folder, kOneFile);
  std::string index = inFolder(folder, kIndex);
  if (sys::fs::exists(one)) {
    tensors.listingFile = one;
    Expected<Header> header = readHeader(one);
    if (!header)
      return header.takeError();
    if (header->empty())
      return fileError(one, "holds no tensor");
    for (const auto &entry : *header)
      tensors.names.try_emplace(entry.getKey(), kOneFile);
    tensors.files[kOneFile] = {true, true, std::move(*header)};
  } else if (sys::fs::exists(index)) {
    tensors.listingFile = index;
    if (Error error = tensors.readIndex())
      return std::move(error);
  }
  return tensors;
}

std::string Tensors::fileOf(StringRef name) const {
  return inFolder(folder, names.lookup(name));
}

Expected<const TensorInfo *> Tensors::info(StringRef name) {
  File &file = files[names.lookup(name)];
  std::string path = fileOf(name);
  if (!file.isRead) {
    file.isRead = true;
    file.isThere = sys::fs::exists(path);
    if (file.isThere) {
      Expected<Header> header = readHeader(path);
      if (!header)
        return header.takeError();
      file.header = std::move(*header);
    }
  }
  if (!file.isThere)
    return nullptr;
  auto found = file.header.find(name);
  if (found == file.header.end())
    return fileError(path, "has no tensor `" + name + "`, but " + listingFile +
                               " places it there");
  return &found->second;
}

} // namespace moe::import
