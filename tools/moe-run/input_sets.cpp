#include "input_sets.h"

using namespace moert;

static Result<InputSet> makeSet(const Function &function, int64_t tokens,
                                Routing routing, uint64_t seed) {
  InputSet set;
  Result<std::vector<OwnedTensor>> inputs =
      makeInputs(function, tokens, routing, seed);
  if (!inputs.ok())
    return inputs.status();
  set.inputs = std::move(*inputs);
  for (const TensorSpec &spec : function.outputs) {
    std::vector<int64_t> shape = spec.shape;
    if (spec.hasTokens())
      shape[0] = tokens;
    Result<OwnedTensor> output = makeTensor(spec.name, spec.dtype, shape);
    if (!output.ok())
      return output.status();
    set.outputs.push_back(std::move(*output));
  }
  for (const OwnedTensor &tensor : set.inputs)
    set.in.push_back(tensor.host());
  for (const OwnedTensor &tensor : set.outputs)
    set.out.push_back(tensor.host());
  return set;
}

Result<std::vector<InputSet>> moert::makeSets(const Function &function,
                                              int64_t tokens, Routing routing,
                                              uint64_t seed, int64_t count) {
  std::vector<InputSet> sets;
  for (int64_t i = 0; i < count; ++i) {
    Result<InputSet> set =
        makeSet(function, tokens, routing,
                seed + 1000003 * static_cast<uint64_t>(i + 1));
    if (!set.ok())
      return set.status();
    sets.push_back(std::move(*set));
  }
  return sets;
}

Status moert::moveToDevice(Session &session, int64_t tokens,
                           std::vector<InputSet> &sets) {
  int rank = session.ranksHere().front();
  Queue &queue = *session.queue(rank);
  auto move = [&](InputSet &set, HostTensor &tensor, const OwnedTensor &host,
                  const TensorSpec &spec, bool isInput) -> Status {
    int64_t begin = 0, bytes = host.buffer.size();
    if (spec.hasTokens()) {
      begin = session.shareBegin(spec, rank, tokens) * spec.rowBytes();
      bytes = session.shareSize(spec, rank, tokens) * spec.rowBytes();
    }
    Result<Memory> memory = session.onDevice(rank).allocate(bytes, host.name);
    if (!memory.ok())
      return memory.status();
    if (isInput)
      MOERT_TRY(queue.upload(
          memory->data(), static_cast<const char *>(host.buffer.data()) + begin,
          bytes));
    tensor.data = memory->data();
    set.memory.push_back(std::move(*memory));
    return {};
  };
  const Function &function = session.function();
  for (InputSet &set : sets) {
    for (size_t i = 0; i < set.in.size(); ++i)
      MOERT_TRY(move(set, set.in[i], set.inputs[i], function.inputs[i],
                     /*isInput=*/true));
    for (size_t i = 0; i < set.out.size(); ++i)
      MOERT_TRY(move(set, set.out[i], set.outputs[i], function.outputs[i],
                     /*isInput=*/false));
  }
  return queue.finish();
}
