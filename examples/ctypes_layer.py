"""Runs a compiled layer from Python with nothing but ctypes and numpy: python ctypes_layer.py libmoert.so layer.moe checkpoint TOKENS WIDTH [FUNCTION].
Sessions of one artifact run in threads of their own, at the same time."""
import ctypes
import sys
import threading

import numpy as np


class Options(ctypes.Structure):
    """moert_session_options."""
    _fields_ = [("size", ctypes.c_size_t), ("function", ctypes.c_char_p), ("communicator", ctypes.c_char_p), ("max_tokens", ctypes.c_int64),
                ("threads", ctypes.c_int32), ("check_replicas", ctypes.c_int32), ("timeout_seconds", ctypes.c_double),
                ("log", ctypes.c_void_p), ("log_user", ctypes.c_void_p), ("devices", ctypes.c_void_p), ("device_count", ctypes.c_size_t)]


class Tensor(ctypes.Structure):
    """moert_tensor."""
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_char_p), ("shape", ctypes.POINTER(ctypes.c_int64)), ("rank", ctypes.c_int32),
                ("data", ctypes.c_void_p)]

    @staticmethod
    def of(name, array):
        """Borrows the array's memory, which must outlive the call."""
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        return Tensor(name, {"float32": b"f32", "int32": b"i32"}[array.dtype.name], shape, array.ndim, array.ctypes.data)


class Layer:
    def __init__(self, library, artifact, checkpoint, max_tokens, function=None):
        """`function` is left out where the artifact has only one."""
        self.moert = ctypes.CDLL(library)
        self.moert.moert_last_message.restype = ctypes.c_char_p
        self.session, handle, options = ctypes.c_void_p(), ctypes.c_void_p(), Options()
        self.moert.moert_session_options_init(ctypes.byref(options))
        options.function, options.max_tokens, options.threads = function, max_tokens, 1
        self.check(self.moert.moert_artifact_open(artifact.encode(), ctypes.byref(handle)))
        try:
            self.check(self.moert.moert_session_open(handle, ctypes.byref(options), ctypes.byref(self.session)))
        finally:
            self.moert.moert_artifact_close(handle)  # the session keeps what it needs
        self.check(self.moert.moert_session_load_weights(self.session, checkpoint.encode()))

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.moert.moert_last_message().decode())

    def run(self, x):
        y = np.empty_like(x)
        self.check(self.moert.moert_session_run(self.session, ctypes.byref(Tensor.of(b"x", x)), ctypes.c_size_t(1),
                                                ctypes.byref(Tensor.of(b"y", y)), ctypes.c_size_t(1)))
        return y

    def close(self):
        self.moert.moert_session_close(self.session)


def main():
    if len(sys.argv) not in (6, 7):
        sys.exit("usage: ctypes_layer.py libmoert.so layer.moe checkpoint TOKENS WIDTH [FUNCTION]")
    library, artifact, checkpoint, tokens, width, *function = sys.argv[1:]
    layers = [Layer(library, artifact, checkpoint, int(tokens), *(name.encode() for name in function)) for _ in range(3)]
    results = [None] * len(layers)

    def work(i):
        x = np.full((int(tokens), int(width)), i + 1, np.float32)
        for _ in range(20):
            results[i] = layers[i].run(x)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(layers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for layer in layers:
        layer.close()
    for result in results:
        print(*(f"{value:g}" for value in result[0]))


if __name__ == "__main__":
    main()
