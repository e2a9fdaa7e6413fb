// Reading and checking machine files. A file is read strictly: an unknown key,
// a missing number or one without a source is refused by its path.
#include "moe/Analysis/Machine.h"
#include "moe/Analysis/KeyWords.h"
#include "moe/Json/StrictJson.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

using namespace mlir;
using namespace moe;
namespace json = llvm::json;

static constexpr std::pair<GemmType, llvm::StringLiteral> kGemmTypes[] = {
    {GemmType::F32, "f32"},
    {GemmType::BF16, "bf16"},
    {GemmType::FP8, "fp8"},
    {GemmType::FP4, "fp4"}};

static constexpr llvm::StringLiteral kKinds[kCollectiveKinds] = {
    "all_reduce", "all_gather", "reduce_scatter",
    "all_to_all", "dispatch",   "point_to_point"};

std::optional<GemmType> moe::parseGemmType(StringRef name) {
  for (auto [type, spelling] : kGemmTypes)
    if (name == spelling)
      return type;
  return std::nullopt;
}

StringRef moe::spellGemmType(GemmType type) {
  for (auto [other, spelling] : kGemmTypes)
    if (type == other)
      return spelling;
  llvm_unreachable("unknown type of products");
}

double moe::gemmBytes(GemmType type) {
  switch (type) {
  case GemmType::F32:
    return 4;
  case GemmType::BF16:
    return 2;
  case GemmType::FP8:
    return 1;
  case GemmType::FP4:
    return 0.5 + 1.0 / 32; // a scale for each 32
  }
  llvm_unreachable("unknown type of products");
}

const MatmulRate &Machine::rate(GemmType type) const {
  // A narrow format without its own rate is widened before it is multiplied.
  while (!matmul.count(type) && type != GemmType::F32)
    type = static_cast<GemmType>(static_cast<int>(type) - 1);
  auto found = matmul.find(type);
  return found == matmul.end() ? matmul.begin()->second : found->second;
}

namespace {

// One reading of a file; the first mistake ends it.
class MachineReader {
public:
  MachineReader(StringRef origin, std::string &error)
      : origin(origin), error(error) {}
  FailureOr<Machine> read(const json::Object &root);

private:
  bool fail(const Twine &message) {
    if (error.empty())
      error = ("machine '" + origin + "': " + message).str();
    return false;
  }
  const json::Object *section(const json::Object &parent, StringRef path,
                              ArrayRef<StringRef> keys, bool required = true);
  bool number(const json::Object &object, StringRef path, StringRef key,
              double low, double high, double scale, double &value,
              bool required = true);
  bool whole(const json::Object &object, StringRef path, StringRef key,
             int64_t &value);
  bool device(const json::Object &root, Machine &machine);
  bool kernels(const json::Object &root, Machine &machine);
  bool links(const json::Object &root, Machine &machine);
  bool link(const json::Object &parent, StringRef name, Link &link);
  bool sources(const json::Object &root);

  StringRef origin;
  std::string &error;
};

} // namespace

static StringRef lastKey(StringRef path) {
  return path.contains('.') ? path.rsplit('.').second : path;
}

const json::Object *MachineReader::section(const json::Object &parent,
                                           StringRef path,
                                           ArrayRef<StringRef> keys,
                                           bool required) {
  const json::Value *value = path.empty() ? nullptr : parent.get(lastKey(path));
  const json::Object *object = path.empty() ? &parent
                               : value      ? value->getAsObject()
                                            : nullptr;
  if (!object) {
    if (value || required)
      fail("`" + path + "` is " + (value ? "no object" : "missing") +
           ", but an object with " + llvm::join(keys, ", ") + " is expected");
    return nullptr;
  }
  SmallVector<StringRef> found;
  for (const auto &entry : *object)
    found.push_back(entry.first);
  llvm::sort(found);
  for (StringRef key : found)
    if (!llvm::is_contained(keys, key)) {
      fail("`" + (path.empty() ? "" : path + ".") + key +
           "` is no key of the schema, but one of " + llvm::join(keys, ", ") +
           " is expected" + theNearest(key, keys));
      return nullptr;
    }
  return object;
}

bool MachineReader::number(const json::Object &object, StringRef path,
                           StringRef key, double low, double high, double scale,
                           double &value, bool required) {
  const json::Value *entry = object.get(key);
  if (!entry || entry->getAsNull())
    return required ? fail("`" + path + "." + key +
                           "` is missing, but a number from " + spell(low) +
                           " to " + spell(high) + " is expected")
                    : true;
  std::optional<double> found = entry->getAsNumber();
  if (!found || !std::isfinite(*found) || *found < low || *found > high)
    return fail("`" + path + "." + key + "` is " + spell(*entry) +
                ", but a number from " + spell(low) + " to " + spell(high) +
                " is expected");
  value = *found * scale;
  return true;
}

bool MachineReader::whole(const json::Object &object, StringRef path,
                          StringRef key, int64_t &value) {
  double found = 0;
  if (!number(object, path, key, 1, 1e6, 1, found))
    return false;
  value = static_cast<int64_t>(found);
  return value == found ? true
                        : fail("`" + path + "." + key + "` is " + spell(found) +
                               ", but a whole number is expected");
}

bool MachineReader::device(const json::Object &root, Machine &machine) {
  const json::Object *device = section(
      root, "device",
      {"name", "memory_GB", "memory_TBps", "multiprocessors", "peak_TFLOPs"});
  if (!device ||
      !number(*device, "device", "memory_GB", 0.01, 1e5, 1e9,
              machine.memoryBytes) ||
      !number(*device, "device", "memory_TBps", 1e-4, 1e3, 1e12,
              machine.memoryBandwidth) ||
      !number(*device, "device", "multiprocessors", 1, 1e5, 1,
              machine.multiprocessors))
    return false;
  machine.device = device->getString("name").value_or("").str();
  if (machine.device.empty())
    return fail("`device.name` is missing, but a text is expected");
  const json::Object *peak =
      section(*device, "device.peak_TFLOPs", {"f32", "bf16", "fp8", "fp4"});
  if (!peak)
    return false;
  for (auto [type, name] : kGemmTypes) {
    double rate = 0;
    if (!number(*peak, "device.peak_TFLOPs", name, 1e-4, 1e6, 1e12, rate,
                /*required=*/false))
      return false;
    if (rate > 0)
      machine.matmul[type].peak = rate;
  }
  return machine.matmul.empty()
             ? fail("`device.peak_TFLOPs` has no rate, but at least one of "
                    "f32, bf16, fp8, fp4 is expected")
             : true;
}

bool MachineReader::kernels(const json::Object &root, Machine &machine) {
  const json::Object *kernels = section(
      root, "kernels",
      {"launch_us", "memory_efficiency", "read_per_multiprocessor",
       "overlap_exponent", "domain_exposed", "network_exposed", "matmul"});
  if (!kernels ||
      !number(*kernels, "kernels", "launch_us", 0, 1e6, 1, machine.launchUs) ||
      !number(*kernels, "kernels", "memory_efficiency", 0.01, 1, 1,
              machine.memoryEfficiency) ||
      !number(*kernels, "kernels", "read_per_multiprocessor", 1, 1000, 1,
              machine.readPerMultiprocessor) ||
      !number(*kernels, "kernels", "overlap_exponent", 1, 100, 1,
              machine.overlapExponent) ||
      !number(*kernels, "kernels", "domain_exposed", 0, 1, 1,
              machine.domainExposed) ||
      !number(*kernels, "kernels", "network_exposed", 0, 1, 1,
              machine.networkExposed))
    return false;
  const json::Object *matmul =
      section(*kernels, "kernels.matmul", {"f32", "bf16", "fp8", "fp4"});
  if (!matmul)
    return false;
  for (auto &[type, rate] : machine.matmul) {
    std::string path = ("kernels.matmul." + spellGemmType(type)).str();
    const json::Object *one = section(
        *matmul, path, {"efficiency", "depth_half", "group_us", "row_bytes"});
    if (!one ||
        !number(*one, path, "efficiency", 0.001, 1, 1, rate.efficiency) ||
        !number(*one, path, "depth_half", 0, 1e6, 1, rate.depthHalf) ||
        !number(*one, path, "group_us", 0, 1e6, 1, rate.groupUs) ||
        !number(*one, path, "row_bytes", 0, 1e4, 1, rate.rowBytes))
      return false;
  }
  return true;
}

bool MachineReader::link(const json::Object &parent, StringRef name,
                         Link &link) {
  std::string path = ("collectives." + name).str();
  SmallVector<StringRef> kinds(std::begin(kKinds), std::end(kKinds));
  const json::Object *costs = section(parent, path, kinds);
  if (!costs)
    return false;
  for (int kind = 0; kind < kCollectiveKinds; ++kind) {
    std::string one = path + "." + kKinds[kind].str();
    const json::Object *cost =
        section(*costs, one, {"latency_us", "per_peer_us", "efficiency"});
    LinkCost &target = link.costs[kind];
    if (!cost ||
        !number(*cost, one, "latency_us", 0, 1e7, 1, target.latencyUs) ||
        !number(*cost, one, "per_peer_us", 0, 1e7, 1, target.perPeerUs,
                /*required=*/false) ||
        !number(*cost, one, "efficiency", 0.001, 4, 1, target.efficiency))
      return false;
  }
  return true;
}

bool MachineReader::links(const json::Object &root, Machine &machine) {
  const json::Object *domain = section(root, "domain", {"devices", "GBps"}),
                     *nodes = section(root, "nodes", {"devices", "count"});
  if (!domain || !nodes ||
      !whole(*domain, "domain", "devices", machine.domainDevices) ||
      !whole(*nodes, "nodes", "devices", machine.nodeDevices) ||
      !whole(*nodes, "nodes", "count", machine.nodes) ||
      !number(*domain, "domain", "GBps", 1e-3, 1e6, 1e9,
              machine.domain.bandwidth))
    return false;
  const json::Object *network =
      section(root, "network", {"GBps", "fabric"}, /*required=*/false);
  if (!error.empty())
    return false;
  if (network) {
    if (!number(*network, "network", "GBps", 1e-3, 1e6, 1e9,
                machine.network.bandwidth))
      return false;
    machine.fabric = network->getString("fabric").value_or("").str();
  }
  const json::Object *collectives =
      section(root, "collectives", {"domain", "network"});
  if (!collectives || !link(*collectives, "domain", machine.domain))
    return false;
  if (network && !link(*collectives, "network", machine.network))
    return false;
  if (machine.devices() > machine.domainDevices && !network)
    return fail("has " + Twine(machine.devices()) + " devices, of which " +
                Twine(machine.domainDevices) +
                " share a link domain, but no `network` between domains");
  return true;
}

// Every section says where its numbers come from, and when.
bool MachineReader::sources(const json::Object &root) {
  const json::Object *sources = section(
      root, "sources",
      {"device", "domain", "nodes", "network", "kernels", "collectives"});
  if (!sources)
    return false;
  for (StringRef key :
       {"device", "domain", "nodes", "network", "kernels", "collectives"}) {
    if (!root.get(key))
      continue;
    std::string path = ("sources." + key).str();
    const json::Object *one = section(*sources, path, {"source", "date"});
    if (!one)
      return false;
    if (!one->getString("source") || !one->getString("date"))
      return fail("`" + path +
                  "` has no `source` or no `date`, but both are "
                  "expected as texts");
  }
  return true;
}

FailureOr<Machine> MachineReader::read(const json::Object &root) {
  Machine machine;
  if (!section(root, "",
               {"schema", "name", "base", "device", "domain", "nodes",
                "network", "kernels", "collectives", "sources"}))
    return failure();
  if (integerOf(root, "schema") != 1) {
    fail("`schema` is not 1, but version 1 is expected");
    return failure();
  }
  machine.name = root.getString("name").value_or(origin).str();
  if (!device(root, machine) || !kernels(root, machine) ||
      !links(root, machine) || !sources(root))
    return failure();
  machine.json = llvm::formatv("{0:2}", json::Value(json::Object(root))).str();
  return machine;
}

// Objects merge key by key; anything else of `over` replaces what was there.
static void mergeInto(json::Object &base, const json::Object &over) {
  for (const auto &entry : over) {
    json::Object *below = base.getObject(entry.first);
    const json::Object *above = entry.second.getAsObject();
    if (below && above)
      mergeInto(*below, *above);
    else
      base[entry.first] = entry.second;
  }
}

static FailureOr<json::Object> readText(StringRef text, StringRef origin,
                                        std::string &error, int depth = 0) {
  constexpr uint64_t maxMachine = 16 << 20;
  llvm::Expected<json::Object> root =
      parseObject(text, "machine '" + origin.str() + "'", maxMachine);
  if (!root) {
    error = llvm::toString(root.takeError());
    return failure();
  }
  std::optional<StringRef> base = root->getString("base");
  if (!base)
    return std::move(*root);
  StringRef below = builtinMachine(*base);
  if (below.empty() || depth > 4) {
    error = "machine '" + origin.str() + "' has the base '" + base->str() +
            "', but one of " + llvm::join(builtinMachines(), ", ") +
            " is expected";
    return failure();
  }
  FailureOr<json::Object> merged = readText(below, *base, error, depth + 1);
  if (failed(merged))
    return failure();
  mergeInto(*merged, *root);
  return merged;
}

FailureOr<Machine> moe::parseMachine(StringRef text, StringRef origin,
                                     std::string &error) {
  FailureOr<json::Object> root = readText(text, origin, error);
  if (failed(root))
    return failure();
  return MachineReader(origin, error).read(*root);
}

FailureOr<Machine> moe::loadMachine(StringRef name, std::string &error) {
  if (name.contains('/') || name.ends_with(".json")) {
    auto buffer = llvm::MemoryBuffer::getFile(name, /*IsText=*/true);
    if (!buffer) {
      error = "machine '" + name.str() +
              "' cannot be read: " + buffer.getError().message();
      return failure();
    }
    return parseMachine((*buffer)->getBuffer(), name, error);
  }
  if (StringRef text = builtinMachine(name); !text.empty())
    return parseMachine(text, name, error);
  auto [base, count] = name.rsplit('x');
  int64_t nodes = 0;
  if (!count.getAsInteger(10, nodes) && nodes >= 1 && nodes <= 100000 &&
      !builtinMachine(base).empty()) {
    FailureOr<Machine> machine =
        parseMachine(builtinMachine(base), base, error);
    if (failed(machine))
      return failure();
    machine->nodes *= nodes;
    machine->name = name.str();
    if (machine->devices() > machine->domainDevices &&
        machine->network.bandwidth == 0) {
      error = "machine '" + name.str() +
              "' has no network between its nodes, "
              "but '" +
              base.str() + "' is expected to say one";
      return failure();
    }
    return machine;
  }
  SmallVector<StringRef> names(builtinMachines());
  error = "machine '" + name.str() + "' is not known, but a path, one of " +
          llvm::join(names, ", ") +
          ", or one of these with xN for N nodes is expected" +
          theNearest(name, names);
  return failure();
}
