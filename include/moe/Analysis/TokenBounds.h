// Sizes as functions of the session's maximum of tokens, and the largest values
// that sizes of a scheduled function can take.
#ifndef MOE_ANALYSIS_TOKENBOUNDS_H
#define MOE_ANALYSIS_TOKENBOUNDS_H

#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Value.h"

#include <algorithm>
#include <cstdint>

namespace moe {

/// perToken * M + perShare * ceil(M / shares) + constant; `shares` is the
/// number of ranks.
struct TokenBytes {
  int64_t perToken = 0, perShare = 0, constant = 0;
  bool isConstant() const { return perToken == 0 && perShare == 0; }
  TokenBytes operator+(const TokenBytes &o) const {
    return {perToken + o.perToken, perShare + o.perShare,
            constant + o.constant};
  }
  TokenBytes operator*(int64_t f) const {
    return {perToken * f, perShare * f, constant * f};
  }
  TokenBytes max(const TokenBytes &o) const {
    return {std::max(perToken, o.perToken), std::max(perShare, o.perShare),
            std::max(constant, o.constant)};
  }
  TokenBytes aligned() const {
    auto up = [](int64_t v) { return (v + 63) / 64 * 64; };
    return {up(perToken), up(perShare), up(constant)};
  }
  int64_t at(int64_t tokens, int64_t shares) const {
    return perToken * tokens + perShare * ((tokens + shares - 1) / shares) +
           constant;
  }
};

/// The expression of a linear form, in symbol 0.
mlir::AffineExpr toExpression(const TokenBytes &bytes, int64_t shares,
                              mlir::MLIRContext *context);

/// The largest value of an index, or of a buffer's dimension, that is made from
/// dimensions of arguments, `coll.rows` and constants.
mlir::FailureOr<TokenBytes> boundInTokens(mlir::Value index, int64_t shares);
mlir::FailureOr<TokenBytes> boundDimInTokens(mlir::Value buffer, int64_t dim,
                                             int64_t shares);

} // namespace moe
#endif
