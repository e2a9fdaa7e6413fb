// Reading one rank's slices of a function's weights from a checkpoint.
#ifndef MOERT_WEIGHTS_H
#define MOERT_WEIGHTS_H

#include "checkpoint.h"
#include "manifest.h"
#include "topology.h"

#include <functional>

namespace moert {

// Which of a weight's alternative sources the checkpoint holds, and in which
// type. Checked for all experts, so that all ranks choose and fail alike.
struct ResolvedWeight {
  const WeightSource *source = nullptr;
  // By part, then by expert (one entry where the name has no expert).
  std::vector<std::vector<const TensorView *>> tensors;
};

class WeightLoader {
public:
  // The function, checkpoint and topology must outlive the loader. `log` is
  // told once of each conversion.
  static Result<WeightLoader>
  open(const Function &function, const Topology &topology,
       std::shared_ptr<Checkpoint> checkpoint,
       const std::function<void(const std::string &)> &log);

  // Of what all ranks read, to compare processes: names, types, shapes, and
  // parts of the content of large tensors.
  std::string digest() const;
  // Fills `target` with a rank's slice.
  void read(size_t weight, int rank, void *target) const;

private:
  WeightLoader(const Function &function, const Topology &topology,
               std::shared_ptr<Checkpoint> checkpoint)
      : function(&function), topology(&topology),
        checkpoint(std::move(checkpoint)) {}

  Status resolve(const Weight &weight);

  const Function *function;
  const Topology *topology;
  std::shared_ptr<Checkpoint> checkpoint;
  std::vector<ResolvedWeight> resolved;
};

} // namespace moert

#endif
