// The model around the layer. Each product, pass through memory and collective
// is priced by the functions that price the layer's own program.
#include "moe/Analysis/ModelTerms.h"
#include "moe/Analysis/CollectiveCost.h"
#include "moe/Analysis/MatmulCost.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace moe;

namespace {

// Time of one layer and one pass, by what it is spent on.
struct LayerPass {
  double compute = 0, communication = 0;
};

class StepModel {
public:
  StepModel(const LayerCost &layer, int64_t layers, const ModelConfig *model,
            const StepShape &step, const ExpertShape &experts,
            const Machine &machine)
      : layer(layer), layers(layers), model(model), step(step),
        experts(experts), machine(machine),
        dense(experts.gemm == GemmType::FP4 ? GemmType::FP8 : experts.gemm) {}

  StepCost run();

private:
  double perGroup() const { return step.tokens / (step.attnDp * step.cp); }
  LayerPass attention() const;
  LayerPass denseLayer() const;
  double scores() const;
  LayerPass routed() const;
  double sumOverTp(double rows) const;
  void serve();
  void train();
  void gatherWeights(double micros, double &us);
  void gradients(double stageLayers);
  double exposed(const GroupShape &group) const;
  void add(const char *term, double us) {
    if (us > 0)
      cost.terms[term] += us;
    cost.us += us;
  }

  const LayerCost &layer;
  int64_t layers;
  const ModelConfig *model;
  const StepShape &step;
  const ExpertShape &experts;
  const Machine &machine;
  GemmType dense;
  StepCost cost;
};

} // namespace

static bool isCommunication(StringRef term) {
  return term == "dispatch" || term == "combine" || term == "counts";
}

LayerPass StepModel::routed() const {
  LayerPass pass;
  for (const auto &[term, us] : layer.terms)
    (isCommunication(term) ? pass.communication : pass.compute) += us;
  return pass;
}

// Rows that every rank of an attention group has, summed over the group: as a
// reduce_scatter and an all_gather, which sequence parallelism splits.
double StepModel::sumOverTp(double rows) const {
  GroupShape group = stridedGroup(step.attnTp, 1, machine);
  double bytes = rows * model->hidden * 2;
  if (step.phase == PlanPhase::Decode)
    return collectiveUs(machine, CollectiveKind::AllReduce, group, bytes);
  return collectiveUs(machine, CollectiveKind::AllGather, group, bytes) +
         collectiveUs(machine, CollectiveKind::ReduceScatter, group, bytes);
}

// Scores and their sums: products in training and prefill, the cache's bytes
// in decoding.
double StepModel::scores() const {
  double rows = perGroup(),
         heads = std::ceil(double(model->heads) / step.attnTp),
         width = model->isLatent()
                     ? model->nopeDim + model->ropeDim + model->valueDim
                     : 2 * model->headDim;
  if (step.phase == PlanPhase::Decode) {
    double bytes = rows * step.context * model->cacheElements(step.attnTp) *
                   (experts.gemm == GemmType::BF16 ? 2 : 1);
    return memoryUs(machine, bytes);
  }
  // Causal: half of the square. Softmax between the products costs about what
  // they do on long rows of 128.
  const MatmulRate &rate = machine.rate(GemmType::BF16);
  double flops = rows * std::max<int64_t>(1, step.seq) * heads * width;
  return flops / (rate.peak * rate.efficiency * 0.7) * 1e6;
}

LayerPass StepModel::attention() const {
  LayerPass pass;
  double rows = perGroup(), tp = step.attnTp, h = model->hidden,
         heads = std::ceil(model->heads / tp);
  auto product = [&](double columns, double depth) {
    pass.compute +=
        machine.launchUs + denseUs(machine, dense, rows, columns, depth);
  };
  if (model->isLatent()) {
    double head = model->nopeDim + model->ropeDim;
    if (model->qLora) {
      product(model->qLora + model->kvLora + model->ropeDim, h);
      product(heads * head, model->qLora);
    } else {
      product(heads * head + model->kvLora + model->ropeDim, h);
    }
    product(heads * (model->nopeDim + model->valueDim), model->kvLora);
    product(h, heads * model->valueDim);
  } else {
    double kv = std::max(1.0, model->kvHeads / tp);
    product((heads + 2 * kv) * model->headDim, h);
    product(h, heads * model->headDim);
  }
  double scored = scores();
  // Norms, rotations and sums: about 12 passes over the rows a rank holds.
  pass.compute +=
      6 * machine.launchUs + scored + memoryUs(machine, 12 * rows / tp * h * 2);
  if (step.attnTp > 1)
    pass.communication += sumOverTp(rows);
  if (step.cp > 1) {
    // Keys and values of the other parts pass by while scores are computed.
    GroupShape group = stridedGroup(step.cp, step.attnTp, machine);
    double bytes = rows * step.cp * model->cacheElements(step.attnTp) * 2;
    double moved =
        collectiveUs(machine, CollectiveKind::AllGather, group, bytes);
    pass.communication += std::max(moved * exposed(group), moved - scored);
  }
  return pass;
}

LayerPass StepModel::denseLayer() const {
  LayerPass pass;
  double rows = perGroup(), width = model->denseWidth / double(step.attnTp);
  pass.compute = 3 * machine.launchUs +
                 denseUs(machine, dense, rows, 2 * width, model->hidden) +
                 denseUs(machine, dense, rows, model->hidden, width);
  if (step.attnTp > 1)
    pass.communication = sumOverTp(rows);
  return pass;
}

// What is left of communication that runs beside computation.
double StepModel::exposed(const GroupShape &group) const {
  if (step.overlap && !*step.overlap)
    return 1;
  return group.domains > 1 ? machine.networkExposed : machine.domainExposed;
}

void StepModel::serve() {
  LayerPass moe = routed();
  double each = 0;
  if (step.sharding == WeightSharding::Fsdp && experts.edp > 1) {
    // The next layer's experts come in while this layer is computed.
    double bytes = experts.parameters / (experts.ep * experts.etp) *
                   gemmBytes(experts.gemm);
    double gather = collectiveUs(
        machine, CollectiveKind::AllGather,
        stridedGroup(experts.edp, experts.ep * experts.etp, machine), bytes);
    double beside = moe.compute;
    if (model) {
      LayerPass own = attention();
      beside += own.compute;
    }
    each = step.overlap && !*step.overlap ? gather
                                          : std::max(0.0, gather - beside);
  }
  for (const auto &[term, us] : layer.terms)
    add(term.c_str(), us * layers);
  add("weight_gather", each * layers);
  if (!model)
    return;
  LayerPass own = attention(), other = denseLayer();
  int64_t denseLayers = model->denseLayers();
  add("attention", own.compute * model->layers);
  add("attention_communication", own.communication * model->layers);
  add("dense", (other.compute + other.communication) * denseLayers);
  add("vocabulary", denseUs(machine, GemmType::BF16,
                            step.phase == PlanPhase::Decode ? perGroup() : 1,
                            model->vocab / double(step.attnTp), model->hidden));
  // Stages pass their rows on; several passes fill them.
  if (step.pp > 1)
    add("pipeline",
        (step.pp - 1) *
            collectiveUs(
                machine, CollectiveKind::PointToPoint,
                stridedGroup(2, step.attnTp * step.attnDp * step.cp, machine),
                perGroup() * model->hidden * 2));
}

// us of bringing the weights of a stage's layers together for one micro-batch:
// once forward, once backward, and their gradients back.
void StepModel::gatherWeights(double micros, double &us) {
  if (step.sharding != WeightSharding::Fsdp)
    return;
  auto gathered = [&](double parameters, const GroupShape &group) {
    double bytes = parameters * 2;
    return (2 * collectiveUs(machine, CollectiveKind::AllGather, group, bytes) +
            collectiveUs(machine, CollectiveKind::ReduceScatter, group,
                         bytes)) *
           exposed(group);
  };
  us = gathered(experts.parameters / (experts.ep * experts.etp),
                stridedGroup(experts.edp, experts.ep * experts.etp, machine)) *
       layers;
  if (model)
    us += gathered(model->attentionParameters() / step.attnTp,
                   stridedGroup(step.attnDp * step.cp, step.attnTp, machine)) *
          model->layers;
  us *= micros / step.pp;
}

// Gradients once a step, and the weights that other ranks have updated.
void StepModel::gradients(double stageLayers) {
  double moeLayers = double(layers) / step.pp;
  auto reduced = [&](double parameters, const GroupShape &group) {
    if (step.sharding == WeightSharding::None)
      return exposed(group) * collectiveUs(machine, CollectiveKind::AllReduce,
                                           group, parameters * 4);
    return exposed(group) *
           (collectiveUs(machine, CollectiveKind::ReduceScatter, group,
                         parameters * 4) +
            collectiveUs(machine, CollectiveKind::AllGather, group,
                         parameters * 2));
  };
  double mine = experts.parameters / (experts.ep * experts.etp) * moeLayers,
         around = (experts.shared * moeLayers +
                   (model ? model->attentionParameters() * stageLayers : 0)) /
                  step.attnTp;
  GroupShape expertGroup =
                 stridedGroup(experts.edp, experts.ep * experts.etp, machine),
             aroundGroup =
                 stridedGroup(step.attnDp * step.cp, step.attnTp, machine);
  if (step.sharding != WeightSharding::Fsdp)
    add("gradients", reduced(mine, expertGroup) + reduced(around, aroundGroup));
  // Moments, master weights and gradients are read, most of them written.
  bool split = step.sharding != WeightSharding::None;
  add("optimizer",
      memoryUs(machine, 28 * (mine / (split ? experts.edp : 1) +
                              around / (split ? step.attnDp : 1))));
}

void StepModel::train() {
  double again = step.recompute ? 1 : 0;
  double computeTimes = 3 + again, communicationTimes = 2 + again;
  double micros = step.globalBatch
                      ? std::max(1.0, double(step.globalBatch) /
                                          (step.microBatch * step.attnDp))
                      : 4.0 * step.pp;
  double stageLayers = model ? double(model->layers) / step.pp : 0,
         moeLayers = double(layers) / step.pp, before = cost.us;
  for (const auto &[term, us] : layer.terms)
    add(term.c_str(),
        us * micros * moeLayers *
            (isCommunication(term) ? communicationTimes : computeTimes));
  if (model) {
    LayerPass own = attention(), other = denseLayer();
    double denseLayers = double(model->denseLayers()) / step.pp;
    add("attention", own.compute * computeTimes * micros * stageLayers);
    add("attention_communication",
        own.communication * communicationTimes * micros * stageLayers);
    add("dense", (other.compute * computeTimes +
                  other.communication * communicationTimes) *
                     micros * denseLayers);
    add("vocabulary",
        micros / step.pp * 3 *
            denseUs(machine, GemmType::BF16, perGroup(),
                    model->vocab / double(step.attnTp), model->hidden));
  }
  double steady = cost.us - before;
  if (step.pp > 1) {
    // Interleaved as far as is given; two virtual stages where it is not.
    double virtualStages =
        step.vpp ? step.vpp : std::clamp(stageLayers, 1.0, 2.0);
    add("pipeline_bubble", steady / micros * (step.pp - 1) / virtualStages);
    if (model)
      add("pipeline_communication",
          2 * virtualStages * micros *
              collectiveUs(
                  machine, CollectiveKind::PointToPoint,
                  stridedGroup(2, step.attnTp * step.attnDp * step.cp, machine),
                  perGroup() / step.attnTp * model->hidden * 2) *
              machine.domainExposed);
  }
  double gather = 0;
  gatherWeights(micros, gather);
  add("weight_gather", gather);
  gradients(stageLayers);
}

StepCost StepModel::run() {
  if (step.phase == PlanPhase::Train)
    train();
  else
    serve();
  return cost;
}

StepCost moe::stepCost(const LayerCost &layer, int64_t layers,
                       const ModelConfig *model, const StepShape &step,
                       const ExpertShape &experts, const Machine &machine) {
  return StepModel(layer, layers, model, step, experts, machine).run();
}
