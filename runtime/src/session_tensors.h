// The tensors of a call to a session, checked against the manifest.
#ifndef MOERT_SESSION_TENSORS_H
#define MOERT_SESSION_TENSORS_H

#include "manifest.h"

#include <string>
#include <vector>

namespace moert {

// A global tensor in the caller's memory.
struct HostTensor {
  std::string name;
  moert_dtype dtype = MOERT_F32;
  std::vector<int64_t> shape;
  void *data = nullptr;
};

// Null if there is none of this name.
const HostTensor *findTensor(const std::vector<HostTensor> &tensors,
                             const std::string &name);

// The number of tokens. Every input must be there; outputs may be left out.
Result<int64_t> checkTensors(const Function &function,
                             const std::vector<HostTensor> &inputs,
                             const std::vector<HostTensor> &outputs,
                             int64_t maxTokens);

} // namespace moert

#endif
