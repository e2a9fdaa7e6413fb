#include "safetensors.h"

#include "atomic_file.h"
#include "checked.h"
#include "json_reader.h"

#include <algorithm>
#include <cstring>

using namespace moert;

static constexpr uint64_t MaxHeader = 100000000; // the format's own limit
static constexpr int64_t MaxSize = INT64_MAX;

namespace {
struct DtypeRow {
  const char *name;
  int bits;
  FileDtype dtype;
};
} // namespace

static constexpr DtypeRow DtypeTable[] = {
    {"F64", 64, FileDtype::F64},
    {"F32", 32, FileDtype::F32},
    {"BF16", 16, FileDtype::BF16},
    {"F16", 16, FileDtype::F16},
    {"I64", 64, FileDtype::I64},
    {"I32", 32, FileDtype::I32},
    {"U64", 64, FileDtype::Other},
    {"U32", 32, FileDtype::Other},
    {"I16", 16, FileDtype::Other},
    {"U16", 16, FileDtype::Other},
    {"I8", 8, FileDtype::I8},
    {"U8", 8, FileDtype::I8},
    {"BOOL", 8, FileDtype::Other},
    {"C64", 64, FileDtype::Other},
    {"F8_E4M3", 8, FileDtype::F8E4M3},
    {"F8_E5M2", 8, FileDtype::Other},
    {"F8_E8M0", 8, FileDtype::Other},
    {"F6_E2M3", 6, FileDtype::Other},
    {"F6_E3M2", 6, FileDtype::Other},
    {"F4", 4, FileDtype::Other},
    {"F8_E4M3FNUZ", 8, FileDtype::Other},
    {"F8_E5M2FNUZ", 8, FileDtype::Other},
};

static const DtypeRow *findDtype(std::string_view name) {
  for (const DtypeRow &row : DtypeTable)
    if (name == row.name)
      return &row;
  return nullptr;
}

int64_t TensorView::elements() const {
  return elementCount(shape).value_or(0); // checked when the file was opened
}

template <typename... Args> static Status invalid(const Args &...args) {
  return Status::error(MOERT_ERROR_INVALID_FILE, args...);
}

static Status checkMetadata(const Json &json) {
  if (!json.is_object())
    return invalid("__metadata__ is a ", json.type_name(),
                   ", an object of strings is expected");
  for (const auto &item : json.items())
    if (!item.value().is_string())
      return invalid("__metadata__.", printable(item.key()), " is a ",
                     item.value().type_name(), ", a string is expected");
  return {};
}

static Status readTensor(const std::string &name, const Json &json,
                         std::string_view data, TensorView &tensor) {
  std::string problem;
  JsonObject object(json, concat("tensor '", printable(name), "'"), problem);
  tensor.dtypeText = object.string("dtype");
  tensor.shape = object.integers("shape", 0, 64, 0, MaxSize);
  std::vector<int64_t> offsets =
      object.integers("data_offsets", 2, 2, 0, MaxSize);
  object.finish();
  if (!problem.empty())
    return invalid(problem);
  std::string_view where = object.path();

  const DtypeRow *row = findDtype(tensor.dtypeText);
  if (!row)
    return invalid(where, " has the unknown dtype '",
                   printable(tensor.dtypeText), "'");
  tensor.dtype = row->dtype;
  if (offsets[0] > offsets[1])
    return invalid(where, " ends at ", offsets[1], ", before it begins at ",
                   offsets[0]);
  if (static_cast<uint64_t>(offsets[1]) > data.size())
    return invalid(where, " ends at ", offsets[1], ", the data at ",
                   data.size());
  std::optional<int64_t> elements = elementCount(tensor.shape);
  std::optional<int64_t> bits;
  if (elements)
    bits = (Checked(*elements) * row->bits).get();
  if (!bits)
    return invalid(where, " of shape ", bracketed(tensor.shape),
                   " is too large");
  if (*bits % 8 != 0)
    return invalid(where, " of shape ", bracketed(tensor.shape), " and dtype ",
                   row->name, " does not fill whole bytes");
  int64_t size = offsets[1] - offsets[0];
  if (*bits / 8 != size)
    return invalid(where, " of shape ", bracketed(tensor.shape), " and dtype ",
                   row->name, " needs ", *bits / 8, " bytes, its offsets hold ",
                   size);
  tensor.bytes =
      data.substr(static_cast<size_t>(offsets[0]), static_cast<size_t>(size));
  return {};
}

// In order of their offsets, tensors must follow one another without gap or
// overlap, from the first byte of the data to the last.
static Status checkTiling(const std::map<std::string, TensorView> &tensors,
                          std::string_view data) {
  std::vector<const std::pair<const std::string, TensorView> *> order;
  for (const auto &entry : tensors)
    order.push_back(&entry);
  auto begin = [&](const TensorView &tensor) {
    return static_cast<size_t>(tensor.bytes.data() - data.data());
  };
  std::sort(order.begin(), order.end(), [&](const auto *a, const auto *b) {
    return std::pair(begin(a->second), a->second.bytes.size()) <
           std::pair(begin(b->second), b->second.bytes.size());
  });
  size_t end = 0;
  const std::string *before = nullptr;
  for (const auto *entry : order) {
    size_t start = begin(entry->second);
    if (start < end)
      return invalid("tensor '", printable(entry->first), "' begins at ", start,
                     ", inside of '", printable(*before), "', which ends at ",
                     end);
    if (start > end)
      return invalid("no tensor holds the bytes ", end, " to ", start,
                     " before '", printable(entry->first), "'");
    end = start + entry->second.bytes.size();
    before = &entry->first;
  }
  if (end != data.size())
    return invalid("no tensor holds the last ", data.size() - end, " bytes");
  return {};
}

Result<std::map<std::string, TensorView>>
SafetensorsFile::parse(std::string_view bytes) {
  if (bytes.size() < 8)
    return invalid("the file has ", bytes.size(),
                   " bytes, a safetensors file has at least 8");
  uint64_t headerSize;
  std::memcpy(&headerSize, bytes.data(), sizeof(headerSize));
  if (headerSize > MaxHeader)
    return invalid("the header has ", headerSize, " bytes, at most ", MaxHeader,
                   " are allowed");
  if (headerSize > bytes.size() - 8)
    return invalid("the header has ", headerSize, " bytes, the file only ",
                   bytes.size() - 8, " after its length");
  std::string_view header = bytes.substr(8, headerSize);
  std::string_view data = bytes.substr(8 + headerSize);
  if (!header.starts_with('{'))
    return invalid("the header does not begin with '{'");
  Result<Json> json = parseJson(header, {MaxHeader, 8});
  if (!json.ok())
    return json.status().in("header");

  std::map<std::string, TensorView> tensors;
  for (const auto &item : json->items()) {
    if (item.key() == "__metadata__") {
      MOERT_TRY(checkMetadata(item.value()));
      continue;
    }
    MOERT_TRY(readTensor(item.key(), item.value(), data, tensors[item.key()]));
  }
  MOERT_TRY(checkTiling(tensors, data));
  return tensors;
}

Result<std::shared_ptr<SafetensorsFile>>
SafetensorsFile::open(const std::string &path) {
  Result<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
  if (!file.ok())
    return file.status();
  Result<std::map<std::string, TensorView>> tensors = parse((*file)->bytes());
  if (!tensors.ok())
    return tensors.status().in(concat("'", printable(path), "'"));
  auto result = std::make_shared<SafetensorsFile>();
  result->file = std::move(*file);
  result->tensors = std::move(*tensors);
  return result;
}

const TensorView *SafetensorsFile::find(const std::string &name) const {
  auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : &it->second;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  for (const auto &entry : tensors)
    result.push_back(entry.first);
  return result;
}

Status moert::writeSafetensors(const std::string &path,
                               const std::vector<NamedTensor> &tensors) {
  // Larger elements first, so that every tensor is aligned to its elements.
  std::vector<const NamedTensor *> order;
  for (size_t size : {8, 4, 2})
    for (const NamedTensor &tensor : tensors)
      if (dtypeSize(tensor.dtype) == size)
        order.push_back(&tensor);

  Json header = Json::object();
  std::vector<std::string_view> pieces(2);
  uint64_t offset = 0;
  for (const NamedTensor *tensor : order) {
    size_t size = static_cast<size_t>(elementCount(tensor->shape).value_or(0)) *
                  dtypeSize(tensor->dtype);
    std::string dtype = dtypeName(tensor->dtype);
    std::transform(dtype.begin(), dtype.end(), dtype.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    header[tensor->name] = {{"dtype", dtype},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + size}}};
    pieces.emplace_back(static_cast<const char *>(tensor->data), size);
    offset += size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  uint64_t headerSize = text.size();
  pieces[0] = {reinterpret_cast<const char *>(&headerSize), sizeof(headerSize)};
  pieces[1] = text;
  std::string error = writeFileAtomically(path, pieces);
  return error.empty() ? Status() : Status::error(MOERT_ERROR_IO, error);
}
