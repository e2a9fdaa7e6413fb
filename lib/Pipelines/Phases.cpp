#include "moe/Pipelines/Pipelines.h"

using namespace moe;

static constexpr std::pair<Phase, llvm::StringLiteral> kPhases[] = {
    {Phase::Input, "input"},     {Phase::Placed, "placed"},
    {Phase::Sharded, "sharded"}, {Phase::Scheduled, "scheduled"},
    {Phase::Lowered, "lowered"}, {Phase::Artifact, "artifact"},
};

llvm::StringRef moe::spellPhase(Phase phase) {
  return kPhases[static_cast<int>(phase)].second;
}

std::optional<Phase> moe::parsePhase(llvm::StringRef name) {
  for (auto [phase, spelling] : kPhases)
    if (spelling == name)
      return phase;
  return std::nullopt;
}
