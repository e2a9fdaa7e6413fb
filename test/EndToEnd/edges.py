"""Inputs and checkpoints that transformers gives no numbers for. Each case is a name, tokens, and a change of the router's weights."""
import os
import shutil

import numpy as np

import safetensors
from layouts import Layout

# Where edge cases run: alone, over experts, mixed with parts of experts, with replicas and tokens on every rank.
LAYOUTS = [Layout(1, 1, 1), Layout(1, 8, 1), Layout(1, 4, 2, "all_gather"), Layout(2, 2, 1, "all_to_all", "replicated"), Layout(2, 2, 2)]


def gate_name(family, layer):
    names = {"mixtral": "block_sparse_moe.gate.weight", "gpt_oss": "mlp.router.weight"}
    return f"model.layers.{layer}." + names.get(family, "mlp.gate.weight")


def ties(gate):
    """Groups of three experts with the same scores, so that a choice of 2, 4 or 8 cuts through one."""
    for e in range(len(gate)):
        gate[e] = gate[e - e % 3]


def all_ties(gate):
    gate[:] = 0


def infinite(gate):
    """The logit of expert 5 is plus or minus infinity, by the sign of the token's first element."""
    gate[5, 0] = np.inf


def cases(golden_input):
    """name -> (x, change of the gate or None)."""
    x = golden_input
    with_nan = x[:16].copy()
    with_nan[3, 7] = np.nan
    with_nan[9] = np.nan
    return {
        "no tokens": (x[:0], None),
        "one token": (x[:1], None),
        "fewer tokens than ranks": (x[:3], None),
        "tokens not divisible": (x[:13], None),
        "one row for all": (np.repeat(x[5:6], 24, axis=0), None),
        "ties in threes": (x[:24], ties),
        "all scores equal": (x[:24], all_ties),
        "tokens with NaN": (with_nan, None),
        "infinite logits": (x[:24], infinite),
    }


def write_checkpoint(source, folder, family, layer, change):
    """A copy of a golden checkpoint with another router; biases that would break ties become 0."""
    if change is None:
        return source
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(source, "config.json"), folder)
    tensors = {name: tensor.copy() for name, tensor in safetensors.read(os.path.join(source, "model.safetensors")).items()
               if name.startswith(f"model.layers.{layer}.")}
    change(tensors[gate_name(family, layer)])
    for name, tensor in tensors.items():
        if name.endswith(("router.bias", "e_score_correction_bias")):
            tensor[:] = 0
    safetensors.write(os.path.join(folder, "model.safetensors"), tensors)
    return folder
