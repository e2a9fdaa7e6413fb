// Umbrella of the coll dialect.
#ifndef COLL_TD
#define COLL_TD
include "dialects/Coll/CollDialect.td"
include "dialects/Coll/CollOps.td"
include "dialects/Coll/CollAsyncOps.td"
#endif
