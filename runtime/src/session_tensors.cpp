#include "session_tensors.h"

#include "checked.h"

#include <algorithm>

using namespace moert;

static std::vector<std::string> namesOf(const std::vector<TensorSpec> &specs) {
  std::vector<std::string> names;
  for (const TensorSpec &spec : specs)
    names.push_back(spec.name);
  return names;
}

const HostTensor *moert::findTensor(const std::vector<HostTensor> &tensors,
                                    const std::string &name) {
  for (const HostTensor &tensor : tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

// One tensor against the manifest; `tokens` is -1 until one has said how many.
static Status checkTensor(const char *what, const TensorSpec &spec,
                          const HostTensor &tensor, int64_t &tokens) {
  auto refuse = [&](const auto &...args) {
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " `", spec.name,
                         "` ", args...);
  };
  if (tensor.dtype != spec.dtype)
    return refuse("has dtype ", dtypeName(tensor.dtype), ", expected ",
                  dtypeName(spec.dtype));
  std::vector<int64_t> expected = spec.shape;
  if (spec.hasTokens() && tensor.shape.size() == expected.size())
    expected[0] = std::max<int64_t>(0, tensor.shape[0]);
  if (tensor.shape != expected)
    return refuse("has shape ", bracketed(tensor.shape), ", expected ",
                  shapeText(spec.shape));
  if (spec.hasTokens()) {
    if (tokens >= 0 && tokens != tensor.shape[0])
      return refuse("has ", tensor.shape[0], " tokens, the first input has ",
                    tokens);
    tokens = tensor.shape[0];
  }
  bool isEmpty = elementCount(tensor.shape) == 0;
  if (!tensor.data && !isEmpty)
    return refuse("has no data");
  if (reinterpret_cast<uintptr_t>(tensor.data) % dtypeSize(tensor.dtype) != 0)
    return refuse("is not aligned to its elements");
  return {};
}

static Status checkNames(const char *what, const std::vector<TensorSpec> &specs,
                         const std::vector<HostTensor> &tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string &name = tensors[i].name;
    std::vector<std::string> known = namesOf(specs);
    if (std::find(known.begin(), known.end(), name) == known.end())
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "there is no ", what,
                           " `", printable(name), "`", suggest(name, known));
    if (findTensor(tensors, name) != &tensors[i])
      return Status::error(MOERT_ERROR_INVALID_ARGUMENT, what, " `", name,
                           "` is given twice");
  }
  return {};
}

// The number of tokens.
Result<int64_t> moert::checkTensors(const Function &function,
                                    const std::vector<HostTensor> &inputs,
                                    const std::vector<HostTensor> &outputs,
                                    int64_t maxTokens) {
  MOERT_TRY(checkNames("input", function.inputs, inputs));
  MOERT_TRY(checkNames("output", function.outputs, outputs));
  int64_t tokens = -1;
  for (const TensorSpec &spec : function.inputs) {
    const HostTensor *tensor = findTensor(inputs, spec.name);
    if (!tensor)
      return Status::error(
          MOERT_ERROR_INVALID_ARGUMENT, "input `", spec.name,
          "` is missing; the function needs: ", join(namesOf(function.inputs)));
    MOERT_TRY(checkTensor("input", spec, *tensor, tokens));
  }
  for (const TensorSpec &spec : function.outputs)
    if (const HostTensor *tensor = findTensor(outputs, spec.name))
      MOERT_TRY(checkTensor("output", spec, *tensor, tokens));
  tokens = std::max<int64_t>(tokens, 0);
  if (tokens > maxTokens)
    return Status::error(MOERT_ERROR_INVALID_ARGUMENT, "there are ", tokens,
                         " tokens, the session was opened for at most ",
                         maxTokens);
  return tokens;
}
