// GLM-4.5: the block of DeepSeek-V3, with one group.
#include "Family.h"

namespace moe::import {

Model readGlm4Moe(FamilyInput &in) { return readDeepseekV3(in); }

} // namespace moe::import
