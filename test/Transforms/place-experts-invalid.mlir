// Words that contradict each other, or a layer, are refused with the nearest legal choice.

// RUN: not moe-opt %s --moe-place-experts 2>&1 | FileCheck %s --check-prefix=NO_WORDS
// NO_WORDS: error: --place is missing, and not every layer has a placement; give words such as --place="ranks=8 ep=8"
// RUN: not moe-opt %s --moe-place-experts='place="ep=8 etp=2"' 2>&1 | FileCheck %s --check-prefix=NO_RANKS
// NO_RANKS: error: --place: `ranks` is missing, but the number of ranks is expected, such as `ranks=16`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 etp=3"' 2>&1 | FileCheck %s --check-prefix=ETP_RANKS
// ETP_RANKS: error: --place: etp=3 does not divide ranks=8; nearest legal choice: etp=2 or etp=4
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 ep=3 etp=2"' 2>&1 | FileCheck %s --check-prefix=EP_RANKS
// EP_RANKS: error: --place: ep=3 x etp=2 does not divide ranks=8; nearest legal choice: ep=2 or ep=4
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 edp=16"' 2>&1 | FileCheck %s --check-prefix=EDP_RANKS
// EDP_RANKS: error: --place: edp=16 does not divide ranks=8; nearest legal choice: edp=8
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 ep=4 etp=2 edp=2"' 2>&1 | FileCheck %s --check-prefix=PRODUCT
// PRODUCT: error: --place: ep=4 x etp=2 x edp=2 is 16, but ranks=8; nearest legal choice: edp=1
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 ep=8 ep=4"' 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: error: --place: `ep` is given twice, as 8 and as 4, but once is expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 dispatch=all_to_all"' 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: --place: `dispatch` is not a word of --place, but one of ranks, ep, etp, edp, nodes, dispatcher, dedup, boundary, shared, attn_tp, attn_dp, cp, tokens, phase, machine is expected; the nearest is `dispatcher`
// What other systems call tp is a part of etp; a word that is like none has no nearest.
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 tp=8"' 2>&1 | FileCheck %s --check-prefix=TP
// TP: error: --place: `tp` is not a word of --place, but one of {{.*}} is expected; the nearest is `etp`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 moe_ep=8"' 2>&1 | FileCheck %s --check-prefix=MOE_EP
// MOE_EP: error: --place: `moe_ep` is not a word of --place, but one of {{.*}} is expected; the nearest is `ep`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 parallel=8"' 2>&1 | FileCheck %s --check-prefix=FAR
// FAR: error: --place: `parallel` is not a word of --place, but one of {{.*}} machine is expected{{$}}
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 gemm=fp8"' 2>&1 | FileCheck %s --check-prefix=PLANNED
// PLANNED: error: --place: `gemm` is a word of plans, which need a `machine`, but the words pin a layout: give one, or leave `gemm` out
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 ep"' 2>&1 | FileCheck %s --check-prefix=NO_VALUE
// NO_VALUE: error: --place: `ep` has no value, but `ep=value` is expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=0"' 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: --place: `ranks=0` is given, but a number from 1 to 65536 is expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=99999999999999999999"' 2>&1 | FileCheck %s --check-prefix=HUGE
// HUGE: error: --place: `ranks=99999999999999999999` is given, but a number from 1 to 65536 is expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 dispatcher=alltoall"' 2>&1 | FileCheck %s --check-prefix=CHOICE
// CHOICE: error: --place: `dispatcher=alltoall` is given, but one of all_to_all, all_gather, two_level is expected; the nearest is `dispatcher=all_to_all`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 dedup=yes"' 2>&1 | FileCheck %s --check-prefix=DEDUP
// DEDUP: error: --place: `dedup=yes` is given, but one of false, true is expected{{$}}
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 nodes=3"' 2>&1 | FileCheck %s --check-prefix=NODES
// NODES: error: --place: nodes=3 does not divide ranks=8; nearest legal choice: nodes=2 or nodes=4
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 dispatcher=two_level"' 2>&1 | FileCheck %s --check-prefix=ONE_NODE
// ONE_NODE: error: --place: `dispatcher=two_level` is given, but each of nodes=1 holds all of ep=8 x etp=1; the nearest legal choice is `dispatcher=all_to_all dedup=true`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 edp=2 nodes=2 dispatcher=two_level"' 2>&1 | FileCheck %s --check-prefix=REPLICA_NODES
// REPLICA_NODES: error: --place: `dispatcher=two_level` is given, but each of nodes=2 holds all of ep=4 x etp=1; the nearest legal choice is `dispatcher=all_to_all dedup=true`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 etp=4 nodes=4 dispatcher=two_level"' 2>&1 | FileCheck %s --check-prefix=SMALL_NODES
// SMALL_NODES: error: --place: `dispatcher=two_level` is given, but the 2 ranks of a node hold a part of etp=4 only; nearest legal choice: etp=1
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 etp=4 nodes=2 dispatcher=two_level"' 2>&1 | FileCheck %s --check-prefix=ONE_OF_EP
// ONE_OF_EP: error: --place: `dispatcher=two_level` is given, but each of nodes=2 holds one rank of ep=2 only; the nearest legal choice is `dispatcher=all_to_all dedup=true`
// RUN: not moe-opt %s --moe-place-experts='place="ranks=6 etp=3 nodes=3"' 2>&1 | FileCheck %s --check-prefix=CUT
// CUT: error: --place: the 2 ranks of each of nodes=3 cut across edp=1 x ep=2 x etp=3; nearest legal choice: nodes=2 or nodes=6
// RUN: not moe-opt %s --moe-place-experts='place="ranks=6 etp=3 attn_tp=2 boundary=replicated"' 2>&1 | FileCheck %s --check-prefix=ATTN_CUT
// ATTN_CUT: error: --place: attn_tp=2 neighbours with the same tokens cut across edp=1 x ep=2 x etp=3 on nodes=1; nearest legal choice: attn_tp=1 or attn_tp=3
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 attn_tp=4 attn_dp=4"' 2>&1 | FileCheck %s --check-prefix=ATTN_PRODUCT
// ATTN_PRODUCT: error: --place: attn_tp=4 x attn_dp=4 x cp=1 is 16, but ranks=8; nearest legal choice: attn_tp=2
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 attn_tp=3"' 2>&1 | FileCheck %s --check-prefix=ATTN_RANKS
// ATTN_RANKS: error: --place: attn_tp=3 x attn_dp=1 x cp=1 is 3, which does not divide ranks=8; nearest legal choice: attn_tp=2 or attn_tp=4
// RUN: not moe-opt %s --moe-place-experts='place="machine=h100-8"' 2>&1 | FileCheck %s --check-prefix=MACHINE
// MACHINE: error: --place: `machine` asks for a plan, which --compile-to makes, but this pass pins: words such as ranks=8 ep=8 are expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 tokens=many"' 2>&1 | FileCheck %s --check-prefix=TOKENS
// TOKENS: error: --place: `tokens=many` is given, but a number from 1 to 2147483648 is expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 phase=serving"' 2>&1 | FileCheck %s --check-prefix=PHASE
// PHASE: error: --place: `phase=serving` is given, but one of prefill, decode, train is expected
// RUN: not moe-opt %s --moe-place-experts='place="ranks=16"' 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: error: 'moe.experts' op has E = 8 experts, but ep=16 needs at least one for each; nearest legal choice: ep=8
// RUN: not moe-opt %s --moe-place-experts='place="ranks=10 etp=5"' 2>&1 | FileCheck %s --check-prefix=WIDTH
// WIDTH: error: 'moe.experts' op has experts of width I = 96, which etp=5 does not divide; nearest legal choice on 10 ranks: etp=2
// RUN: not moe-opt %s --moe-place-experts='place="ranks=8 etp=8"' 2>&1 | FileCheck %s --check-prefix=FP8
// FP8: error: 'moe.experts' op has weights in format fp8_block, and etp=8 leaves I = 1536 / 8 = 192, which is no multiple of the block's 128; legal choices on 8 ranks: ep=8 etp=1, ep=4 etp=2, ep=2 etp=4
// RUN: not moe-opt %s --moe-place-experts='place="ranks=6 shared=split"' 2>&1 | FileCheck %s --check-prefix=SHARED
// SHARED: error: 'moe.shared_expert' op has width S = 80, which ranks=6 does not divide, but shared=split cuts it over all ranks; nearest legal choice: shared=replicated

func.func @mixtral(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<8x2x96x64xf32>, %down: tensor<8x64x96xf32>)
    -> tensor<?x64xf32> {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x96x64xf32>, tensor<8x64x96xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

func.func @qwen3_fp8(%x: tensor<?x256xbf16>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<16x2x1536x256xf8E4M3FN>,
    %down: tensor<16x256x1536xf8E4M3FN>, %up_scales: tensor<16x2x12x2xf32>, %down_scales: tensor<16x2x12xf32>) -> tensor<?x256xbf16> {
  %y = moe.experts %x, %ids, %w, %up, %down scales(%up_scales, %down_scales) activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<16x2x1536x256xf8E4M3FN>, tensor<16x256x1536xf8E4M3FN>,
         tensor<16x2x12x2xf32>, tensor<16x2x12xf32>) -> tensor<?x256xbf16>
  return %y : tensor<?x256xbf16>
}

func.func @shared(%x: tensor<?x64xf32>, %up: tensor<2x80x64xf32>, %down: tensor<64x80xf32>) -> tensor<?x64xf32> {
  %s = moe.shared_expert %x, %up, %down activation(<kind = silu>) : (tensor<?x64xf32>, tensor<2x80x64xf32>, tensor<64x80xf32>) -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}
