#ifndef COLL_TYPES_TD
#define COLL_TYPES_TD
include "dialects/Coll/CollDialect.td"
include "mlir/IR/AttrTypeBase.td"

def Coll_TokenType : TypeDef<Coll_Dialect, "Token"> {
  let mnemonic = "token";
  let summary = "a collective that has been started";
  let description = [{
    Made by `coll.start`, awaited once by `coll.wait`.
  }];
}
#endif
