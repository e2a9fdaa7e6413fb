// Umbrella of the moe dialect.
#ifndef MOE_TD
#define MOE_TD
include "dialects/Moe/MoeDialect.td"
include "dialects/Moe/MoeAttrs.td"
include "dialects/Moe/MoeLayerOps.td"
include "dialects/Moe/MoeRaggedOps.td"
#endif
