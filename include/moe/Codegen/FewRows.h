// A whole layer for a few tokens in one kernel: from (x, expert ids, weights)
// to the combined output.
#ifndef MOE_CODEGEN_FEWROWS_H
#define MOE_CODEGEN_FEWROWS_H

#include "moe/Codegen/GroupedMatmul.h"

namespace moe {

/// For how many tokens at most there are kernels.
inline constexpr int64_t fewRowsTokens[] = {1, 2, 4, 8, 16};

/// y[t] = sum over j of weights[t][j] * (down[e] h + downBias[e]) + addend[t],
/// h = epilogue(gateUp[e] x[t] + upBias[e]), e = slot of ids[t][j], in
/// ascending order of e; pairs without a slot here add nothing.
///
/// - x[tokens][hidden], y[tokens][hidden], addend[tokens][hidden]: bf16
/// - ids[tokens][topK]: i32, the experts of a token all different;
///   weights[tokens][topK]: f32
/// - slots[tableSize]: i32, slot of each expert here, -1 if it is elsewhere;
///   only with `tableSize`, else the slot is the expert
/// - gate_up[experts * 2 inner][hidden]: bf16, blocks of 8 rows of gate and of
///   up alternate; up_bias[experts * 2 inner]: f32 in the same order
/// - down[experts * hidden][inner]: bf16; down_bias[experts * hidden]: f32
/// - with `fp8` both are e4m3, and what they meet is brought to it in blocks of
///   128; gate_up_scale[experts][2][inner / 128][hidden / 128],
///   down_scale[experts][hidden / 128][inner / 128]: f32, numbers of blocks
///   rounded up
/// - with `blockedGateUp`, gate_up is stored in blocks of 8 rows x 64 columns
///   (128 in fp8), as of a GroupedMatmulSpec; with `blockedDown`, down is
/// - hidden_rows[maxTokens * topK][inner]: bf16, scratch
/// - state[4]: i32, zero before the first launch; the kernel leaves it so.
///   Launches that may run at the same time need one each.
/// - tokens: i32, 1 to maxTokens
///
/// The work is cut into `shares`.  A CTA takes one by an atomic ticket, and
/// more while others have not started: it waits only for shares that running
/// CTAs hold.  Any number of CTAs is right, `shares` of them (one per SM)
/// fastest; none needs the others to be resident.
struct FewRowsSpec {
  std::string name = "few_rows";
  int64_t experts = 0; ///< whose weights are here
  int64_t hidden = 0, inner = 0, topK = 0;
  int64_t maxTokens = 1; ///< one of fewRowsTokens
  int64_t tableSize = 0; ///< experts of the whole layer where a table maps them
  GroupedEpilogue epilogue = GroupedEpilogue::Swiglu;
  double alpha = 1.702, limit = 7.0; ///< of SwigluClamped
  bool bias = false, addend = false;
  bool blockedGateUp = false, blockedDown = false;
  bool fp8 = false; ///< weights of e4m3 with scales of blocks of 128 x 128
  /// The weight scales x, before the epilogue, and not the output.
  bool weightOnInput = false;
  int64_t shares = 132;
  int64_t warps = 0;  ///< 4, 8 or 16; 0: chosen
  int64_t stages = 0; ///< KiB in flight per warp; 0: as many as fit, at most 5
  /// Warps that share a dot product of either matrix; 0: chosen.
  int64_t upWarps = 0, downWarps = 0;
  /// Test only: warps sleep for changing times, to bring races out.
  bool jitter = false;
};

mlir::LogicalResult
verifyFewRows(const FewRowsSpec &spec,
              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getFewRowsInterface(const FewRowsSpec &spec);
mlir::LLVM::LLVMFuncOp buildFewRows(mlir::gpu::GPUModuleOp module,
                                    const FewRowsSpec &spec);

} // namespace moe

#endif
