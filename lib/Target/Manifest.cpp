#include "KernelObjects.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "moe/Target/Artifact.h"
#include "moe/Target/CpuTarget.h"
#include "moert/abi.h"
#include "moert/artifact.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace moe;
using llvm::json::OStream;

// Two elements of four bits stand in a byte: such a weight is one of bytes with
// half as many in the last dimension.
static int64_t elementsPerByte(ShapedType type) {
  return type.getElementTypeBitWidth() == 4 ? 2 : 1;
}

static std::string spellType(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

static void writeInts(OStream &json, StringRef key, ArrayRef<int64_t> values) {
  json.attributeArray(key, [&] {
    for (int64_t value : values)
      json.value(value);
  });
}

// A type's shape with -1 for the number of tokens.
static void writeShape(OStream &json, StringRef key, ShapedType type) {
  json.attributeArray(key, [&] {
    for (int64_t size : type.getShape())
      json.value(ShapedType::isDynamic(size) ? -1 : size);
  });
}

static void writeValues(OStream &json, StringRef key, ArrayAttr entries) {
  json.attributeArray(key, [&] {
    for (auto value : entries.getAsRange<moe::moert::ValueAttr>())
      json.object([&] {
        auto type = cast<ShapedType>(value.getType().getValue());
        json.attribute("name", value.getName().getValue());
        json.attribute("dtype", spellType(type.getElementType()));
        writeShape(json, "shape", type);
        writeInts(json, "split", value.getSplit());
      });
  });
}

// The map to indices of the file's tensor as one linear form over its elements.
static void writeSource(OStream &json, CheckpointAttr source, int64_t perByte) {
  AffineMap map = source.getMap().getValue();
  ArrayRef<int64_t> fileShape = source.getFileShape().asArrayRef();
  MLIRContext *context = source.getContext();
  auto elementAt = [&](std::optional<unsigned> unit) {
    SmallVector<Attribute> index(map.getNumDims(),
                                 IntegerAttr::get(IndexType::get(context), 0));
    if (unit)
      index[*unit] = IntegerAttr::get(IndexType::get(context), 1);
    SmallVector<Attribute> results;
    (void)map.constantFold(index, results);
    int64_t element = 0;
    for (auto [size, result] : llvm::zip(fileShape, results))
      element = element * size + cast<IntegerAttr>(result).getInt();
    return element;
  };
  int64_t offset = elementAt(std::nullopt);
  json.object([&] {
    json.attributeArray("names", [&] {
      for (auto name : source.getNames().getAsRange<StringAttr>())
        json.value(name.getValue());
    });
    json.attribute("expert_dim", source.getExpertDim());
    json.attribute("part_dim", source.getPartDim());
    // Checkpoints in mxfp4 have a dimension for the bytes of a block.
    SmallVector<int64_t> stored(fileShape);
    if (perByte > 1) {
      stored.back() /= mxfp4BlockSize;
      stored.push_back(mxfp4BlockSize / perByte);
    }
    writeInts(json, "file_shape", stored);
    json.attribute("offset", offset / perByte);
    json.attributeArray("strides", [&] {
      for (unsigned dim = 0; dim < map.getNumDims(); ++dim) {
        int64_t stride = elementAt(dim) - offset;
        json.value(dim + 1 == map.getNumDims() ? stride : stride / perByte);
      }
    });
  });
}

static void writeWeight(OStream &json, moe::moert::WeightAttr weight) {
  auto type = cast<ShapedType>(weight.getType().getValue());
  SliceAttr slice = weight.getSlice();
  int64_t perByte = elementsPerByte(type);
  auto inBytes = [&](ArrayRef<int64_t> shape) {
    SmallVector<int64_t> bytes(shape);
    bytes.back() /= perByte;
    return bytes;
  };
  json.object([&] {
    json.attribute("name", weight.getName().getValue());
    json.attribute("dtype",
                   perByte > 1 ? "i8" : spellType(type.getElementType()));
    writeInts(json, "shape",
              inBytes(slice ? slice.getShape().asArrayRef() : type.getShape()));
    writeInts(json, "local_shape", inBytes(type.getShape()));
    json.attributeArray("split", [&] {
      if (!slice)
        return;
      for (auto split : slice.getSplits().getAsRange<SplitAttr>())
        json.object([&] {
          json.attribute("dim", split.getDim());
          writeInts(json, "axes", split.getAxes());
          json.attribute("by", stringifySplitKind(split.getBy()));
        });
    });
    writeInts(json, "first_only",
              slice && slice.getFirstOnly() ? slice.getFirstOnly().asArrayRef()
                                            : ArrayRef<int64_t>());
    json.attributeArray("sources", [&] {
      for (auto source : weight.getSources().getAsRange<CheckpointAttr>())
        writeSource(json, source, perByte);
    });
  });
}

// Which outputs carry the routing of the rank's own tokens.
static void writeRouting(OStream &json, ArrayAttr outputs) {
  std::optional<int64_t> ids, weights;
  for (auto [index, entry] :
       llvm::enumerate(outputs.getAsRange<moe::moert::ValueAttr>())) {
    if (entry.getName() == "expert_ids")
      ids = index;
    if (entry.getName() == "expert_weights")
      weights = index;
  }
  if (!ids || !weights)
    return;
  json.attributeObject("routing", [&] {
    json.attribute("expert_ids", *ids);
    json.attribute("expert_weights", *weights);
  });
}

// The collectives in order of execution, where the program has one order.
static void writeCalls(OStream &json, ArrayAttr calls) {
  if (!calls)
    return;
  json.attributeArray("calls", [&] {
    for (auto call : calls.getAsRange<DictionaryAttr>())
      json.object([&] {
        json.attribute("collective",
                       call.getAs<StringAttr>("collective").getValue());
        json.attribute("payload", call.getAs<StringAttr>("payload").getValue());
        writeInts(json, "axes", call.getAs<DenseI64ArrayAttr>("axes"));
      });
  });
}

static void writeSteps(OStream &json, ArrayAttr steps) {
  if (!steps)
    return;
  json.attributeArray("steps", [&] {
    for (auto step : steps.getAsRange<StringAttr>())
      json.value(step.getValue());
  });
}

// The dictionaries of `moert.variants` as objects.
static void writeVariant(OStream &json, Attribute value) {
  if (auto flag = dyn_cast<BoolAttr>(value))
    return json.value(flag.getValue());
  if (auto number = dyn_cast<IntegerAttr>(value))
    return json.value(number.getInt());
  if (auto list = dyn_cast<ArrayAttr>(value))
    return json.array([&] {
      for (Attribute element : list)
        writeVariant(json, element);
    });
  json.object([&] {
    for (NamedAttribute field : cast<DictionaryAttr>(value)) {
      json.attributeBegin(field.getName().getValue());
      writeVariant(json, field.getValue());
      json.attributeEnd();
    }
  });
}

static void writeFunction(OStream &json, moe::moert::InterfaceOp interface) {
  json.object([&] {
    StringRef name = interface.getFunction();
    json.attribute("name", name);
    json.attribute("run", name);
    json.attribute("prepare", (name + "_prepare").str());
    if (auto maps =
            interface->getAttrOfType<IntegerAttr>(moe::moert::tensorMapsName)) {
      json.attribute("bind", (name + "_bind").str());
      json.attribute("tensor_maps", maps.getInt());
    }
    json.attribute("layer", static_cast<int64_t>(interface.getLayer()));
    json.attribute("experts", static_cast<int64_t>(interface.getExperts()));
    json.attribute("top_k", static_cast<int64_t>(interface.getTopK()));
    writeValues(json, "inputs", interface.getInputs());
    writeValues(json, "outputs", interface.getOutputs());
    writeRouting(json, interface.getOutputs());
    json.attributeArray("slots", [&] {
      for (int32_t expert : interface.getSlots())
        json.value(expert);
    });
    json.attributeArray("weights", [&] {
      for (auto weight :
           interface.getWeights().getAsRange<moe::moert::WeightAttr>())
        writeWeight(json, weight);
    });
    json.attributeArray("packed", [&] {
      for (int64_t bytes : interface.getPacked())
        json.object([&] { json.attribute("bytes", bytes); });
    });
    json.attributeObject("arena", [&] {
      moe::moert::ArenaAttr arena = interface.getArena();
      json.attribute("constant", arena.getConstant());
      json.attribute("per_token", arena.getPerToken());
      json.attribute("per_share", arena.getPerShare());
      json.attribute("shares", arena.getShares());
    });
    json.attribute(
        "collectives",
        interface->getAttrOfType<StringAttr>("moert.collectives").getValue());
    writeCalls(json, interface->getAttrOfType<ArrayAttr>("moert.calls"));
    writeSteps(json,
               interface->getAttrOfType<ArrayAttr>(moe::moert::stepsName));
    if (Attribute variants = interface->getAttr(moe::moert::variantsName)) {
      json.attributeBegin("variants");
      writeVariant(json, variants);
      json.attributeEnd();
    }
  });
}

static void writeKernels(OStream &json, ModuleOp module) {
  auto kernels = module->getAttrOfType<ArrayAttr>(moe::moert::kernelsName);
  auto sums = module->getAttrOfType<DictionaryAttr>(moe::moert::sumsName);
  json.attributeArray("kernels", [&] {
    for (auto kernel : kernels.getAsRange<moe::moert::KernelAttr>())
      json.object([&] {
        StringRef name = kernel.getName().getValue();
        json.attribute("name", kernel.getEarly() ? name.str()
                                                 : name.str() + "_in_turn");
        json.attribute("entry",
                       kernelEntryName(kernel, lookupObject(module, kernel)));
        json.attribute("function", name);
        json.attribute("threads", kernel.getThreads());
        json.attribute("cluster", kernel.getCluster());
        json.attribute("shared_bytes", kernel.getSharedBytes());
        json.attribute("ctas_per_sm", kernel.getCtasPerSm());
        json.attribute("early", static_cast<int64_t>(kernel.getEarly()));
        json.attributeArray("params", [&] {
          for (auto param : kernel.getParams().getAsRange<StringAttr>())
            json.value(param.getValue());
        });
      });
  });
  json.attributeArray("sums", [&] {
    for (NamedAttribute sum : sums)
      json.object([&] {
        json.attribute("dtype", sum.getName().getValue());
        json.attribute("kernel", cast<IntegerAttr>(sum.getValue()).getInt());
      });
  });
}

// What a manifest of a device's program needs of its module.
static LogicalResult checkKernels(ModuleOp module) {
  auto kernels = module->getAttrOfType<ArrayAttr>(moe::moert::kernelsName);
  if (!kernels || !module->hasAttr(moe::moert::sumsName))
    return emitError(
        module.getLoc(),
        "the module does not list its kernels in `moert.kernels` and "
        "`moert.sums`");
  for (auto kernel : kernels.getAsRange<moe::moert::KernelAttr>())
    if (!lookupObject(module, kernel))
      return emitError(module.getLoc())
             << "the module has no compiled code for the kernel "
             << kernel.getName();
  for (auto interface : module.getOps<moe::moert::InterfaceOp>())
    if (!interface->hasAttr(moe::moert::tensorMapsName))
      return interface.emitOpError("has no `moert.tensor_maps`, the number of "
                                   "its tensor maps");
  return success();
}

static void writeMesh(OStream &json, shard::GridOp grid) {
  int64_t world = 1;
  for (int64_t size : grid.getShape())
    world *= size;
  json.attribute("world_size", world);
  json.attributeObject("mesh", [&] {
    json.attribute("name", grid.getSymName());
    json.attributeArray("axes", [&] {
      for (int64_t axis = 0; axis < grid.getRank(); ++axis)
        json.value(coll::axisName(grid, axis));
    });
    writeInts(json, "shape", grid.getShape());
  });
}

FailureOr<std::string> moe::writeManifest(ModuleOp module) {
  auto interfaces = llvm::to_vector(module.getOps<moe::moert::InterfaceOp>());
  if (interfaces.empty())
    return emitError(
        module.getLoc(),
        "the module holds no `moert.interface`: there is no function to call");
  auto grid = SymbolTable::lookupNearestSymbolFrom<shard::GridOp>(
      interfaces.front(), interfaces.front().getGridAttr());
  auto options = module->getAttrOfType<DictionaryAttr>("moe.options");
  auto spelling = options ? options.getAs<StringAttr>("cpu") : StringAttr();
  FailureOr<CpuTarget> target = failure();
  if (spelling)
    target = parseCpuTarget(spelling.getValue());
  if (failed(target))
    return emitError(
        module.getLoc(),
        "the module does not say in `moe.options` which processor it "
        "was lowered for");
  for (moe::moert::InterfaceOp interface : interfaces)
    if (!interface->getAttrOfType<StringAttr>("moert.collectives"))
      return interface.emitOpError(
          "has no `moert.collectives`, the digest of its collectives");

  auto targetName = options.getAs<StringAttr>("target");
  bool cuda = targetName && targetName == "cuda";
  if (cuda && failed(checkKernels(module)))
    return failure();

  std::string text;
  llvm::raw_string_ostream stream(text);
  OStream json(stream, /*IndentSize=*/1);
  json.object([&] {
    json.attribute("format", StringRef(::moert::ArtifactFormat));
    json.attribute("version", ::moert::ArtifactVersion);
    json.attribute("abi", MOERT_ABI_VERSION);
    json.attribute("producer", "moe-mlir " MOE_VERSION);
    json.attributeObject("target", [&] {
      json.attribute("kind", cuda ? "cuda" : "cpu");
      json.attribute("cpu", target->cpu);
      if (cuda)
        json.attribute("arch", "sm_90a");
      if (!target->features.empty())
        json.attributeArray("features", [&] {
          for (const std::string &feature : target->features)
            json.value(feature);
        });
    });
    json.attributeObject("options", [&] {
      for (NamedAttribute option : options)
        if (auto value = dyn_cast<StringAttr>(option.getValue()))
          json.attribute(option.getName().getValue(), value.getValue());
    });
    writeMesh(json, grid);
    json.attributeArray("groups", [&] {
      if (auto groups = module->getAttrOfType<ArrayAttr>("moert.groups"))
        for (auto axes : groups.getAsRange<DenseI64ArrayAttr>())
          json.array([&] {
            for (int64_t axis : axes.asArrayRef())
              json.value(axis);
          });
    });
    if (cuda)
      writeKernels(json, module);
    json.attributeArray("functions", [&] {
      for (moe::moert::InterfaceOp interface : interfaces)
        writeFunction(json, interface);
    });
  });
  stream << "\n";
  return text;
}
