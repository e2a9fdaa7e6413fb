// Who a process is: three flags, then a variable on each line.
#include "fuzz.h"
#include "mutators/mutators.h"

#include "launch/discovery.h"

using namespace moert;

MOE_FUZZ_MUTATE_BY(fuzz::mutateText);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::string> lines = fuzz::lines(fuzz::text(data, size));
  lines.resize(std::max<size_t>(lines.size(), 3));
  LaunchFlags flags{lines[0], lines[1], lines[2]};
  Variables variables;
  for (size_t i = 3; i < lines.size(); ++i) {
    size_t equals = std::min(lines[i].find('='), lines[i].size());
    variables[lines[i].substr(0, equals)] =
        lines[i].substr(std::min(equals + 1, lines[i].size()));
  }
  Result<std::optional<Launch>> launch =
      discoverLaunch(flags, variables, [](const std::string &) {});
  if (!launch.ok() || !*launch)
    return 0;
  fuzz::require((*launch)->rank >= 0 && (*launch)->rank < (*launch)->world,
                "a rank is below the number of processes");
  for (int port : (*launch)->ports)
    fuzz::require(port > 0 && port < 65536, "a port is one");
  return 0;
}
