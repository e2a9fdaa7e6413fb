// Prints what an artifact says about itself.
#include "run.h"

#include <cstdio>

using namespace moert;

template <typename... Args> static void line(const Args &...args) {
  std::printf("%s\n", concat(args...).c_str());
}

static std::string axesText(const Manifest &manifest,
                            const std::vector<int> &axes) {
  std::vector<std::string> names;
  for (int axis : axes)
    names.push_back(manifest.mesh.axes[axis]);
  return bracketed(names);
}

static void printTensors(const Manifest &manifest, const char *what,
                         const std::vector<TensorSpec> &tensors) {
  for (const TensorSpec &tensor : tensors)
    line("  ", what, " `", tensor.name, "`: ", dtypeName(tensor.dtype), " ",
         shapeText(tensor.shape),
         tensor.split.empty()
             ? std::string(", whole on each rank")
             : ", split over " + axesText(manifest, tensor.split));
}

static void printWeight(const Manifest &manifest, const Weight &weight) {
  line("  weight `", weight.name, "`: ", dtypeName(weight.dtype), " ",
       bracketed(weight.shape), ", a rank holds ",
       bracketed(weight.localShape));
  for (const WeightSplit &split : weight.split)
    line("    dimension ", split.dim, " split by ",
         split.bySlots ? "slots" : "blocks", " over ",
         axesText(manifest, split.axes));
  if (!weight.firstOnly.empty())
    line("    zeros but on the first ranks of ",
         axesText(manifest, weight.firstOnly));
  const char *from = "from ";
  for (const WeightSource &source : weight.sources) {
    line("    ", from, join(source.names), " of shape ",
         bracketed(source.fileShape));
    from = "or ";
  }
}

static void printFunction(const Manifest &manifest, const Function &function) {
  line("function `", function.name, "`: layer ", function.layer, ", ",
       function.experts, " experts, ", function.topK, " a token");
  printTensors(manifest, "input", function.inputs);
  printTensors(manifest, "output", function.outputs);
  for (const Weight &weight : function.weights)
    printWeight(manifest, weight);
  line("  slots: ", join(function.slots));
  int64_t packed = 0;
  for (int64_t bytes : function.packedBytes)
    packed += bytes;
  line("  packed weights: ", packed, " bytes a rank");
  const ArenaSize &arena = function.arena;
  line("  arena: ", arena.constant, " + ", arena.perToken, " x tokens + ",
       arena.perShare, " x ceil(tokens / ", arena.shares, ") bytes a rank");
  line("  collectives: ", function.collectives);
  for (const Choice &choice : function.variants)
    if (choice.isLayer)
      line("  variants of the layer: one kernel for up to ", join(choice.few),
           " tokens");
    else
      line("  variants of ", choice.isPaired ? "gate and up" : "the product",
           ", k ", choice.k, ", n ", choice.n, choice.isFp8 ? ", fp8" : "",
           ": ", choice.tiles.size(), " tiles");
}

int moert::inspectArtifact(const std::string &path) {
  Result<std::shared_ptr<Artifact>> opened = Artifact::open(path);
  if (!opened.ok())
    return reportError(opened.status());
  const Artifact &artifact = **opened;
  const Manifest &manifest = artifact.manifest();
  line("artifact version ", ArtifactVersion, " by ",
       printable(manifest.producer));
  line("target: ", manifest.target.kind, " ", printable(manifest.target.cpu));
  if (!manifest.target.features.empty())
    line("  features: ", join(manifest.target.features));
  for (const auto &[name, value] : manifest.options)
    line("option ", printable(name), ": ", printable(value));
  line("ranks: ", manifest.worldSize, " as mesh `", manifest.mesh.name, "` ",
       bracketed(manifest.mesh.axes), " = ", bracketed(manifest.mesh.shape));
  for (const Function &function : manifest.functions)
    printFunction(manifest, function);
  for (const ArtifactEntry &entry : artifact.entries())
    line("entry ", entry.name, ": ", entry.data.size(), " bytes");
  return ExitOk;
}
