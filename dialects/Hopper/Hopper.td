// Umbrella of the hopper dialect.
#ifndef MOE_DIALECTS_HOPPER_HOPPER_TD
#define MOE_DIALECTS_HOPPER_HOPPER_TD

include "dialects/Hopper/HopperDialect.td"
include "dialects/Hopper/HopperTypes.td"
include "dialects/Hopper/HopperRingOps.td"
include "dialects/Hopper/HopperTileOps.td"
include "dialects/Hopper/HopperPieceOps.td"
include "dialects/Hopper/HopperPlaceOps.td"
include "dialects/Hopper/HopperFactorOps.td"
include "dialects/Hopper/HopperSplitOps.td"

#endif
