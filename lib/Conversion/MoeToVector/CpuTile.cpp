#include "moe/Conversion/CpuTile.h"

using namespace mlir;
using namespace moe;

CpuTile CpuTile::of(const CpuTarget &target) {
  // 12 accumulators of 16 registers, or 24 of 32: the others hold a row of the
  // panel and what is broadcast.
  if (!target.hasAvx512())
    return {/*lanes=*/8, /*rows=*/6, /*width=*/16};
  return {/*lanes=*/16, /*rows=*/12, /*width=*/32, target.hasAvx512Bf16()};
}

FailureOr<CpuTile> CpuTile::get(StringRef cpu, std::string &error) {
  if (FailureOr<CpuTarget> spelled = parseCpuTarget(cpu); succeeded(spelled))
    return of(*spelled);
  FailureOr<CpuTarget> target = resolveCpuTarget(cpu, error);
  if (failed(target))
    return failure();
  return of(*target);
}
