#include "cuda/device_choice.h"

#include "cuda/context.h"

#include <algorithm>
#include <numeric>

using namespace moert;
using namespace moert::cuda;

template <typename... Args> static Status refuse(const Args &...args) {
  return Status::error(MOERT_ERROR_INVALID_ARGUMENT, args...);
}

static Status checkListed(const std::vector<int> &listed,
                          const DeviceUse &use) {
  for (size_t i = 0; i < listed.size(); ++i)
    if (std::find(listed.begin(), listed.begin() + static_cast<ptrdiff_t>(i),
                  listed[i]) != listed.begin() + static_cast<ptrdiff_t>(i))
      return refuse("CUDA device ", listed[i], " is listed twice; list each ",
                    use.oneEach ? "once: NCCL takes another device for each "
                                  "rank of a process"
                                : "once, ranks take them in turn");
  if (!use.launch && static_cast<int>(listed.size()) > use.ranks)
    return refuse(listed.size(), " CUDA devices are listed for ", use.ranks,
                  use.ranks == 1 ? " rank" : " ranks", "; list at most ",
                  use.ranks);
  return {};
}

static Status tooFew(bool isListed, size_t devices, int ranks) {
  std::string text = concat(
      "the communicator nccl takes a CUDA device for each rank of a process, ",
      "the artifact is for ", ranks, " ranks and ");
  if (isListed)
    return refuse(text, devices, devices == 1 ? " is" : " are",
                  " listed; list ", ranks,
                  ", or use --comm=local, whose ranks share devices");
  return refuse(text, "this process sees ", devices,
                "; use --comm=local, whose ranks share devices, or compile the "
                "layer for at most ",
                devices, " ranks");
}

Result<std::vector<int>> moert::cuda::chooseDevices(const DeviceChoice &choice,
                                                    const DeviceUse &use) {
  MOERT_TRY(checkListed(choice.numbers, use));
  std::vector<int> devices = choice.numbers;
  if (choice.all || (devices.empty() && (use.oneEach || use.launch))) {
    Result<int> count = deviceCount();
    if (!count.ok())
      return count.status();
    devices.resize(static_cast<size_t>(std::max(*count, 1)));
    std::iota(devices.begin(), devices.end(), 0);
  }
  if (devices.empty())
    devices = {0};
  // Each process of a host takes its own, as far as there are.
  if (use.launch) {
    int local =
        use.launch->localRank >= 0 ? use.launch->localRank : use.launch->rank;
    return std::vector<int>(
        static_cast<size_t>(use.ranks),
        devices[static_cast<size_t>(local) % devices.size()]);
  }
  if (use.oneEach && static_cast<int>(devices.size()) < use.ranks)
    return tooFew(!choice.numbers.empty(), devices.size(), use.ranks);
  std::vector<int> taken;
  for (int rank = 0; rank < use.ranks; ++rank)
    taken.push_back(devices[static_cast<size_t>(rank) % devices.size()]);
  return taken;
}
