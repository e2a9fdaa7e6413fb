#include "manifest.h"

#include "checked.h"
#include "moert/artifact.h"

#include <algorithm>

using namespace moert;

static constexpr int64_t MaxWorld = 1 << 16;
static constexpr int64_t MaxDim = int64_t(1) << 40;
static constexpr int64_t MaxBytes = int64_t(1) << 50;
static constexpr size_t MaxRank = 8;
static constexpr size_t MaxAxes = 8;
static constexpr size_t MaxList = 1 << 16;
static constexpr JsonLimits ManifestLimits = {64 << 20, 16};

std::string moert::shapeText(const std::vector<int64_t> &shape) {
  std::vector<std::string> dims;
  for (int64_t size : shape)
    dims.push_back(size < 0 ? "tokens" : std::to_string(size));
  return bracketed(dims);
}

int64_t TensorSpec::rowBytes() const {
  int64_t bytes = static_cast<int64_t>(dtypeSize(dtype));
  for (size_t i = hasTokens() ? 1 : 0; i < shape.size(); ++i)
    bytes *= shape[i]; // parseManifest has bounded the product
  return bytes;
}

int64_t Weight::sliceBytes() const {
  return elementCount(localShape).value_or(0) *
         static_cast<int64_t>(dtypeSize(dtype));
}

std::optional<int64_t> ArenaSize::bytes(int64_t maxTokens) const {
  int64_t share = maxTokens / shares + (maxTokens % shares != 0);
  return (Checked(constant) + Checked(perToken) * maxTokens +
          Checked(perShare) * share)
      .get();
}

int64_t Manifest::sizeOf(const std::vector<int> &axes) const {
  int64_t size = 1;
  for (int axis : axes)
    size *= mesh.shape[axis];
  return size;
}

std::vector<std::string> Manifest::functionNames() const {
  std::vector<std::string> names;
  for (const Function &function : functions)
    names.push_back(function.name);
  return names;
}

namespace {

// Holds what the checks of nested objects need: the manifest so far and the
// first problem.
class ManifestReader {
public:
  Result<Manifest> read(const Json &json);

private:
  void readHead(JsonObject &object);
  void readTarget(const Json &json);
  void readKernels(JsonObject &object);
  Kernel readKernel(const Json &json, std::string path);
  void readMesh(const Json &json);
  void readFunction(const Json &json, std::string path);
  TensorSpec readTensor(const Json &json, std::string path);
  void readRouting(JsonObject &object, Function &function);
  void checkSlots(JsonObject &object, const Function &function);
  Weight readWeight(const Json &json, std::string path, const Function &owner);
  WeightSplit readSplit(const Json &json, std::string path,
                        const Weight &weight);
  void checkLocalShape(JsonObject &object, const Weight &weight,
                       const Function &owner);
  WeightSource readSource(const Json &json, std::string path,
                          const Weight &weight);
  void checkReach(JsonObject &object, const Weight &weight,
                  const WeightSource &source);
  ArenaSize readArena(const Json &json, std::string path);
  std::vector<int> readAxes(JsonObject &object, const char *name,
                            size_t leastSize);
  CallSpec readCall(const Json &json, std::string path);
  Choice readChoice(const Json &json, std::string path);
  std::string readTile(const Json &json, std::string path);
  moert_dtype readDtype(JsonObject &object,
                        const std::vector<std::string> &allowed);
  void checkDistinct(JsonObject &object, const char *what,
                     const std::vector<std::string> &names);

  Manifest manifest;
  std::string problem;
};

} // namespace

static std::vector<int> narrow(const std::vector<int64_t> &values) {
  return {values.begin(), values.end()};
}

std::vector<int> ManifestReader::readAxes(JsonObject &object, const char *name,
                                          size_t leastSize) {
  int64_t last = static_cast<int64_t>(manifest.mesh.shape.size()) - 1;
  std::vector<int> axes =
      narrow(object.integers(name, leastSize, MaxAxes, 0, last));
  std::vector<int> sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    object.fail(name, "names an axis twice");
  return axes;
}

moert_dtype ManifestReader::readDtype(JsonObject &object,
                                      const std::vector<std::string> &allowed) {
  std::string name = object.string("dtype");
  if (std::find(allowed.begin(), allowed.end(), name) == allowed.end())
    object.fail("dtype",
                concat("is '", printable(name), "'", suggest(name, allowed)));
  return dtypeFromName(name).value_or(MOERT_F32);
}

void ManifestReader::checkDistinct(JsonObject &object, const char *what,
                                   const std::vector<std::string> &names) {
  std::set<std::string> seen;
  for (const std::string &name : names) {
    if (name.empty())
      object.fail(what, "holds an empty name");
    if (!seen.insert(name).second)
      object.fail(what, concat("names '", printable(name), "' twice"));
  }
}

void ManifestReader::readHead(JsonObject &object) {
  std::string format = object.string("format");
  if (format != ArtifactFormat)
    object.fail("format", concat("is '", printable(format), "', '",
                                 ArtifactFormat, "' is expected"));
  int64_t version = object.integer("version", 0, INT64_MAX);
  if (version != ArtifactVersion)
    object.fail("version", concat("is ", version, ", this runtime reads ",
                                  ArtifactVersion));
  int64_t abi = object.integer("abi", 0, INT64_MAX);
  if (abi != MOERT_ABI_VERSION)
    object.fail("abi",
                concat("is ", abi, ", this runtime has ", MOERT_ABI_VERSION));
  manifest.producer = object.string("producer");
}

void ManifestReader::readTarget(const Json &json) {
  JsonObject object(json, "target", problem);
  Target &target = manifest.target;
  target.kind = object.string("kind");
  if (target.kind != "cpu" && target.kind != "cuda")
    object.fail("kind", concat("is '", printable(target.kind),
                               "'; choose from: cpu, cuda"));
  target.cpu = object.string("cpu");
  if (object.has("features"))
    target.features = object.strings("features", 0, 1024);
  if (target.isCuda())
    target.arch = object.string("arch");
  object.finish();
}

static std::optional<KernelParameter> parameterOf(std::string_view name) {
  static constexpr std::pair<std::string_view, KernelParameter> known[] = {
      {"ptr", KernelParameter::Pointer},   {"i32", KernelParameter::Int32},
      {"i64", KernelParameter::Int64},     {"f32", KernelParameter::Float32},
      {"map", KernelParameter::TensorMap},
  };
  for (auto [spelling, parameter] : known)
    if (spelling == name)
      return parameter;
  return std::nullopt;
}

Kernel ManifestReader::readKernel(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  Kernel kernel;
  kernel.name = object.string("name");
  kernel.entry = object.string("entry");
  kernel.function = object.string("function");
  // What any device can launch; the device at hand may refuse less.
  kernel.threads = object.integer("threads", 1, 1024);
  kernel.cluster = object.integer("cluster", 1, 16);
  kernel.sharedBytes = object.integer("shared_bytes", 0, 1 << 20);
  kernel.ctasPerSm = object.integer("ctas_per_sm", 1, 64);
  if (object.has("early"))
    kernel.early = object.integer("early", 0, 1) == 1;
  size_t index = 0;
  for (const std::string &name : object.strings("params", 0, 64)) {
    std::optional<KernelParameter> parameter = parameterOf(name);
    if (!parameter)
      object.fail(element("params", index),
                  concat("is '", printable(name),
                         "'; choose from: ptr, i32, i64, f32, map"));
    kernel.parameters.push_back(parameter.value_or(KernelParameter::Pointer));
    ++index;
  }
  object.finish();
  return kernel;
}

void ManifestReader::readKernels(JsonObject &object) {
  const Json &kernels = object.array("kernels", 0, 4096);
  std::vector<std::string> names;
  for (size_t i = 0; i < kernels.size() && !object.failed(); ++i) {
    manifest.kernels.push_back(readKernel(kernels[i], element("kernels", i)));
    names.push_back(manifest.kernels.back().name);
  }
  if (!object.failed())
    checkDistinct(object, "kernels", names);
  const Json &sums = object.array("sums", 0, 8);
  static const std::vector<KernelParameter> expected = {
      KernelParameter::Pointer, KernelParameter::Pointer,
      KernelParameter::Int64, KernelParameter::Int64, KernelParameter::Int32};
  for (size_t i = 0; i < sums.size() && !object.failed(); ++i) {
    JsonObject sum(sums[i], element("sums", i), problem);
    SumKernel role;
    role.dtype = readDtype(sum, valueDtypeNames());
    role.kernel = static_cast<int>(sum.integer(
        "kernel", 0, static_cast<int64_t>(manifest.kernels.size()) - 1));
    sum.finish();
    if (!sum.failed() && manifest.kernels[role.kernel].parameters != expected)
      sum.fail("kernel", concat("is kernel ", role.kernel,
                                ", which does not take ptr, ptr, i64, i64, "
                                "i32"));
    manifest.sums.push_back(role);
  }
}

void ManifestReader::readMesh(const Json &json) {
  JsonObject object(json, "mesh", problem);
  manifest.mesh.name = object.string("name");
  manifest.mesh.axes = object.strings("axes", 0, MaxAxes);
  size_t count = manifest.mesh.axes.size();
  manifest.mesh.shape = object.integers("shape", count, count, 1, MaxWorld);
  checkDistinct(object, "axes", manifest.mesh.axes);
  object.finish();
  std::optional<int64_t> ranks = elementCount(manifest.mesh.shape);
  if (ranks != manifest.worldSize)
    object.fail("shape",
                concat("has ", ranks.value_or(-1), " members, world_size is ",
                       manifest.worldSize));
}

TensorSpec ManifestReader::readTensor(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  TensorSpec tensor;
  tensor.name = object.string("name");
  tensor.dtype = readDtype(object, valueDtypeNames());
  tensor.shape = object.integers("shape", 0, MaxRank, -1, MaxDim);
  tensor.split = readAxes(object, "split", 0);
  object.finish();
  for (size_t i = 1; i < tensor.shape.size(); ++i)
    if (tensor.shape[i] < 0)
      object.fail(element("shape", i), "is -1, only the first dimension may be "
                                       "the number of tokens");
  if (!tensor.hasTokens() && !tensor.split.empty())
    object.fail("split", "is not empty, but the shape has no tokens");
  std::vector<int64_t> row = tensor.shape;
  if (tensor.hasTokens())
    row[0] = 1;
  if (elementCount(row).value_or(MaxDim + 1) > MaxDim)
    object.fail("shape", concat("has more than ", MaxDim, " elements a row"));
  return tensor;
}

void ManifestReader::readRouting(JsonObject &object, Function &function) {
  if (!object.has("routing"))
    return;
  JsonObject routing(object.value("routing"), object.pathTo("routing"),
                     problem);
  int64_t last = static_cast<int64_t>(function.outputs.size()) - 1;
  RoutingOutputs outputs;
  auto read = [&](const char *name, moert_dtype dtype) {
    int index = static_cast<int>(routing.integer(name, 0, last));
    if (object.failed())
      return 0;
    const TensorSpec &output = function.outputs[index];
    if (output.dtype != dtype ||
        output.shape != std::vector<int64_t>{-1, function.topK})
      routing.fail(name,
                   concat("is output ", index, ", which is no ",
                          dtypeName(dtype), " [-1, ", function.topK, "]"));
    return index;
  };
  outputs.expertIds = read("expert_ids", MOERT_I32);
  outputs.expertWeights = read("expert_weights", MOERT_F32);
  routing.finish();
  function.routing = outputs;
}

void ManifestReader::checkSlots(JsonObject &object, const Function &function) {
  std::vector<bool> held(static_cast<size_t>(function.experts));
  for (int64_t expert : function.slots)
    if (expert >= 0)
      held[static_cast<size_t>(expert)] = true;
  for (size_t expert = 0; expert < held.size(); ++expert)
    if (!held[expert])
      return object.fail(
          "slots", concat("hold no expert ", expert, " of ", function.experts));
}

WeightSplit ManifestReader::readSplit(const Json &json, std::string path,
                                      const Weight &weight) {
  JsonObject object(json, std::move(path), problem);
  WeightSplit split;
  split.dim = static_cast<int>(
      object.integer("dim", 0, static_cast<int64_t>(weight.shape.size()) - 1));
  split.axes = readAxes(object, "axes", 0);
  std::string by = object.string("by");
  if (by != "slots" && by != "blocks")
    object.fail("by",
                concat("is '", printable(by), "'; choose from: slots, blocks"));
  split.bySlots = by == "slots";
  object.finish();
  return split;
}

// What a rank holds follows from the split; the manifest must say the same.
void ManifestReader::checkLocalShape(JsonObject &object, const Weight &weight,
                                     const Function &owner) {
  std::vector<int64_t> expected = weight.shape;
  std::set<int> dims, axes;
  for (const WeightSplit &split : weight.split) {
    if (!dims.insert(split.dim).second)
      return object.fail("split",
                         concat("cuts dimension ", split.dim, " twice"));
    for (int axis : split.axes)
      if (!axes.insert(axis).second)
        return object.fail("split", concat("uses axis ", axis, " twice"));
    int64_t members = manifest.sizeOf(split.axes);
    int64_t whole = split.bySlots ? static_cast<int64_t>(owner.slots.size())
                                  : weight.shape[split.dim];
    if (split.bySlots && weight.shape[split.dim] != owner.experts)
      return object.fail("shape", concat("has ", weight.shape[split.dim],
                                         " experts in dimension ", split.dim,
                                         ", the function has ", owner.experts));
    if (whole % members != 0)
      return object.fail("split", concat("cuts ", whole, " ",
                                         split.bySlots ? "slots" : "elements",
                                         " of dimension ", split.dim, " into ",
                                         members, " blocks"));
    expected[split.dim] = whole / members;
  }
  if (weight.localShape != expected)
    object.fail("local_shape",
                concat("is ", bracketed(weight.localShape),
                       ", the split gives ", bracketed(expected)));
}

// No element of the logical array may lie outside of its checkpoint tensor.
void ManifestReader::checkReach(JsonObject &object, const Weight &weight,
                                const WeightSource &source) {
  Checked least(source.offset), most(source.offset);
  for (size_t d = 0; d < weight.shape.size(); ++d) {
    Checked reach = Checked(source.strides[d]) * (weight.shape[d] - 1);
    (source.strides[d] < 0 ? least : most) =
        (source.strides[d] < 0 ? least : most) + reach;
  }
  int64_t size = elementCount(source.fileShape).value_or(-1);
  if (size < 0)
    return object.fail("file_shape", "has too many elements");
  if (elementCount(weight.shape) == 0)
    return;
  if (least.get().value_or(-1) < 0 || most.get().value_or(size) >= size)
    object.fail("strides", concat("reach outside of a tensor of shape ",
                                  bracketed(source.fileShape)));
}

static size_t countPlaceholders(const std::string &name) {
  size_t count = 0;
  for (size_t at = name.find("{e}"); at != std::string::npos;
       at = name.find("{e}", at + 3))
    ++count;
  return count;
}

WeightSource ManifestReader::readSource(const Json &json, std::string path,
                                        const Weight &weight) {
  JsonObject object(json, std::move(path), problem);
  WeightSource source;
  size_t rank = weight.shape.size();
  int64_t lastDim = static_cast<int64_t>(rank) - 1;
  source.names = object.strings("names", 1, MaxList);
  source.expertDim =
      static_cast<int>(object.integer("expert_dim", -1, lastDim));
  source.partDim = static_cast<int>(object.integer("part_dim", -1, lastDim));
  source.fileShape = object.integers("file_shape", 0, MaxRank, 0, MaxDim);
  source.offset = object.integer("offset", 0, MaxDim);
  source.strides = object.integers("strides", rank, rank, -MaxDim, MaxDim);
  object.finish();
  if (object.failed())
    return source;
  int64_t parts = source.partDim < 0 ? 1 : weight.shape[source.partDim];
  if (static_cast<int64_t>(source.names.size()) != parts)
    object.fail("names", concat("has ", source.names.size(),
                                " elements, part_dim gives ", parts));
  size_t placeholders = source.expertDim < 0 ? 0 : 1;
  for (const std::string &name : source.names)
    if (countPlaceholders(name) != placeholders)
      object.fail("names", concat("holds '", printable(name), "', expected ",
                                  placeholders, " {e} in it"));
  if (source.expertDim >= 0 && source.expertDim == source.partDim)
    object.fail("part_dim", "is the same as expert_dim");
  checkReach(object, weight, source);
  return source;
}

Weight ManifestReader::readWeight(const Json &json, std::string path,
                                  const Function &owner) {
  JsonObject object(json, std::move(path), problem);
  Weight weight;
  weight.name = object.string("name");
  weight.dtype = readDtype(object, dtypeNames());
  weight.shape = object.integers("shape", 0, MaxRank, 0, MaxDim);
  size_t rank = weight.shape.size();
  weight.localShape = object.integers("local_shape", rank, rank, 0, MaxDim);
  const Json &splits = object.array("split", 0, MaxRank);
  for (size_t i = 0; i < splits.size(); ++i)
    weight.split.push_back(
        readSplit(splits[i], object.pathTo(element("split", i)), weight));
  weight.firstOnly = readAxes(object, "first_only", 0);
  const Json &sources = object.array("sources", 1, 16);
  if (elementCount(weight.shape).value_or(MaxDim + 1) > MaxDim)
    object.fail("shape", concat("has more than ", MaxDim, " elements"));
  if (elementCount(weight.localShape).value_or(MaxDim + 1) > MaxDim)
    object.fail("local_shape", concat("has more than ", MaxDim, " elements"));
  for (size_t i = 0; i < sources.size() && !object.failed(); ++i)
    weight.sources.push_back(
        readSource(sources[i], object.pathTo(element("sources", i)), weight));
  object.finish();
  if (!object.failed())
    checkLocalShape(object, weight, owner);
  return weight;
}

ArenaSize ManifestReader::readArena(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  ArenaSize arena;
  arena.constant = object.integer("constant", 0, MaxBytes);
  arena.perToken = object.integer("per_token", 0, MaxBytes);
  arena.perShare = object.integer("per_share", 0, MaxBytes);
  arena.shares = object.integer("shares", 1, MaxWorld);
  object.finish();
  return arena;
}

std::vector<int> Mesh::nodeAxes() const {
  std::vector<int> leading;
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    leading.push_back(static_cast<int>(axis));
    if (axes[axis] == "node")
      return leading;
  }
  return {};
}

CallSpec ManifestReader::readCall(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  CallSpec call;
  call.collective = object.string("collective");
  call.payload = object.string("payload");
  call.axes = readAxes(object, "axes", 0);
  object.finish();
  return call;
}

static bool isDigest(const std::string &text) {
  return text.size() == 32 &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

static std::vector<std::string> namesOf(const std::vector<TensorSpec> &list) {
  std::vector<std::string> names;
  for (const TensorSpec &tensor : list)
    names.push_back(tensor.name);
  return names;
}

// Kept as text: which words there are is between the compiler and its tables.
std::string ManifestReader::readTile(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  if (object.failed())
    return {};
  for (const auto &[word, value] : json.items())
    if (!value.is_boolean())
      object.integer(word.c_str(), 0, MaxDim);
  return json.dump();
}

Choice ManifestReader::readChoice(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  Choice choice;
  choice.isLayer = object.has("few");
  choice.experts = object.integer("experts", 1, 1 << 20);
  if (choice.isLayer) {
    choice.topK = object.integer("top_k", 1, choice.experts);
    choice.hidden = object.integer("hidden", 1, MaxDim);
    choice.inner = object.integer("inner", 1, MaxDim);
    choice.isFp8 = object.has("fp8") && object.flag("fp8");
    choice.few = object.integers("few", 1, 64, 0, 1 << 20);
  } else {
    choice.k = object.integer("k", 1, MaxDim);
    choice.n = object.integer("n", 1, MaxDim);
    choice.rowsPerToken = object.integer("rows_per_token", 1, 1 << 20);
    choice.isPaired = object.flag("paired");
    choice.isFp8 = object.flag("fp8");
    const Json &tiles = object.array("tiles", 1, 4096);
    for (size_t i = 0; i < tiles.size() && !object.failed(); ++i)
      choice.tiles.push_back(
          readTile(tiles[i], object.pathTo(element("tiles", i))));
  }
  object.finish();
  return choice;
}

void ManifestReader::readFunction(const Json &json, std::string path) {
  JsonObject object(json, std::move(path), problem);
  Function function;
  function.name = object.string("name");
  function.run = object.string("run");
  function.prepare = object.string("prepare");
  if (manifest.target.isCuda()) {
    function.bind = object.string("bind");
    function.tensorMaps = object.integer("tensor_maps", 0, 4096);
  }
  function.layer = object.integer("layer", 0, 1 << 20);
  function.experts = object.integer("experts", 0, 1 << 20);
  function.topK = object.integer("top_k", 0, function.experts);
  const Json &inputs = object.array("inputs", 0, 64);
  for (size_t i = 0; i < inputs.size(); ++i)
    function.inputs.push_back(
        readTensor(inputs[i], object.pathTo(element("inputs", i))));
  const Json &outputs = object.array("outputs", 0, 64);
  for (size_t i = 0; i < outputs.size(); ++i)
    function.outputs.push_back(
        readTensor(outputs[i], object.pathTo(element("outputs", i))));
  checkDistinct(object, "inputs", namesOf(function.inputs));
  checkDistinct(object, "outputs", namesOf(function.outputs));
  // A rank has one number of tokens in a call: that of its inputs.
  const TensorSpec *first = nullptr;
  for (const TensorSpec &input : function.inputs) {
    if (!input.hasTokens())
      continue;
    if (first && input.split != first->split)
      object.fail("inputs", concat("`", input.name, "` and `", first->name,
                                   "` split their tokens differently"));
    first = &input;
  }
  if (!object.failed())
    readRouting(object, function);
  function.slots =
      object.integers("slots", 0, 1 << 20, -1, function.experts - 1);
  const Json &weights = object.array("weights", 0, 1024);
  for (size_t i = 0; i < weights.size() && !object.failed(); ++i)
    function.weights.push_back(
        readWeight(weights[i], object.pathTo(element("weights", i)), function));
  const Json &packed = object.array("packed", 0, 1024);
  for (size_t i = 0; i < packed.size(); ++i) {
    JsonObject buffer(packed[i], object.pathTo(element("packed", i)), problem);
    function.packedBytes.push_back(buffer.integer("bytes", 0, MaxBytes));
    buffer.finish();
  }
  function.arena = readArena(object.value("arena"), object.pathTo("arena"));
  function.collectives = object.string("collectives");
  if (!isDigest(function.collectives))
    object.fail("collectives", "is not made of 32 hexadecimal digits");
  if (object.has("calls")) {
    const Json &calls = object.array("calls", 0, 4096);
    function.calls.emplace();
    for (size_t i = 0; i < calls.size() && !object.failed(); ++i)
      function.calls->push_back(
          readCall(calls[i], object.pathTo(element("calls", i))));
  }
  if (object.has("steps"))
    function.steps = object.strings("steps", 0, 4096);
  if (manifest.target.isCuda() && object.has("variants")) {
    const Json &variants = object.array("variants", 1, 256);
    for (size_t i = 0; i < variants.size() && !object.failed(); ++i)
      function.variants.push_back(
          readChoice(variants[i], object.pathTo(element("variants", i))));
  }
  object.finish();
  if (!object.failed())
    checkSlots(object, function);
  manifest.functions.push_back(std::move(function));
}

Result<Manifest> ManifestReader::read(const Json &json) {
  JsonObject object(json, "", problem);
  readHead(object);
  // Another format or version may have other fields: no more of it is judged.
  if (object.failed())
    return Status::error(MOERT_ERROR_INVALID_FILE, problem);

  readTarget(object.value("target"));

  const Json &options = object.value("options");
  JsonObject optionReader(options, "options", problem);
  if (options.is_object())
    for (const auto &item : options.items())
      manifest.options.emplace_back(item.key(),
                                    optionReader.string(item.key().c_str()));

  manifest.worldSize = object.integer("world_size", 1, MaxWorld);
  readMesh(object.value("mesh"));
  const Json &groups = object.array("groups", 0, 256);
  for (size_t i = 0; i < groups.size() && !object.failed(); ++i) {
    Json wrapped = {{"groups", groups[i]}};
    JsonObject group(wrapped, "", problem);
    manifest.groups.push_back(readAxes(group, "groups", 0));
  }
  if (manifest.target.isCuda())
    readKernels(object);
  const Json &functions = object.array("functions", 1, 4096);
  for (size_t i = 0; i < functions.size() && !object.failed(); ++i)
    readFunction(functions[i], element("functions", i));
  object.finish();
  if (!object.failed())
    checkDistinct(object, "functions", manifest.functionNames());
  if (!problem.empty())
    return Status::error(MOERT_ERROR_INVALID_FILE, problem);
  return std::move(manifest);
}

Result<Manifest> moert::parseManifest(std::string_view text) {
  Result<Json> json = parseJson(text, ManifestLimits);
  if (!json.ok())
    return json.status().in(ManifestEntryName);
  Result<Manifest> manifest = ManifestReader().read(*json);
  return manifest.ok()
             ? std::move(manifest)
             : Result<Manifest>(manifest.status().in(ManifestEntryName));
}
