#include "tensors.h"

#include "checked.h"
#include "npy.h"

#include <cstdio>

using namespace moert;

static constexpr std::string_view SafetensorsEnd = ".safetensors";

template <typename... Args> static Status invalid(const Args &...args) {
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
}

void moert::note(const std::string &line) {
  std::fprintf(stderr, "note: %s\n", line.c_str());
}

Result<TensorSource> moert::parseTensorSource(std::string_view flag,
                                              const std::string &text) {
  auto refuse = [&](std::string_view why) {
    return invalid(flag, "=", printable(text), ": ", why,
                   ", expected name=@file.safetensors:tensor or "
                   "name=@file.npy");
  };
  size_t equals = text.find('=');
  if (equals == std::string::npos)
    return refuse("there is no '='");
  if (equals == 0)
    return refuse("the name is empty");
  TensorSource source;
  source.name = text.substr(0, equals);
  std::string rest = text.substr(equals + 1);
  if (!rest.starts_with('@'))
    return refuse("there is no '@' before the file");
  rest = rest.substr(1);
  if (rest.ends_with(".npy")) {
    source.file = rest;
    return source;
  }
  size_t end = rest.find(std::string(SafetensorsEnd) + ":");
  if (end == std::string::npos)
    return refuse(rest.ends_with(SafetensorsEnd)
                      ? "no tensor of the file is named"
                      : "the file is neither .safetensors nor .npy");
  source.file = rest.substr(0, end + SafetensorsEnd.size());
  source.tensor = rest.substr(end + SafetensorsEnd.size() + 1);
  if (source.tensor.empty())
    return refuse("no tensor of the file is named");
  return source;
}

Result<FileTensor> moert::openTensor(const TensorSource &source) {
  if (source.tensor.empty()) {
    Result<std::shared_ptr<MappedFile>> file = MappedFile::open(source.file);
    if (!file.ok())
      return file.status();
    Result<TensorView> view = parseNpy((*file)->bytes());
    if (!view.ok())
      return view.status().in(concat("'", printable(source.file), "'"));
    return FileTensor{*view, *file};
  }
  Result<std::shared_ptr<SafetensorsFile>> file =
      SafetensorsFile::open(source.file);
  if (!file.ok())
    return file.status();
  const TensorView *view = (*file)->find(source.tensor);
  if (!view)
    return invalid("'", printable(source.file), "' has no tensor '",
                   printable(source.tensor), "'",
                   suggest(source.tensor, (*file)->names()));
  return FileTensor{*view, *file};
}

Result<OwnedTensor> moert::makeTensor(const std::string &name,
                                      moert_dtype dtype,
                                      std::vector<int64_t> shape) {
  std::optional<int64_t> elements = elementCount(shape);
  std::optional<int64_t> bytes;
  if (elements)
    bytes = (Checked(*elements) * static_cast<int64_t>(dtypeSize(dtype))).get();
  if (!bytes)
    return invalid("`", name, "` of shape ", bracketed(shape), " is too large");
  Result<AlignedBuffer> buffer =
      AlignedBuffer::allocate(*bytes, "`" + name + "`");
  if (!buffer.ok())
    return buffer.status();
  return OwnedTensor{name, dtype, std::move(shape), std::move(*buffer)};
}

Result<OwnedTensor> moert::convertTensor(const std::string &name,
                                         const FileTensor &from,
                                         moert_dtype dtype) {
  if (!canConvert(from.view.dtype, dtype))
    return invalid("`", name, "` has dtype ", printable(from.view.dtypeText),
                   " in its file, expected ", dtypeName(dtype));
  Result<OwnedTensor> tensor = makeTensor(name, dtype, from.view.shape);
  if (tensor.ok())
    convertElements(from.view.dtype, from.view.bytes.data(), 1, dtype,
                    tensor->buffer.data(), from.view.elements());
  return tensor;
}
