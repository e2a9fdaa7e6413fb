"""Generates a kernel, turns it into host code and runs it under a driver.

    clang++ -std=c++20 -O1 -c DRIVER.cpp -o DRIVER.o
    python3 emulate.py DRIVER.o KERNEL key=value... -- key=value...

Settings before -- are the kernel's, those after it the driver's; it gets both, and the number of threads.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

CALLS = {
    "read.ptx.sreg.tid.x": "tid",
    "read.ptx.sreg.ctaid.x": "ctaid",
    "read.ptx.sreg.nctaid.x": "nctaid",
    "bar.warp.sync": "warpsync",
    "barrier.cta.sync.aligned.all": "barrier_all",
    "barrier.cta.sync.aligned.count": "barrier_count",
    "cp.async.cg.shared.global.16.s": "cp_async",
    "cp.async.ca.shared.global.4": "cp_async_word",
    "cp.async.cg.shared.global.16": "cp_async_line",
    "cp.async.commit.group": "commit",
    "cp.async.wait.group": "wait_group",
    "ff.to.e4m3x2.rn": "to_e4m3_pair",
    "ff2bf16x2.rn": "to_bf16_pair",
    "griddepcontrol.launch.dependents": "griddepcontrol",
    "griddepcontrol.wait": "griddepcontrol",
    "match.any.sync.i32": "match_any",
    "mma.m16n8k16.row.col.bf16": "mma",
    "mma.m16n8k16.row.col.f32.f32": "mma16",
    "e4m3x2.to.f16x2.rn": "from_e4m3_pair",
    "nanosleep": "nanosleep",
    "rcp.approx.ftz.f": "rcp",
    "redux.sync.or": "redux_or",
    "vote.ballot.sync": "ballot",
}
for kind in ("bfly", "up", "idx"):
    for suffix in ("i32", "f32"):
        CALLS[f"shfl.sync.{kind}.{suffix}"] = f"shfl_{kind}_{suffix}"
ASSEMBLY = {
    "ex2.approx.ftz.f32": ("ex2", "float", "float"),
    "atom.relaxed.gpu.global.add.u64": ("add64", "i64", "ptr, i64"),
    "atom.acq_rel.gpu.global.add.u32 $0, [$1], 1;": ("count32", "i32", "ptr"),
    "atom.relaxed.gpu.global.add.u32 $0, [$1], 1;": ("count32", "i32", "ptr"),
    "red.release.gpu.global.add.u64": ("reduce64", "void", "ptr, i64"),
    "fence.acq_rel.gpu": ("fence", "void", ""),
    "ld.acquire.gpu.global.u64": ("load64", "i64", "ptr"),
}
# The struct comes back in four registers in IR, in two in C.
PRODUCT = """
declare void @emulate_NAME_into(ptr, i32, i32, i32, i32, i32, i32, float, float, float, float)
define { float, float, float, float } @emulate_NAME(TYPE %va, TYPE %vb, TYPE %vc, TYPE %vd, TYPE %ve, TYPE %vf, float %g, float %h, float %i, float %j) noinline {
  %a = bitcast TYPE %va to i32
  %b = bitcast TYPE %vb to i32
  %c = bitcast TYPE %vc to i32
  %d = bitcast TYPE %vd to i32
  %e = bitcast TYPE %ve to i32
  %f = bitcast TYPE %vf to i32
  %p = alloca { float, float, float, float }
  call void @emulate_NAME_into(ptr %p, i32 %a, i32 %b, i32 %c, i32 %d, i32 %e, i32 %f, float %g, float %h, float %i, float %j)
  %r = load { float, float, float, float }, ptr %p
  ret { float, float, float, float } %r
}
"""
# The first value stands in the upper half; to nearest, ties to even.
PAIR = """
define i32 @emulate_to_bf16(float %value) noinline {
  %bits = bitcast float %value to i32
  %up = lshr i32 %bits, 16
  %odd = and i32 %up, 1
  %half = add i32 %odd, 32767
  %sum = add i32 %bits, %half
  %r = lshr i32 %sum, 16
  ret i32 %r
}
define <2 x bfloat> @emulate_to_bf16_pair(float %a, float %b) noinline {
  %high = call i32 @emulate_to_bf16(float %a)
  %low = call i32 @emulate_to_bf16(float %b)
  %shifted = shl i32 %high, 16
  %both = or i32 %shifted, %low
  %r = bitcast i32 %both to <2 x bfloat>
  ret <2 x bfloat> %r
}
"""
# Two halves as the word that they are.
HALVES = """
declare i32 @emulate_from_e4m3(i16)
define <2 x half> @emulate_from_e4m3_pair(i16 %codes) noinline {
  %word = call i32 @emulate_from_e4m3(i16 %codes)
  %r = bitcast i32 %word to <2 x half>
  ret <2 x half> %r
}
"""

DEFINED = {
    "mma": PRODUCT.replace("NAME", "mma").replace("TYPE", "i32"),
    "mma16": PRODUCT.replace("NAME", "mma16").replace("TYPE", "<2 x half>"),
    "to_bf16_pair": PAIR,
    "from_e4m3_pair": HALVES,
}


def to_host(text):
    """LLVM IR for the device as IR for the host."""
    text = text.replace("ptx_kernel ", "")
    for name, call in CALLS.items():
        text = text.replace(f"@llvm.nvvm.{name}(", f"@emulate_{call}(")
    used = set()

    def replace(match):
        for name, (call, result, parameters) in ASSEMBLY.items():
            if name in match.group(0):
                if result:
                    used.add(f"declare {result} @emulate_{call}({parameters})")
                return "@emulate_" + call
        raise SystemExit("unknown assembly: " + match.group(0))

    text = re.sub(r'asm (?:sideeffect )?"[^"]*", "[^"]*"', replace, text)
    text = re.sub(r" addrspace\([13]\)", "", text)
    text = re.sub(r"addrspacecast ptr (%\d+) to ptr$", r"getelementptr i8, ptr \1, i64 0", text, flags=re.M)
    text = re.sub(r" #\d+", "", text)
    text = re.sub(r"^attributes.*$|\bimmarg\b", "", text, flags=re.M)
    text = re.sub(r"noundef range\([^)]*\) ", "", text)
    # Two intrinsics that have become one must not be declared twice.
    lines, seen = [], set()
    for line in text.split("\n"):
        if line.startswith("declare") and (any(f"@emulate_{name}(" in line for name in DEFINED) or line in seen):
            continue
        seen.add(line)
        lines.append(line)
    text = "\n".join(lines + sorted(used)) + "\n"
    for name, definition in DEFINED.items():
        if f"@emulate_{name}(" in text:
            text += definition
    unknown = re.search(r"@llvm\.nvvm[\w.]*", text)
    if unknown:
        raise SystemExit("unknown intrinsic: " + unknown.group(0))
    return text


def shim(interface):
    """A function that calls the kernel with the driver's arrays."""
    kinds = [{"integer": "int", "integer64": "long"}.get(p["kind"], "void *") for p in interface["parameters"]]
    values = [f'emulated{"Array" if kind == "void *" else "Integer"}("{p["name"]}")' for kind, p in zip(kinds, interface["parameters"])]
    name = interface["name"]
    return (f'extern "C" {{\nvoid {name}({", ".join(kinds)});\nvoid *emulatedArray(const char *);\nint emulatedInteger(const char *);\n'
            f'void callKernel() {{ {name}({", ".join(values)}); }}\n}}\n')


def main():
    driver, kernel, *rest = sys.argv[1:]
    split = rest.index("--")
    settings, run = rest[:split], rest[split + 1:]

    def generate(what):
        command = ["moe-test-kernels", kernel, *settings, "emit=" + what]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    text, interface = generate("llvm"), json.loads(generate("interface"))
    begin = text.index("{", text.index("features", text.index("gpu.module")))
    inner = text[begin + 1:text.rindex("}", 0, text.rindex("}"))]
    command = ["mlir-translate", "--mlir-to-llvmir"]
    device = subprocess.run(command, input="module {" + inner + "}", check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        with open(path("kernel.ll"), "w") as file:
            file.write(to_host(device))
        with open(path("shim.cpp"), "w") as file:
            file.write(shim(interface))
        subprocess.run(["clang++", "-O1", "-w", path("shim.cpp"), path("kernel.ll"), driver, "-o", path("run")],
                       check=True)
        command = [path("run"), *settings, *run, f"threads={interface['threads']}"]
        return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
