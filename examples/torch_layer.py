"""Runs a compiled layer on torch tensors, in torch's own stream, with nothing but ctypes; compares it with transformers' block.

    moe-import CHECKPOINT --layer=0 --dtype=bf16 -o layer.mlir
    moe-opt layer.mlir --place=ranks=1 --target=cuda --compile-to=artifact -o layer.moe
    python torch_layer.py libmoert.so layer.moe CHECKPOINT

Says what is missing, and ends well, where there is no torch, no transformers or no GPU.
"""
import ctypes
import json
import sys

try:
    import torch
except ImportError:
    torch = None


class Options(ctypes.Structure):
    """moert_session_options."""
    _fields_ = [("size", ctypes.c_size_t), ("function", ctypes.c_char_p), ("communicator", ctypes.c_char_p), ("max_tokens", ctypes.c_int64),
                ("threads", ctypes.c_int32), ("check_replicas", ctypes.c_int32), ("timeout_seconds", ctypes.c_double),
                ("log", ctypes.c_void_p), ("log_user", ctypes.c_void_p), ("devices", ctypes.c_void_p), ("device_count", ctypes.c_size_t)]


class Tensor(ctypes.Structure):
    """moert_tensor."""
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_char_p), ("shape", ctypes.POINTER(ctypes.c_int64)), ("rank", ctypes.c_int32),
                ("data", ctypes.c_void_p)]


def describe(tensors):
    """An array of moert_tensor that borrows the memory of a dict of torch tensors."""
    names = {torch.float32: b"f32", torch.bfloat16: b"bf16", torch.float16: b"f16", torch.int32: b"i32", torch.int64: b"i64",
             torch.float8_e4m3fn: b"f8E4M3FN"}
    array = (Tensor * len(tensors))()
    for slot, (name, tensor) in zip(array, tensors.items()):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} has strides {tensor.stride()}, a contiguous tensor is expected")
        slot.name, slot.dtype, slot.rank, slot.data = name.encode(), names[tensor.dtype], tensor.dim(), tensor.data_ptr()
        slot.shape = (ctypes.c_int64 * tensor.dim())(*tensor.shape)
    return array


class CompiledLayer:
    """A session of one artifact for a GPU."""

    def __init__(self, library, artifact, max_tokens):
        self.moert = ctypes.CDLL(library)
        self.moert.moert_last_message.restype = ctypes.c_char_p
        self.moert.moert_artifact_manifest.restype = ctypes.c_char_p
        self.session, handle, options = ctypes.c_void_p(), ctypes.c_void_p(), Options()
        self.moert.moert_session_options_init(ctypes.byref(options))
        options.max_tokens = max_tokens
        torch.zeros(1, device="cuda")  # makes the device's context, which both use
        self.check(self.moert.moert_artifact_open(artifact.encode(), ctypes.byref(handle)))
        try:
            self.function = json.loads(self.moert.moert_artifact_manifest(handle))["functions"][0]
            self.check(self.moert.moert_session_open(handle, ctypes.byref(options), ctypes.byref(self.session)))
        finally:
            self.moert.moert_artifact_close(handle)  # the session keeps what it needs

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.moert.moert_last_message().decode())

    def load_weights(self, checkpoint):
        self.check(self.moert.moert_session_load_weights(self.session, checkpoint.encode()))

    def set_weights(self, **weights):
        """Packs weights that are on the GPU, in the manifest's shapes."""
        torch.cuda.synchronize()  # the session reads them in a stream of its own
        self.check(self.moert.moert_session_set_weights(self.session, describe(weights), ctypes.c_size_t(len(weights))))

    def bind(self, inputs, outputs):
        """A function that puts one run on these tensors into torch's current stream; it may be captured into a CUDA graph after one call outside."""
        given, wanted = describe(inputs), describe(outputs)

        def run():
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            self.check(self.moert.moert_session_enqueue(self.session, stream, given, ctypes.c_size_t(len(given)), wanted, ctypes.c_size_t(len(wanted))))
            return outputs
        run.keep = inputs, outputs
        return run

    def __call__(self, **inputs):
        tokens = next(iter(inputs.values())).shape[0]
        types = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "i32": torch.int32, "i64": torch.int64}
        outputs = {o["name"]: torch.empty([tokens, *o["shape"][1:]], dtype=types[o["dtype"]], device="cuda") for o in self.function["outputs"]}
        return self.bind(inputs, outputs)()

    def wait(self):
        """Waits for all runs, and raises what kernels complained of."""
        self.check(self.moert.moert_session_wait(self.session))

    def close(self):
        self.moert.moert_session_close(self.session)


def no_device():
    if torch is None:
        return "there is no torch"
    return "" if torch.cuda.is_available() else "there is no GPU"


def missing():
    if no_device():
        return no_device()
    try:
        import transformers  # noqa: F401
    except ImportError:
        return "there is no transformers"
    return ""


def compare(name, got, want):
    """Rounding may make two experts change places for a token: such tokens are counted, and few."""
    error = (got.float() - want.float()).abs().amax(1) / want.float().abs().max()
    same = error < 2e-2
    print(f"{name}: {int(same.sum())} of {len(got)} tokens agree with transformers to {error[same].max().item():.1e} of the largest output")
    return same.float().mean().item() >= 0.9


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: torch_layer.py libmoert.so layer.moe CHECKPOINT")
    library, artifact, checkpoint = sys.argv[1:]
    if missing():
        print(f"torch_layer: skipped, {missing()}")
        return 0
    from transformers import AutoModelForCausalLM
    layer = CompiledLayer(library, artifact, max_tokens=256)
    layer.load_weights(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16).cuda()
    block = model.model.layers[layer.function["layer"]].mlp
    torch.manual_seed(0)
    good = True
    for tokens in (1, 16, 256):
        x = torch.randn(tokens, model.config.hidden_size, dtype=torch.bfloat16, device="cuda")
        with torch.no_grad():
            want = block(x[None])
        want = (want[0] if isinstance(want, tuple) else want)[0]
        good &= compare(f"{tokens} tokens", layer(x=x)["y"], want)
        layer.wait()
    # The same in a CUDA graph, on inputs that change between replays.
    inputs = {"x": torch.zeros_like(x)}
    outputs = {"y": torch.empty_like(x)}
    run = layer.bind(inputs, outputs)
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    inputs["x"].copy_(x)
    graph.replay()
    good &= compare("256 tokens in a CUDA graph", outputs["y"], want)
    layer.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
