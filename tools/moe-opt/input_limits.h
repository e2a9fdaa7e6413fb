// What is checked on the bytes of an input before MLIR's parser sees them: it
// recurses without a limit, and a file of brackets ends it by its stack. The
// reader of bytecode believes every size that it is told, so bytecode is read
// by a process of its own first.
#ifndef MOE_TOOLS_MOE_OPT_INPUT_LIMITS_H
#define MOE_TOOLS_MOE_OPT_INPUT_LIMITS_H

#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBufferRef.h"

namespace moe {

inline constexpr size_t maxInputBytes = size_t(256) << 20;
inline constexpr size_t maxInputNesting = 256;

bool isBytecode(llvm::MemoryBufferRef input);

// Refuses an input that is larger, or nests deeper, than is read. Brackets,
// chains of `->` and chains of `-` nest; strings and comments do not. Refused
// as well are numbers, expressions and aliases that are short to write and
// take without end to read or to print. Bytecode is checked for its size only.
llvm::Error checkInputLimits(llvm::MemoryBufferRef input);

// Refuses bytecode whose reader does not come to an end: it crashes, or takes
// more than 8 GiB or a minute; and what as text is larger than is read. No
// thread may be running. Text passes.
llvm::Error checkBytecode(llvm::MemoryBufferRef input,
                          const mlir::DialectRegistry &registry);

} // namespace moe

#endif
