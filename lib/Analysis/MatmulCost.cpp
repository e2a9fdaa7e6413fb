// A product is cut into tiles of at most 128 rows and 128 columns that run
// through all of K. Tiles cost their padding; the start and end of each costs
// as much as `depth_half` more of K; the memory's time and the multipliers'
// overlap, more or less (`overlap_exponent`).
#include "moe/Analysis/MatmulCost.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static constexpr int64_t kTileColumns = 128;

// Rows of a tile for products with these rows a group: the smallest of 16, 32,
// 64, 128 that holds the mean.
static int64_t tileRows(double meanRows) {
  for (int64_t rows : {16, 32, 64})
    if (meanRows <= rows)
      return rows;
  return 128;
}

double moe::memoryUs(const Machine &machine, double bytes) {
  return bytes / (machine.memoryBandwidth * machine.memoryEfficiency) * 1e6;
}

// us of a product of groups. `weightBytes` and `activationBytes` are what it
// reads and writes. Memory and multipliers work at the same time; few tiles
// cannot draw the whole bandwidth.
static double productUs(const Machine &machine, GemmType type,
                        ArrayRef<double> groups, int64_t columns, int64_t depth,
                        double weightBytes, double activationBytes) {
  double rows = 0, active = 0;
  for (double group : groups) {
    rows += group;
    active += group > 0;
  }
  if (rows <= 0)
    return 0;
  int64_t tile = tileRows(rows / active);
  double rowTiles = 0;
  for (double group : groups)
    rowTiles += std::ceil(group / tile);
  const MatmulRate &rate = machine.rate(type);
  double tiles =
             rowTiles * std::ceil(static_cast<double>(columns) / kTileColumns),
         drawn = std::min(1.0, tiles * machine.readPerMultiprocessor /
                                   machine.multiprocessors),
         memory = memoryUs(machine, weightBytes) / drawn +
                  memoryUs(machine, activationBytes),
         flops = 2 * rowTiles * tile * columns * (depth + rate.depthHalf),
         compute = flops / (rate.peak * rate.efficiency) * 1e6,
         p = machine.overlapExponent;
  return std::pow(std::pow(memory, p) + std::pow(compute, p), 1 / p);
}

double moe::denseUs(const Machine &machine, GemmType type, double rows,
                    double columns, double depth) {
  if (rows <= 0 || columns <= 0 || depth <= 0)
    return 0;
  return productUs(
      machine, type, {rows}, static_cast<int64_t>(std::ceil(columns)),
      static_cast<int64_t>(std::ceil(depth)), columns * depth * gemmBytes(type),
      rows * (columns + depth) * 2);
}

GemmType moe::gemmOfBits(int bits) {
  return bits >= 32   ? GemmType::F32
         : bits >= 16 ? GemmType::BF16
         : bits >= 8  ? GemmType::FP8
                      : GemmType::FP4;
}

double moe::workUs(const Machine &machine, const Work &work,
                   std::optional<GemmType> gemm, int64_t hidden) {
  switch (work.kind) {
  case WorkKind::Bookkeeping:
    return 0;
  case WorkKind::Permute:
    return machine.launchUs + memoryUs(machine, work.activationBytes);
  case WorkKind::Route:
    return 2 * machine.launchUs +
           productUs(machine, GemmType::BF16, work.groups, work.columns,
                     work.depth, work.weightBytes, work.activationBytes);
  case WorkKind::Product:
    break;
  }
  GemmType type = gemm.value_or(gemmOfBits(work.weightBits));
  const MatmulRate &rate = machine.rate(type);
  double rows = 0, active = 0;
  for (double group : work.groups) {
    rows += group;
    active += std::min(group, 1.0);
  }
  double weights = gemm ? active * work.columns * work.depth * gemmBytes(*gemm)
                        : work.weightBytes,
         activations =
             work.activationBytes +
             (work.groups.size() > 1 ? rate.rowBytes / 2 * rows * hidden : 0.0);
  return machine.launchUs + rate.groupUs / 2 * work.groups.size() +
         productUs(machine, type, work.groups, work.columns, work.depth,
                   weights, activations);
}
