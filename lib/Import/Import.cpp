#include "moe/Import/Import.h"
#include "EmitLayer.h"
#include "Family.h"
#include "Resolve.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "moe/Json/StrictJson.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace moe::import;

namespace moe {

constexpr uint64_t kMaxConfig = 16 << 20;

std::vector<std::string> knownModelTypes() {
  std::vector<std::string> names;
  for (const Family &family : families())
    names.push_back(family.modelType.str());
  return names;
}

// The family that `model_type` names, or a list of those that there are.
static Expected<const Family *> findFamily(const json::Object &fields,
                                           StringRef file) {
  const json::Value *value = fields.get("model_type");
  std::string known = join(knownModelTypes(), ", ");
  if (!value)
    return fileError(file, "field `model_type` is missing, but one of " +
                               known + " is expected");
  std::optional<StringRef> name = value->getAsString();
  const Family *nearest = nullptr;
  unsigned distance = 4;
  for (const Family &family : families()) {
    if (!name || *name == family.modelType)
      return name ? Expected<const Family *>(&family)
                  : fileError(file, "field `model_type` is " + spell(*value) +
                                        ", but one of " + known +
                                        " is expected");
    unsigned own = name->edit_distance(family.modelType, true, distance);
    if (own < distance) {
      distance = own;
      nearest = &family;
    }
  }
  return fileError(
      file, "field `model_type` is " + spell(*value) + ", but one of " + known +
                " is expected" +
                (nearest ? "; did you mean " + nearest->modelType : Twine()));
}

// What the router attribute and op verify, with the names of the fields.
static void checkRouter(const Config &config, const Layer &layer) {
  const Router &router = layer.router;
  int64_t experts = layer.experts;
  if (router.topK > experts)
    config.mistake("chooses " + Twine(router.topK) +
                   " experts per token, but has only " + Twine(experts));
  if (router.nGroup == 1 && router.topkGroup == 1)
    return;
  if (experts % router.nGroup != 0) {
    config.mistake("field `n_group` is " + Twine(router.nGroup) +
                   ", but a divisor of the number of experts, " +
                   Twine(experts) + ", is expected");
    return;
  }
  if (router.topkGroup > router.nGroup) {
    config.mistake("field `topk_group` is " + Twine(router.topkGroup) +
                   ", but at most `n_group` = " + Twine(router.nGroup) +
                   " is expected");
    return;
  }
  int64_t inGroup = experts / router.nGroup;
  if (router.topK > inGroup * router.topkGroup)
    config.mistake("chooses " + Twine(router.topK) +
                   " experts per token, but the groups that are kept hold "
                   "only " +
                   Twine(inGroup * router.topkGroup));
  if (router.groupScore == GroupScore::Top2Sum && inGroup < 2)
    config.mistake("field `n_group` is " + Twine(router.nGroup) +
                   ", but groups of at least 2 of the " + Twine(experts) +
                   " experts are expected");
}

// The type of the program, and a note where it is not the model's.
static std::optional<ProgramType> readType(const Config &config,
                                           const json::Object &fields,
                                           const ImportOptions &options,
                                           std::vector<std::string> &notes) {
  // Multimodal configs may name the type in the part for text alone.
  bool isNested = !config.has("dtype") && !config.has("torch_dtype") &&
                  fields.getObject("text_config");
  Config source = isNested ? config.nested("text_config") : config;
  StringRef names[] = {"dtype", "torch_dtype"};
  // transformers' own default
  std::string model = source.word(
      names, {"float32", "bfloat16", "float16", "float64"}, "float32");
  ProgramType type = model == "bfloat16" ? ProgramType::BF16 : ProgramType::F32;
  type = options.type.value_or(type);
  StringRef spelled = type == ProgramType::BF16 ? "bfloat16" : "float32";
  if (model != spelled)
    notes.push_back(formatv("the checkpoint is in {0}; the program computes in "
                            "{1}, and weights are converted when loaded",
                            model, spelled));
  return type;
}

// Keeps the layer that was asked for.
static Error chooseLayer(Model &model, const Family &family, int64_t wanted,
                         StringRef file) {
  std::string moeLayers;
  for (size_t i = 0; i < model.moeLayers.size();) {
    size_t last = i;
    while (last + 1 < model.moeLayers.size() &&
           model.moeLayers[last + 1].index == model.moeLayers[last].index + 1)
      ++last;
    moeLayers += (moeLayers.empty() ? "" : ", ") +
                 std::to_string(model.moeLayers[i].index);
    if (last > i)
      moeLayers += " to " + std::to_string(model.moeLayers[last].index);
    i = last + 1;
  }
  for (Layer &layer : model.moeLayers)
    if (layer.index == wanted) {
      Layer kept = std::move(layer);
      model.moeLayers.clear();
      model.moeLayers.push_back(std::move(kept));
      return Error::success();
    }
  bool isThere = wanted >= 0 && wanted < model.layers;
  return fileError(file, "layer " + Twine(wanted) +
                             (isThere ? " is dense" : " is not in the model") +
                             ", but one of the MoE layers " + moeLayers +
                             " is expected");
}

static Expected<Model> readModel(const json::Object &fields, StringRef file,
                                 const Family &family,
                                 mlir::MLIRContext *context,
                                 const ImportOptions &options,
                                 ImportedModel &result, ProgramType &type) {
  Config config(fields, file.str());
  if (std::optional<ProgramType> known =
          readType(config, fields, options, result.notes))
    type = *known;
  FamilyInput input{config, context, readQuantization(config, family)};
  Model model = family.read(input);
  // The layers of a model share one router.
  if (!model.moeLayers.empty())
    checkRouter(config, model.moeLayers.front());
  if (Error error = config.takeError())
    return std::move(error);
  if (model.moeLayers.empty())
    return fileError(file, "describes " + Twine(model.layers) +
                               " layers, but none of them is MoE");
  return model;
}

Expected<ImportedModel> importCheckpoint(mlir::MLIRContext *context,
                                         StringRef folder,
                                         const ImportOptions &options) {
  context->loadDialect<MoeDialect, mlir::func::FuncDialect,
                       mlir::arith::ArithDialect>();
  if (!sys::fs::exists(folder))
    return fileError(folder, "does not exist, but a folder with config.json is "
                             "expected");
  if (!sys::fs::is_directory(folder))
    return fileError(folder, "is a file, but a folder with config.json is "
                             "expected");
  SmallString<128> path(folder);
  sys::path::append(path, "config.json");
  std::string file = path.str().str();
  Expected<json::Object> fields = readObject(file, kMaxConfig);
  if (!fields)
    return fields.takeError();
  Expected<const Family *> family = findFamily(*fields, file);
  if (!family)
    return family.takeError();
  ImportedModel result;
  ProgramType type = ProgramType::F32;
  Expected<Model> model =
      readModel(*fields, file, **family, context, options, result, type);
  if (!model)
    return model.takeError();
  if (options.layer)
    if (Error error = chooseLayer(*model, **family, *options.layer, file))
      return std::move(error);
  Expected<Tensors> tensors = Tensors::open(folder);
  if (!tensors)
    return tensors.takeError();

  mlir::OpBuilder builder(context);
  result.module = mlir::ModuleOp::create(builder, builder.getUnknownLoc());
  mlir::ModuleOp module = *result.module;
  module->setAttr("moe.phase", builder.getStringAttr("input"));
  bool isBf16 = type == ProgramType::BF16;
  module->setAttr(
      "moe.options",
      builder.getDictionaryAttr(
          {builder.getNamedAttr("dtype",
                                builder.getStringAttr(isBf16 ? "bf16" : "f32")),
           builder.getNamedAttr("model_type",
                                builder.getStringAttr((*family)->modelType))}));
  builder.setInsertionPointToEnd(module.getBody());
  auto program = isBf16 ? cast<mlir::FloatType>(builder.getBF16Type())
                        : cast<mlir::FloatType>(builder.getF32Type());
  for (Layer &layer : model->moeLayers) {
    if (!tensors->empty())
      if (Error error = resolveLayer(layer, *tensors, options.router))
        return std::move(error);
    emitLayer(builder, layer, program, options.router);
  }
  if (mlir::failed(mlir::verify(module)))
    return fileError(file, "describes layers that do not verify");
  return result;
}

} // namespace moe
