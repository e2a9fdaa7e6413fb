// Whether this machine has what an artifact was compiled for.
#include "program.h"

#include <algorithm>

using namespace moert;

namespace {
struct Feature {
  const char *name;
  bool present;
};
} // namespace

// The builtin takes literals only. Names are LLVM's.
#define HAS(name) Feature{name, __builtin_cpu_supports(name) != 0}

static const std::vector<Feature> &levels() {
  static const std::vector<Feature> table = {
      HAS("x86-64"), HAS("x86-64-v2"), HAS("x86-64-v3"), HAS("x86-64-v4")};
  return table;
}

static const std::vector<Feature> &features() {
  static const std::vector<Feature> table = {
      // Every x86-64 machine has these; the builtin does not know them.
      {"64bit", true},
      {"cx8", true},
      {"fxsr", true},
      {"x87", true},
      {"crc32", __builtin_cpu_supports("sse4.2") != 0},
      HAS("adx"),
      HAS("aes"),
      HAS("amx-bf16"),
      HAS("amx-fp16"),
      HAS("amx-int8"),
      HAS("amx-tile"),
      HAS("avx"),
      HAS("avx2"),
      HAS("avx512bf16"),
      HAS("avx512bitalg"),
      HAS("avx512bw"),
      HAS("avx512cd"),
      HAS("avx512dq"),
      HAS("avx512f"),
      HAS("avx512fp16"),
      HAS("avx512ifma"),
      HAS("avx512vbmi"),
      HAS("avx512vbmi2"),
      HAS("avx512vl"),
      HAS("avx512vnni"),
      HAS("avx512vp2intersect"),
      HAS("avx512vpopcntdq"),
      HAS("avxifma"),
      HAS("avxneconvert"),
      HAS("avxvnni"),
      HAS("avxvnniint8"),
      HAS("bmi"),
      HAS("bmi2"),
      HAS("cldemote"),
      HAS("clflushopt"),
      HAS("clwb"),
      HAS("clzero"),
      HAS("cmov"),
      HAS("cx16"),
      HAS("f16c"),
      HAS("fma"),
      HAS("fma4"),
      HAS("fsgsbase"),
      HAS("gfni"),
      HAS("lwp"),
      HAS("lzcnt"),
      HAS("mmx"),
      HAS("movbe"),
      HAS("movdir64b"),
      HAS("movdiri"),
      HAS("mwaitx"),
      HAS("pclmul"),
      HAS("pku"),
      HAS("popcnt"),
      HAS("prefetchi"),
      HAS("prfchw"),
      HAS("ptwrite"),
      HAS("rdpid"),
      HAS("rdrnd"),
      HAS("rdseed"),
      HAS("rtm"),
      HAS("sahf"),
      HAS("serialize"),
      HAS("sha"),
      HAS("shstk"),
      HAS("sse"),
      HAS("sse2"),
      HAS("sse3"),
      HAS("sse4.1"),
      HAS("sse4.2"),
      HAS("sse4a"),
      HAS("ssse3"),
      HAS("tbm"),
      HAS("vaes"),
      HAS("vpclmulqdq"),
      HAS("waitpkg"),
      HAS("wbnoinvd"),
      HAS("xop"),
      HAS("xsave"),
      HAS("xsavec"),
      HAS("xsaveopt"),
      HAS("xsaves"),
  };
  return table;
}

static const Feature *find(const std::vector<Feature> &table,
                           const std::string &name) {
  auto it = std::find_if(table.begin(), table.end(),
                         [&](const Feature &row) { return name == row.name; });
  return it == table.end() ? nullptr : &*it;
}

static std::string bestLevel() {
  std::string best;
  for (const Feature &level : levels())
    if (level.present)
      best = level.name;
  return best;
}

Status moert::checkTarget(const Target &target) {
  auto refuse = [](const auto &...args) {
    return Status::error(MOERT_ERROR_UNSUPPORTED, args...);
  };
  const Feature *level = find(levels(), target.cpu);
  if (!level && target.features.empty())
    return refuse("the artifact is for the processor '", printable(target.cpu),
                  "' and does not list its features");
  if (level && !level->present)
    return refuse("the artifact needs an ", target.cpu,
                  " processor, this machine has ", bestLevel(),
                  "; compile with --cpu=", bestLevel());
  std::vector<std::string> missing;
  for (const std::string &name : target.features) {
    const Feature *feature = find(features(), name);
    if (!feature || !feature->present)
      missing.push_back(printable(name));
  }
  if (!missing.empty())
    return refuse("the artifact is for the processor '", printable(target.cpu),
                  "' and needs what this machine lacks: ", join(missing),
                  "; compile with --cpu=", bestLevel());
  return {};
}
