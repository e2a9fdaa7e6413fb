#ifndef MOE_CONVERSION_PASSES_TD
#define MOE_CONVERSION_PASSES_TD
include "mlir/Pass/PassBase.td"

def ConvertCollToMoertPass : Pass<"convert-coll-to-moert", "::mlir::ModuleOp"> {
  let summary = "turn collectives on buffers into calls of the runtime by one thread";
  let description = [{
    Phase: `scheduled`, on memrefs; a step of the way to `lowered`. Afterwards no `coll` op remains.

    A collective is called by thread 0 of a rank's team; `moert.team_barrier` follows, so that all threads see what arrived.
    Its axes become a group, numbered in order of first use over the module; the table stands in the module's `moert.groups`.
    `coll.index` becomes arithmetic on coordinates. `coll.rows` is summed by every thread, which ends the program where the sum
    exceeds the bound at the function's `moert.max_tokens`. `coll.share` becomes a copy of rows, for `moe-expand-copies`.

    ```mlir
    shard.grid @ranks(shape = 2x2)
    func.func @f(%a: memref<2x4xi32>, %b: memref<2x4xi32>) {
      coll.all_to_all %a on @ranks axes [1] outs(%b) : (memref<2x4xi32>, memref<2x4xi32>) -> ()
    ```
    becomes
    ```mlir
    module attributes {moert.groups = [array<i64: 1>]} {
      %thread = moert.thread : index
      %first = arith.cmpi eq, %thread, %c0 : index
      scf.if %first {
        moert.all_to_all %a, %b group 0 : memref<2x4xi32>, memref<2x4xi32>
      }
      moert.team_barrier
    ```
    Requires that all threads of a team reach each collective. Refuses ops in value form, and `coll.rows` in a function without an
    argument `moert.max_tokens`.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::moe::moert::MoertDialect"];
}

def LowerInterfacePass : Pass<"moe-lower-interface", "::mlir::ModuleOp"> {
  let summary = "give functions the signature that the runtime calls";
  let description = [{
    Phase: `scheduled`, on memrefs, weights packed; a step of the way to `lowered`.

    Each function named by a `moert.interface` gets the signature `moert_run_fn`, its `_prepare` companion `moert_prepare_fn`
    (moert/abi.h); arguments are read from the arrays of pointers. The number of tokens gives the first dimension of inputs and
    outputs where it is dynamic. Of the run function's arguments, those marked `moert.arena`, `moert.tokens` and `moert.max_tokens` stand anywhere; the others are
    inputs, packed weights and outputs, in this order. The sizes of the packed weights are written to the interface. A function
    without weights gets an empty companion.

    ```mlir
    func.func @f(%x: memref<?x4xf32>, %y: memref<?x4xf32>, %arena: memref<?xi8> {moert.arena}) {
      return
    }
    ```
    becomes
    ```mlir
    func.func @f(%ctx: !llvm.ptr, %thread: i32, %threads: i32, %tokens: i64, %max_tokens: i64,
                 %inputs: !llvm.ptr, %outputs: !llvm.ptr, %packed: !llvm.ptr, %arena: !llvm.ptr) -> i32 {
      %0 = llvm.load %inputs : !llvm.ptr -> !llvm.ptr
      ...
      return %ok : i32
    }
    ```
    Refuses arguments and results that do not fit the interface.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def ConvertMoertToLLVMPass : Pass<"convert-moert-to-llvm", "::mlir::ModuleOp"> {
  let summary = "call the runtime through the table at the head of the context";
  let description = [{
    Phase: a step of the way to `lowered`, after `moe-lower-interface` and `convert-scf-to-cf`. Afterwards `moert.interface` is the
    only `moert` op.

    An entry point is loaded from the table that the context points to and called; the function returns the status at once where
    it is not 0. Buffers become pointers; other conversions to llvm resolve the casts that stay.

    ```mlir
    moert.team_barrier
    ```
    becomes
    ```mlir
      %entries = llvm.load %ctx : !llvm.ptr -> !llvm.ptr
      %entry = llvm.load %entries : !llvm.ptr -> !llvm.ptr
      %status = llvm.call %entry(%ctx) : !llvm.ptr, (!llvm.ptr) -> i32
      %failed = llvm.icmp "ne" %status, %zero : i32
      cf.cond_br %failed, ^end(%status : i32), ^go
    ^end(%code: i32):
      return %code : i32
    ^go:
    ```
    Refuses calls inside structured control flow and in functions without the runtime's signature.
  }];
  let dependentDialects = ["::mlir::cf::ControlFlowDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def PackWeightsPass : Pass<"moe-pack-weights", "::mlir::ModuleOp"> {
  let summary = "give weights the layout of the target's vector unit, and each function its prepare function";
  let description = [{
    Phase: `scheduled`, on memrefs; first step of the way to `lowered` on a CPU.

    Every weight argument of a function becomes one buffer of one dimension: the weights of `moe.grouped_matmul` and `moe.router_logits` in the
    panels of `#moe.panels`, the others (biases, the weight of `moe.token_gate`) as they are. Beside each function `@f` that has weights stands
    afterwards `@f_prepare(raw weights..., packed weights...)`, in the order of the arguments of `@f`; every thread of the team runs it. The attributes of
    a weight's argument move to the raw weight there.

    An argument is a weight when it carries `moe.weight` or `moe.slice`, or stands (possibly reshaped) as a weight or bias of one of our ops.
    bf16 weights stay bf16 where the rows that they meet are bf16, and become f32 where those are f32.

    ```mlir
    func.func @f(%x: memref<?x64xf32>, %w: memref<2x48x64xf32>, %n: index, %o: memref<3xi32>, %y: memref<?x48xf32>) {
      moe.grouped_matmul %x, %w rows(%n) offsets(%o) outs(%y) : ...
    ```
    becomes, for a unit of 8 lanes,
    ```mlir
    func.func @f(%x: memref<?x64xf32>, %w: memref<6144xf32>, %n: index, %o: memref<3xi32>, %y: memref<?x48xf32>) {
      moe.grouped_matmul %x, %w rows(%n) offsets(%o) packed(<groups = 2, parts = 1, columns = 48, depth = 64, width = 16>) outs(%y) : ...
    ```
    Refuses a weight that one op wants packed and another wants as it is, or in another layout, and a weight that is no argument.
  }];
  let options = [Option<"cpu", "cpu", "std::string", "\"native\"", "CPU whose vector unit is meant: native, x86-64-v3 or x86-64-v4">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::func::FuncDialect", "::moe::moert::MoertDialect"];
}

def ConvertMoeToKernelsPass : Pass<"convert-moe-to-kernels", "::mlir::ModuleOp"> {
  let summary = "turn moe ops on buffers into launches of device kernels, and generate these";
  let description = [{
    Phase: `scheduled`, on memrefs; first step of the way to `lowered` on a device. Afterwards no `moe` op remains in functions with a `moert.interface`:
    `moert.launch` of kernels that stand as `gpu.module`s beside them, in `hopper` ops; equal kernels are one. The module's `moert.kernels` says how each is launched.

    | op | kernels |
    |---|---|
    | `moe.grouped_matmul` | a few tiles, chosen by the host from the mean rows per group as the kernel table says; plain pointers where rows are gathered or are an input, tensor maps else |
    | `moe.sort` | one CTA for few pairs; count and place for many |
    | `moe.router_logits`, `moe.token_gate`, `moe.select_experts`, `moe.take`, `moe.counts`, `moe.regroup`, `moe.combine` | one each |
    | `moe.router_logits` with the `moe.select_experts` behind it | one for both |
    | `moe.sort` to `moe.combine` with all experts on this rank | one for all where there is one token, or a few where the kernel table says so, chosen by the host |
    | `memref.store` of a word | one that sets it |

    The kernel table holds what was measured on a machine (`machines/kernels/*.json`, docs/GpuCodegen.md); the built-in one is an H200's. For a weight that it does not have a
    remark says so, and general rules choose.

    With `variants` the program holds every kernel that is worth timing: each product, and the layer where one kernel can compute it, asks the runtime (`moert.variant`) which is
    wanted. The interface's `moert.variants` lists them. One rank alone.

    Weights get the form that kernels read: gate and up rows alternate in blocks of eight, rows and columns are padded with zeros to whole blocks of eight, and what has whole
    blocks of 64 rows and columns is stored in blocks of 8 x 64; biases become f32 in the order of the weight's rows. `@f_prepare` launches the kernels that do so. `@f_bind` fills the tensor maps, which stand on the arena and on packed
    weights alone. Memory that kernels need besides the planned buffers is appended to the arena.

    ```mlir
    moe.counts %o outs(%c) : (memref<9xi32>, memref<4x2xi32>) -> ()
    ```
    becomes
    ```mlir
    moert.launch 0 grid(%c1) (%o, %c : memref<9xi32>, memref<4x2xi32>)
    ```
    Refuses, with the nearest choice: other elements than bf16, hidden sizes that are no multiple of 8, routers and activations that no kernel computes, and ops that
    have none, such as dense leftovers.
  }];
  let options = [Option<"kernelTable", "kernel-table", "std::string", "", "file of measured kernels; empty: the built-in table">,
                 Option<"variants", "variants", "bool", "false", "generate all kernels that a table may choose; the caller chooses">];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
                           "::moe::hopper::HopperDialect", "::moe::moert::MoertDialect"];
}

def ConvertCopyToMoertPass : Pass<"convert-copy-to-moert", "::mlir::ModuleOp"> {
  let summary = "let the device copy what memref.copy copies";
  let description = [{
    Phase: a step of the way to `lowered` on a device. Requires dense rows on both sides.

    ```mlir
    memref.copy %a, %b : memref<?x64xbf16> to memref<?x64xbf16>
    ```
    becomes
    ```mlir
    moert.copy %a, %b : memref<?x64xbf16>, memref<?x64xbf16>
    ```
  }];
  let dependentDialects = ["::moe::moert::MoertDialect"];
}

def LowerBf16ToBitsPass : Pass<"moe-lower-bf16-to-bits", "::mlir::ModuleOp"> {
  let summary = "keep bf16 in memory as 16-bit integers";
  let description = [{
    The llvm dialect in, the llvm dialect out; arithmetic on bf16 has been expanded before (`arith-expand`). Replaces the type bf16 by i16, so that
    LLVM never legalizes a bf16 value, for which it calls library functions that a program does not have. Operands of intrinsics keep their type.

    ```mlir
    %v = llvm.load %p : !llvm.ptr -> bf16
    %b = llvm.bitcast %v : bf16 to i16
    ```
    becomes
    ```mlir
    %v = llvm.load %p : !llvm.ptr -> i16
    ```
    Masks of stores of 16-bit lanes pass through an empty piece of assembly: LLVM 22 stores 32 bits where it knows that one such lane is kept.

    Refuses bf16 arithmetic that is left.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def ConvertMoeToVectorPass : Pass<"convert-moe-to-vector", "::mlir::ModuleOp"> {
  let summary = "lower moe ops on memrefs to loops over vectors, shared by the threads of a team";
  let description = [{
    Phase: `scheduled`, on memrefs, weights packed (`moe-pack-weights`). Afterwards no `moe` op remains: `scf`, `arith`, `vector`, `memref`, and for
    the inner products `llvm`, all without library calls.

    Every thread of a rank's team runs the function. The work of an op is cut into items (panels of columns, or tiles of rows), of which thread t of n
    takes t, t + n, t + 2n ...; a `moert.team_barrier` follows the op. An element of the result is computed by one thread, K ascending, whatever
    the number of threads and of rows, so that its bits depend on neither.

    Refuses ops in value form, weights that are not packed and buffers whose layout is not the identity.
  }];
  let options = [Option<"cpu", "cpu", "std::string", "\"native\"", "CPU whose vector unit is meant: native, x86-64-v3 or x86-64-v4">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect", "::mlir::LLVM::LLVMDialect", "::moe::moert::MoertDialect"];
}

def ConvertShardToCollPass : Pass<"convert-shard-to-coll", "::mlir::ModuleOp"> {
  let summary = "turn upstream `shard` collectives into `coll`";
  let description = [{
    Phase: on the way to `sharded`, for programs that other tools have partitioned (`shard-partition`). Runs before any canonicalisation: most of the
    `shard` collectives are `Pure`, and `control-flow-sink` moves one into an `scf.if` that only some ranks enter. Afterwards `shard.grid` is the
    only `shard` op.

    A `shard` op cuts or joins a dimension of its own, `coll` stacks the members' blocks in a leading one: the dimension is split or merged around it.

    ```mlir
    %1 = shard.all_gather %0 on @grid grid_axes = [1] gather_axis = 0 : tensor<2x3xf32> -> tensor<8x3xf32>
    ```
    becomes
    ```mlir
    %a = coll.all_gather %0 on @grid axes [1] : (tensor<2x3xf32>) -> tensor<4x2x3xf32>
    %1 = tensor.collapse_shape %a [[0, 1], [2]] : tensor<4x2x3xf32> into tensor<8x3xf32>
    ```
    | shard | coll |
    |---|---|
    | `all_gather`, `all_to_all` | the same, with a transposition where the dimension is not the first |
    | `all_reduce`, `reduce_scatter` | the same, for sums; a narrower float is widened first |
    | `all_slice` | `coll.index` and `tensor.extract_slice`: no communication |
    | `send`, `recv` | the same, the peer's coordinates read as its number |
    | `process_linear_index`, `process_multi_index` | `coll.index` |
    | `grid_shape` | constants |

    Refuses, by name: reductions other than sums, `broadcast`, `gather`, `reduce`, `scatter` (they have a root), `shift`, `recv` from any member,
    axes of unknown size, and annotations of programs that are not partitioned yet.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
                           "::moe::coll::CollDialect"];
}
#endif
