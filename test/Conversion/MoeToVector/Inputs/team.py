"""Runs compiled functions on a team of threads, with an entry table of its own: barriers, failures, a record of collectives.

A function under test is `func.func @f(%ctx: !llvm.ptr, %thread: i32, %threads: i32, buffers and indices...) -> i32`."""

import ctypes
import os
import re
import threading

import numpy as np
from compiled import Module, descriptor

CONTEXT = "%ctx: !llvm.ptr, %thread: i32, %threads: i32"
PASSES = ["--convert-coll-to-moert", "--moe-expand-copies", "--moe-lower-interface", "--expand-strided-metadata", "--lower-affine",
          "--canonicalize", "--cse", "--convert-scf-to-cf", "--convert-moert-to-llvm", "--moe-vector-to-llvm"]

# Parameter kinds after the context, in the order of entry_points.def: i int32, l int64, p pointer.
ENTRIES = {"team_barrier": "", "fail": "ill", "all_reduce": "iippl", "all_gather": "iippl", "reduce_scatter": "iippl", "all_to_all": "iippl",
           "all_gather_v": "iilpppl", "reduce_scatter_v": "iilpppl", "all_to_all_v": "iilppppl", "send": "iiipl", "recv": "iiipl"}
KINDS = {"i": ctypes.c_int32, "l": ctypes.c_int64, "p": ctypes.c_void_p}
FAILED = 5


def compile_program(text, folder, cpu="x86-64-v3"):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "program")
    vector = Module.run("moe-opt", "-", f"--convert-moe-to-vector=cpu={cpu}", text=text)
    lowered = Module.run("moe-opt", "-", *PASSES, text=vector)
    # What only the artifact's manifest is made from.
    lowered = re.sub(r"\n *(moert\.interface|shard\.grid) [^\n]*", "", lowered)
    with open(path + ".ll", "w") as file:
        file.write(Module.run("mlir-translate", "--mlir-to-llvmir", text=re.sub(r"moert\.groups = \[.*\]", "", lowered)))
    Module.run("clang", f"-march={cpu}", "-O2", "-fPIC", "-Wno-override-module", "-c", path + ".ll", "-o", path + ".o")
    undefined = Module.run("llvm-nm", "--undefined-only", "--just-symbol-name", path + ".o").split()
    assert not undefined, f"undefined symbols: {undefined}"
    Module.run("clang", "-shared", "-nostdlib", "-fuse-ld=lld", path + ".o", "-o", path + ".so")
    return ctypes.CDLL(path + ".so")


class Team:
    """One rank: `threads` threads, its coordinates, and what its program called."""

    def __init__(self, threads=1, coordinates=(0, 0, 0), collective=None):
        self.threads, self.collective = threads, collective
        self.failures, self.calls, self.barriers = [], [], 0
        self.barrier = threading.Barrier(threads, action=self.count)
        self.callbacks = [self.entry(name, kinds) for name, kinds in ENTRIES.items()]
        self.table = (ctypes.c_void_p * len(self.callbacks))(*(ctypes.cast(c, ctypes.c_void_p) for c in self.callbacks))
        self.coordinates = (ctypes.c_int64 * len(coordinates))(*coordinates)
        self.context = (ctypes.c_void_p * 2)(ctypes.addressof(self.table), ctypes.addressof(self.coordinates))

    def count(self):
        self.barriers += 1

    def entry(self, name, kinds):
        def called(context, *arguments):
            if name == "team_barrier":
                return self.wait()
            if name == "fail":
                self.failures.append(arguments)
                self.barrier.abort()
                return FAILED
            self.calls.append((name, *arguments))
            return self.collective(name, *arguments) if self.collective else 0

        return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *(KINDS[kind] for kind in kinds))(called)

    def wait(self):
        try:
            self.barrier.wait()
            return 0
        except threading.BrokenBarrierError:
            return FAILED

    def run(self, function, *arguments):
        """Calls `function` on every thread; the threads' statuses."""
        function.restype = ctypes.c_int32
        status = [None] * self.threads

        def work(thread):
            status[thread] = function(ctypes.byref(self.context), ctypes.c_int32(thread), ctypes.c_int32(self.threads), *arguments)

        workers = [threading.Thread(target=work, args=(thread,)) for thread in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return status


def call(library, name, *arguments, threads=1):
    """Runs @name on arrays (memrefs) and integers (index); the team after it, which has succeeded or failed as a whole."""
    held = [descriptor(a) if isinstance(a, np.ndarray) else ctypes.c_int64(a) for a in arguments]
    team = Team(threads)
    status = team.run(getattr(library, "_mlir_ciface_" + name), *held)
    assert all(s == (FAILED if team.failures else 0) for s in status), (name, status, team.failures)
    return team
