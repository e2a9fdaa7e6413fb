"""Compiled artifacts as a peer of a layer benchmark: what users of libmoert get, through its C interface, in the caller's stream.

The benchmark gives layers (name, E, k, H, I, w1 [E, 2 I, H] gate rows first, w2 [E, H, I]) and inputs (x, ids, w, R), and expects classes with name,
wanted, setup, case. MOE_ARTIFACTS is the folder that artifacts.py wrote, MOERT_LIBRARY is libmoert.so.
"""
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples"))
from problems_fp8 import quantize_weights  # noqa: E402
from torch_layer import CompiledLayer  # noqa: E402

MOST_TOKENS = 32768  # of a rank, over all cases


class Case:
    def __init__(self, layer, out):
        self.fns_layer, self.fns_gemm, self.out, self.note, self.graph = layer, None, out, "", True


class Artifacts:
    """The artifact chooses its kernels itself, by the number of tokens alone."""
    name = "moe_mlir"

    def path(self, layer):
        return os.path.join(os.environ["MOE_ARTIFACTS"], layer.name + ".moe")

    def wanted(self, layer, tokens, routing):
        return os.path.exists(self.path(layer))

    def setup(self, layer):
        self.compiled = CompiledLayer(os.environ.get("MOERT_LIBRARY", "libmoert.so"), self.path(layer), MOST_TOKENS)
        self.compiled.set_weights(up=layer.w1.view(layer.E, 2, layer.I, layer.H), down=layer.w2)

    def teardown(self):
        self.compiled.close()

    def case(self, layer, inputs):
        outs = [torch.full((i.R, layer.H), float("nan"), device="cuda", dtype=torch.bfloat16) for i in inputs]
        runs = [self.compiled.bind({"x": i.x, "expert_ids": i.ids, "expert_weights": i.w}, {"y": out}) for i, out in zip(inputs, outs)]
        runs[0]()
        self.compiled.wait()  # complaints come here; later calls are captured
        outs[0].fill_(float("nan"))
        return Case(runs, lambda i: outs[i])


class ArtifactsFp8(Artifacts):
    """Artifacts of artifacts.py --fp8, weights quantised here."""
    name = "moe_mlir_fp8"

    def setup(self, layer):
        self.compiled = CompiledLayer(os.environ.get("MOERT_LIBRARY", "libmoert.so"), self.path(layer), MOST_TOKENS)
        up, up_scale = quantize_weights(layer.w1.view(layer.E, 2, layer.I, layer.H))
        down, down_scale = quantize_weights(layer.w2.view(layer.E, 1, layer.H, layer.I))
        self.compiled.set_weights(up=up, up_scale=up_scale, down=down.squeeze(1), down_scale=down_scale.squeeze(1))


PEERS = [Artifacts, ArtifactsFp8]
