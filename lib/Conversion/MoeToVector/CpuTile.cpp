#include "moe/Conversion/CpuTile.h"

using namespace mlir;
using namespace moe;

CpuTile CpuTile::of(const CpuTarget &target) {
  // 12 accumulators of 16 registers, or 24 of 32: the others hold a row of the
  // panel and what is broadcast.
  if (!target.hasAvx512())
    return {/*lanes=*/8,
            /*rows=*/6,
            /*width=*/16,
            /*bf16Dot=*/false,
            /*aheadInFirstCache=*/false,
            /*hasPace=*/true,
            /*panelsAtOnce=*/4,
            /*streams=*/2,
            /*keptBytes=*/256 << 10,
            /*fewRows=*/3};
  // Golden Cove takes two cycles for 16 products of pairs, and one for 32 in
  // f32. Its first cache has room for 16 lines on their way, which lines from
  // memory keep for long. Of its second cache of 2 MiB, blocks of a panel leave
  // room for the rows that they are multiplied with; its twelfth row is given
  // for a pace.
  if (target.isForSapphireRapids()) {
    CpuTile tile{/*lanes=*/16,
                 /*rows=*/11,
                 /*width=*/32,
                 /*bf16Dot=*/false,
                 /*aheadInFirstCache=*/false,
                 /*hasPace=*/true};
    tile.blockBytes = 16 << 10;
    tile.mostBlockBytes = 128 << 10;
    return tile;
  }
  return {/*lanes=*/16, /*rows=*/12, /*width=*/32,
          /*bf16Dot=*/target.hasAvx512Bf16()};
}

FailureOr<CpuTile> CpuTile::get(StringRef cpu, std::string &error) {
  if (FailureOr<CpuTarget> spelled = parseCpuTarget(cpu); succeeded(spelled))
    return of(*spelled);
  FailureOr<CpuTarget> target = resolveCpuTarget(cpu, error);
  if (failed(target))
    return failure();
  return of(*target);
}
