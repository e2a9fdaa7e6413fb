#include "moe/Target/CpuTarget.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;
using namespace moe;

static constexpr const char *kBaseline = "x86-64";
static constexpr const char *kV3 = "x86-64-v3";
static constexpr const char *kV4 = "x86-64-v4";
static constexpr const char *kSapphireRapids = "sapphirerapids";

static FailureOr<CpuTarget> nativeTarget(std::string &error) {
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  auto has = [&](std::initializer_list<StringRef> names) {
    return llvm::all_of(names,
                        [&](StringRef name) { return host.lookup(name); });
  };
  if (!has({"avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"})) {
    error =
        "this machine's processor is below x86-64-v3 (AVX2 and FMA), which is "
        "the lowest that is compiled for; name the target machine's level "
        "with --cpu=x86-64-v3 or --cpu=x86-64-v4";
    return failure();
  }
  CpuTarget target{kV3, {}, ""};
  if (has({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})) {
    target.cpu = kV4;
    if (has({"avx512bf16"}))
      target.features.push_back("avx512bf16");
    StringRef name = llvm::sys::getHostCPUName();
    if (name == kSapphireRapids || name == "emeraldrapids")
      target.tuning = kSapphireRapids;
  }
  return target;
}

FailureOr<CpuTarget> moe::resolveCpuTarget(StringRef name, std::string &error) {
  if (name == "native")
    return nativeTarget(error);
  if (name == kV3 || name == kV4)
    return CpuTarget{name.str(), {}, ""};
  error = ("--cpu is '" + name +
           "', but native, x86-64-v3 or x86-64-v4 is expected")
              .str();
  return failure();
}

std::string moe::spellCpuTarget(const CpuTarget &target) {
  std::string text = target.cpu;
  for (const std::string &feature : target.features)
    text += "+" + feature;
  if (!target.tuning.empty())
    text += ":" + target.tuning;
  return text;
}

FailureOr<CpuTarget> moe::parseCpuTarget(StringRef spelling) {
  auto [machine, tuning] = spelling.split(':');
  SmallVector<StringRef> parts;
  machine.split(parts, '+');
  CpuTarget target{parts.front().str(), {}, tuning.str()};
  if (target.cpu != kBaseline && target.cpu != kV3 && target.cpu != kV4)
    return failure();
  for (StringRef feature : ArrayRef(parts).drop_front()) {
    if (feature != "avx512bf16" || !target.hasAvx512())
      return failure();
    target.features.push_back(feature.str());
  }
  bool isTuned = machine.size() < spelling.size();
  if (isTuned && (!target.isForSapphireRapids() || !target.hasAvx512()))
    return failure();
  return target;
}
