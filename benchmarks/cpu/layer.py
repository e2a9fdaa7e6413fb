"""Our layer through libmoert, and the machine's limits, by ctypes."""
import ctypes
import os

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, ".work")
BIN = os.environ.get("MOE_BIN", os.path.join(HERE, "../../build/release/bin"))
NAMES = {torch.float32: b"f32", torch.bfloat16: b"bf16", torch.int32: b"i32"}


class Options(ctypes.Structure):
    """moert_session_options."""
    _fields_ = [("size", ctypes.c_size_t), ("function", ctypes.c_char_p), ("communicator", ctypes.c_char_p), ("max_tokens", ctypes.c_int64),
                ("threads", ctypes.c_int32), ("check_replicas", ctypes.c_int32), ("timeout_seconds", ctypes.c_double),
                ("log", ctypes.c_void_p), ("log_user", ctypes.c_void_p)]


class Tensor(ctypes.Structure):
    """moert_tensor; the torch tensor must outlive it."""
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_char_p), ("shape", ctypes.POINTER(ctypes.c_int64)), ("rank", ctypes.c_int32),
                ("data", ctypes.c_void_p)]


def tensors(**named):
    made = (Tensor * len(named))()
    for place, (name, tensor) in zip(made, named.items()):
        assert tensor.is_contiguous()
        shape = (ctypes.c_int64 * tensor.dim())(*tensor.shape)
        place.name, place.dtype, place.shape, place.rank, place.data = name.encode(), NAMES[tensor.dtype], shape, tensor.dim(), tensor.data_ptr()
    return made


class Layer:
    def __init__(self, artifact, threads, max_tokens, up, down):
        self.moert = ctypes.CDLL(os.path.join(BIN, "../lib/libmoert.so"))
        self.moert.moert_last_message.restype = ctypes.c_char_p
        handle, options, self.session = ctypes.c_void_p(), Options(), ctypes.c_void_p()
        self.moert.moert_session_options_init(ctypes.byref(options))
        options.max_tokens, options.threads = max_tokens, threads
        self.check(self.moert.moert_artifact_open(artifact.encode(), ctypes.byref(handle)))
        self.check(self.moert.moert_session_open(handle, ctypes.byref(options), ctypes.byref(self.session)))
        self.check(self.moert.moert_session_set_weights(self.session, tensors(up=up, down=down), ctypes.c_size_t(2)))

    def check(self, status):
        if status:
            raise RuntimeError(self.moert.moert_last_message().decode())

    def bind(self, x, ids, weights):
        """A call on these tensors, and its output."""
        y = torch.empty_like(x)
        held = ids.int(), weights.float()
        given, taken = tensors(x=x, expert_ids=held[0], expert_weights=held[1]), tensors(y=y)

        def call(held=held):
            self.check(self.moert.moert_session_run(self.session, given, ctypes.c_size_t(3), taken, ctypes.c_size_t(1)))
            return y
        return call


class Limits:
    def __init__(self, threads):
        self.threads, self.library = threads, ctypes.CDLL(os.path.join(WORK, "limits.so"))
        self.library.limit.restype, self.library.limit.argtypes = ctypes.c_double, [ctypes.c_int, ctypes.c_int, ctypes.c_size_t]

    def bandwidth(self):
        return self.library.limit(0, self.threads, 512 << 20)

    def flops(self, dtype):
        return self.library.limit(1 if dtype == "f32" else 2, self.threads, 1000000)
