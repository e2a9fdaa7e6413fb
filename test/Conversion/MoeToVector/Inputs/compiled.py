"""Compiles MLIR in buffer form to a shared object and calls its functions on numpy arrays, thread by thread."""

import ctypes
import os
import re
import subprocess

import numpy as np


def to_bf16(array):
    """Rounds f32 to bf16 (nearest, ties to even), as uint16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(array), ((bits >> 16) | 0x40).astype(np.uint16), rounded)


def from_bf16(array):
    return (array.astype(np.uint32) << 16).view(np.float32)


def descriptor(array):
    """A memref descriptor of rank array.ndim, by reference."""
    rank = array.ndim
    fields = [array.ctypes.data, array.ctypes.data, 0, *array.shape, *(s // array.itemsize for s in array.strides)]
    return (ctypes.c_int64 * (3 + 2 * rank))(*fields)


class Module:
    """The functions of one MLIR module; `folder` takes intermediate files.

    Code for `cpu` (a level, or a level and "+feature"s) runs on a machine of level `machine`: where that is lower, LLVM splits the vectors, and the
    empty assembly that holds one in a register gives way.
    """

    def __init__(self, text, folder, cpu="x86-64-v3", machine=None, load=True):
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "module")
        vector = self.run("moe-opt", "-", f"--moe-pack-weights=cpu={cpu}", f"--convert-moe-to-vector=cpu={cpu}", text=text)
        lowered = self.run("moe-opt", "-", "--moe-vector-to-llvm", text=self.with_team(vector))
        ir = self.run("mlir-translate", "--mlir-to-llvmir", text=lowered)
        if machine:
            ir = re.sub(r"= call (<[^>]*>) asm[^(]*\(<[^>]*> (%?\w+)\)", r"= freeze \1 \2", ir)
        with open(path + ".ll", "w") as file:
            file.write(ir)
        level, *features = (machine or cpu.split(":")[0]).split("+")
        flags = [f"-march={level}", *(f"-m{feature}" for feature in features), "-O3", "-fno-builtin", "-fPIC", "-Wno-override-module"]
        self.run("clang", *flags, "-S", path + ".ll", "-o", path + ".s")
        self.run("clang", "-c", path + ".s", "-o", path + ".o")
        undefined = self.run("llvm-nm", "--undefined-only", "--just-symbol-name", path + ".o").split()
        assert not undefined, f"undefined symbols: {undefined}"
        self.run("clang", "-shared", "-nostdlib", "-fuse-ld=lld", path + ".o", "-o", path + ".so")
        self.assembly = path + ".s"
        self.library = ctypes.CDLL(path + ".so") if load else None
        self.vector = vector

    @staticmethod
    def run(*command, text=None):
        result = subprocess.run(command, input=text, capture_output=True, text=True)
        assert result.returncode == 0, f"{' '.join(command)}: {result.stderr[-4000:]}"
        return result.stdout

    @staticmethod
    def with_team(text):
        """Makes the team an argument of each function: (thread, threads, ...). One thread after the other needs no barrier."""
        text = re.sub(r"(func\.func @\w+\()", r"\1%thread: index, %threads: index, ", text)
        text = re.sub(r"(func\.func .*\)) \{\n", r"\1 attributes {llvm.emit_c_interface} {\n", text)
        text = re.sub(r"moert\.(threads?) : index", r"arith.maxui %\1, %\1 : index", text)
        return re.sub(r"\n *moert\.team_barrier\n", "\n", text)

    def call(self, name, *arguments, threads=1):
        """Arrays go as memrefs, integers as index."""
        function = getattr(self.library, "_mlir_ciface_" + name)
        function.restype = None
        held = [descriptor(a) if isinstance(a, np.ndarray) else ctypes.c_int64(a) for a in arguments]
        for thread in range(threads):
            function(ctypes.c_int64(thread), ctypes.c_int64(threads), *held)

    def packed_sizes(self, name):
        """Elements of the packed buffers of @name_prepare."""
        line = re.search(rf"func\.func @{name}_prepare\((.*)\)", self.vector).group(1)
        kinds = re.findall(r"memref<([^>]*)>", line)
        return [(int(kind.split("x")[0]), kind.split("x")[-1]) for kind in kinds[len(kinds) // 2:]]

    def pack(self, name, *raw, threads=1):
        packed = []
        for size, kind in self.packed_sizes(name):
            dtype = np.float32 if kind == "f32" else np.uint16
            space = np.full(size + 64, 7, dtype)  # what is not written is not zero
            start = (-space.ctypes.data % 64) // space.itemsize
            packed.append(space[start:start + size])
        self.call(name + "_prepare", *raw, *packed, threads=threads)
        return packed
