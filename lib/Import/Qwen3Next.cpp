// Qwen3-Next: attention differs from Qwen2-MoE, the MoE block does not.
#include "Family.h"

namespace moe::import {

Model readQwen3Next(FamilyInput &in) { return readQwen2Moe(in); }

} // namespace moe::import
