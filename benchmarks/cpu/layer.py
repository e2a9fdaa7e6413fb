"""Our layer through libmoert, and the machine's limits, by ctypes."""
import ctypes
import os
import statistics
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, ".work")
BIN = os.environ.get("MOE_BIN", os.path.join(HERE, "../../build/release/bin"))
sys.path.insert(0, os.path.join(HERE, "../../examples"))
from torch_layer import Options, describe  # noqa: E402


class Layer:
    def __init__(self, artifact, threads, max_tokens, up, down):
        self.moert = ctypes.CDLL(os.path.join(BIN, "../lib/libmoert.so"))
        self.moert.moert_last_message.restype = ctypes.c_char_p
        handle, options, self.session = ctypes.c_void_p(), Options(), ctypes.c_void_p()
        self.moert.moert_session_options_init(ctypes.byref(options))
        options.max_tokens, options.threads = max_tokens, threads
        self.check(self.moert.moert_artifact_open(artifact.encode(), ctypes.byref(handle)))
        self.check(self.moert.moert_session_open(handle, ctypes.byref(options), ctypes.byref(self.session)))
        self.check(self.moert.moert_session_set_weights(self.session, describe({"up": up, "down": down}), ctypes.c_size_t(2)))

    def check(self, status):
        if status:
            raise RuntimeError(self.moert.moert_last_message().decode())

    def bind(self, x, ids, weights):
        """A call on these tensors, and its output."""
        y = torch.empty_like(x)
        held = ids.int(), weights.float()
        given, taken = describe({"x": x, "expert_ids": held[0], "expert_weights": held[1]}), describe({"y": y})

        def call(held=held):
            self.check(self.moert.moert_session_run(self.session, given, ctypes.c_size_t(3), taken, ctypes.c_size_t(1)))
            return y
        return call


class Limits:
    WAYS = {"asked for ahead": 0, "left to the processor": 3}
    PIECE, MOST = 128 << 20, 384 << 20  # bytes; less than the buffer that is read

    def __init__(self, threads):
        self.threads, self.library, self.way = threads, ctypes.CDLL(os.path.join(WORK, "limits.so")), "asked for ahead"
        self.library.limit.restype, self.library.limit.argtypes = ctypes.c_double, [ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
        self.bandwidth()

    def choose_way(self):
        """To read: the faster one."""
        tries = {way: [self.limit(kind, self.PIECE) for _ in range(9)] for way, kind in self.WAYS.items()}
        self.way = max(tries, key=lambda way: statistics.median(tries[way]))

    def limit(self, kind, amount):
        return self.library.limit(kind, self.threads, amount)

    def bandwidth(self, amount=PIECE):
        return self.limit(self.WAYS[self.way], min(amount, self.MOST))

    def flops(self, dtype):
        return self.limit(1 if dtype == "f32" else 2, 1000000)
