// Umbrella of the moert dialect.
#ifndef MOERT_TD
#define MOERT_TD
include "dialects/Moert/MoertDialect.td"
include "dialects/Moert/MoertAttrs.td"
include "dialects/Moert/MoertTeamOps.td"
include "dialects/Moert/MoertCommOps.td"
include "dialects/Moert/MoertDeviceOps.td"
include "dialects/Moert/MoertInterfaceOp.td"
#endif
