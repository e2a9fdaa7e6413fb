// Runs one rank's program of a layer on a machine model, for all ranks at once.
#ifndef MOE_ANALYSIS_LAYERSIMULATOR_H
#define MOE_ANALYSIS_LAYERSIMULATOR_H

#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moe/Analysis/Machine.h"
#include "moe/Analysis/RoutingModel.h"
#include <map>
#include <vector>

namespace moe {

/// Draws that were made before, by tokens of a replica and seed.
using DrawnLoads = std::map<std::pair<double, uint64_t>, std::vector<double>>;

/// What a program is run with.
struct LayerRun {
  double tokens = 1;            // global
  std::optional<GemmType> gemm; // of weights; empty: as they are stored
  const RoutingModel *routing = nullptr;
  DrawnLoads *drawn = nullptr; // optional, of this routing and layer
  bool overlap = false;        // communication hidden as far as the machine can
  bool record = false;         // timeline and loads of the first draw
  PlacementAttr placement;     // of the routed experts; axes of its grid
};

struct TimelineEvent {
  std::string name, term;
  int64_t member;
  double startUs, endUs;
};

struct LayerCost {
  double us = 0;                       // mean over draws of the slowest rank
  double p95Us = 0;                    // of the slowest rank
  std::map<std::string, double> terms; // of the slowest rank, us
  double skewUs = 0;      // experts' work of the slowest rank above the mean's
  double flops = 0;       // of the mean rank
  double weightBytes = 0; // read by the slowest rank
  double domainBytes = 0, networkBytes = 0;      // sent by the busiest rank
  double meanRows = 0, maxRows = 0, p95Rows = 0; // that experts of a rank see
  std::vector<TimelineEvent> timeline;           // of the first draw
  std::vector<double> loads; // rows of each slot, first draw
};

/// Simulates the `sharded` function. Ranks that differ on ep see different
/// loads; those that differ on other axes see equal ones. A collective over ep
/// starts when the last of its members has come. Refuses operations whose rows
/// it cannot follow.
mlir::FailureOr<LayerCost> simulateLayer(mlir::func::FuncOp function,
                                         const Machine &machine,
                                         const LayerRun &run);

} // namespace moe
#endif
