#include "Resolve.h"
#include "moe/Json/StrictJson.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace moe::import {

static std::string withExpert(StringRef name, int64_t expert) {
  if (!name.contains("{e}"))
    return name.str();
  auto [before, after] = name.split("{e}");
  return (before + Twine(expert) + after).str();
}

// The tensors of a source, in order.
static std::vector<std::string> tensorNames(const Source &source,
                                            int64_t experts) {
  std::vector<std::string> names;
  for (const std::string &name : source.names)
    if (source.expertDim < 0)
      names.push_back(name);
    else
      for (int64_t expert = 0; expert < experts; ++expert)
        names.push_back(withExpert(name, expert));
  return names;
}

static ArrayRef<StringRef> dtypesOf(Element element) {
  static constexpr StringRef floats[] = {"F32", "BF16", "F16", "F64"};
  static constexpr StringRef f8[] = {"F8_E4M3"};
  static constexpr StringRef byte[] = {"U8"};
  switch (element) {
  case Element::Program:
  case Element::F32:
    return floats;
  case Element::F8E4M3:
    return f8;
  case Element::F4E2M1:
  case Element::Byte:
    return byte;
  }
  llvm_unreachable("every element type is listed");
}

static std::string spellShape(ArrayRef<int64_t> shape) {
  return "[" +
         join(map_range(shape, [](int64_t d) { return itostr(d); }), ", ") +
         "]";
}

static Error checkTensor(StringRef name, const Source &source, Element element,
                         Tensors &tensors) {
  Expected<const TensorInfo *> info = tensors.info(name);
  if (!info)
    return info.takeError();
  if (!*info)
    return Error::success();
  ArrayRef<int64_t> expected = source.fileShape;
  if (!source.storedShape.empty())
    expected = source.storedShape;
  if (ArrayRef<int64_t>((*info)->shape) != expected)
    return fileError(
        tensors.fileOf(name),
        "tensor `" + name + "` has shape " + spellShape((*info)->shape) +
            ", but config.json makes " + spellShape(expected) + " expected");
  if (!is_contained(dtypesOf(element), (*info)->dtype))
    return fileError(tensors.fileOf(name), "tensor `" + name + "` has dtype " +
                                               (*info)->dtype + ", but " +
                                               join(dtypesOf(element), " or ") +
                                               " is expected");
  return Error::success();
}

static Error checkSource(const Source &source, Element element, int64_t experts,
                         Tensors &tensors) {
  for (const std::string &name : tensorNames(source, experts)) {
    if (!tensors.contains(name))
      return fileError(tensors.listing(),
                       "tensor `" + name + "` is missing, but `" +
                           withExpert(source.names.front(), 0) + "` is there");
    if (Error error = checkTensor(name, source, element, tensors))
      return error;
  }
  if (source.expertDim >= 0) {
    std::string next = withExpert(source.names.front(), experts);
    if (tensors.contains(next))
      return fileError(tensors.listing(), "tensor `" + next +
                                              "` is there, but config.json "
                                              "has only " +
                                              Twine(experts) + " experts");
  }
  return Error::success();
}

static Error resolveWeight(Weight &weight, int64_t experts, Tensors &tensors) {
  for (Source &source : weight.sources) {
    if (!tensors.contains(withExpert(source.names.front(), 0)))
      continue;
    if (Error error = checkSource(source, weight.element, experts, tensors))
      return error;
    Source chosen = std::move(source);
    weight.sources = {std::move(chosen)};
    return Error::success();
  }
  std::string expected =
      join(map_range(weight.sources,
                     [](const Source &source) {
                       return "`" + withExpert(source.names.front(), 0) + "`";
                     }),
           " or ");
  return fileError(tensors.listing(),
                   "has no tensor " + expected + ", but one is expected");
}

Error resolveLayer(Layer &layer, Tensors &tensors, bool router) {
  SmallVector<Weight *> weights;
  auto add = [&](std::optional<Weight> &maybe) {
    if (maybe)
      weights.push_back(&*maybe);
  };
  auto addAll = [&](FeedForward &experts) {
    weights.append({&experts.up, &experts.down});
    add(experts.upBias);
    add(experts.downBias);
    add(experts.upScales);
    add(experts.downScales);
  };
  if (router) {
    weights.push_back(&layer.gate);
    add(layer.gateBias);
    add(layer.selectionBias);
  }
  addAll(layer.routed);
  if (layer.shared)
    addAll(*layer.shared);
  add(layer.sharedGate);
  for (Weight *weight : weights)
    if (Error error = resolveWeight(*weight, layer.experts, tensors))
      return error;
  return Error::success();
}

} // namespace moe::import
