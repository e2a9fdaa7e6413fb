"""Checkpoints in fp8 (128 x 128 blocks) and mxfp4 made of plain ones, and the numbers that they stand for."""
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "reference"))
import safetensors  # noqa: E402

FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]}


def e4m3_values():
    """The number of each code: four bits of exponent with bias 7, three of fraction; the last code of each sign is NaN."""
    codes = np.arange(256)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    value = np.where(exponent == 0, fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7.0))
    value = np.where(codes & 127 == 127, np.nan, value)
    return np.where(codes & 128, -value, value).astype(np.float32)


E4M3 = e4m3_values()
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def nearest(values, table):
    """Codes of the nearest numbers of a table; NaN is none."""
    distance = np.abs(values[..., None] - np.nan_to_num(table, nan=np.inf))
    return np.argmin(distance, axis=-1).astype(np.uint8)


def to_fp8(weight):
    """(codes, scales, the numbers that they stand for) of a matrix."""
    blocks = [-(-size // 128) for size in weight.shape]
    padded = np.zeros([128 * n for n in blocks], np.float32)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    scales = np.abs(padded.reshape(blocks[0], 128, blocks[1], 128)).max(axis=(1, 3)) / 448 + np.float32(1e-12)
    scales = scales.astype(np.float32)
    wide = np.repeat(np.repeat(scales, 128, 0), 128, 1)[: weight.shape[0], : weight.shape[1]]
    codes = np.stack([nearest(row, E4M3) for row in weight / wide])
    return codes, scales, E4M3[codes] * wide


def to_mxfp4(weight):
    """(bytes, exponents, numbers) along the last dimension."""
    grouped = weight.reshape(*weight.shape[:-1], -1, 32)
    exponent = np.floor(np.log2(np.abs(grouped).max(-1) + 1e-30)) - 2
    scale = np.exp2(exponent).astype(np.float32)[..., None]
    codes = nearest(grouped / scale, E2M1)
    packed = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed, (exponent + 127).astype(np.uint8), (E2M1[codes] * scale).reshape(weight.shape)


def is_expert(name):
    return "experts" in name and name.endswith("_proj.weight")


def fp8_checkpoints(tensors):
    """A checkpoint in fp8 and one of the numbers that it stands for."""
    quantized, plain, stored = {}, {}, {}
    for name, value in tensors.items():
        if not is_expert(name):
            quantized[name] = plain[name] = value
            continue
        quantized[name], quantized[name + "_scale_inv"], plain[name] = to_fp8(value)
        stored[name] = "F8_E4M3"
    return quantized, plain, stored


def mxfp4_checkpoints(tensors):
    quantized, plain = {}, {}
    for name, value in tensors.items():
        if not name.endswith("gate_up_proj") and not name.endswith("down_proj"):
            quantized[name] = plain[name] = value
            continue
        # Plain tensors are input-major, blocks run along the input.
        blocks, scales, numbers = to_mxfp4(np.ascontiguousarray(value.transpose(0, 2, 1)))
        quantized[name + "_blocks"], quantized[name + "_scales"] = blocks, scales
        plain[name] = np.ascontiguousarray(numbers.transpose(0, 2, 1))
    return quantized, plain, {}


def write_checkpoint(folder, config, tensors, stored):
    os.makedirs(folder)
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file)
    safetensors.write(f"{folder}/model.safetensors", tensors, stored)
