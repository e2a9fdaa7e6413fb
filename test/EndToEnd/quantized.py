"""quantized.py GOLDEN FOLDER: checkpoints in fp8 (128 x 128 blocks) and mxfp4 must give, bit for bit, what a checkpoint of the numbers that they
stand for gives, on one rank and on several."""
import json
import os
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "reference"))
import safetensors  # noqa: E402
from quantizers import FP8, MXFP4, fp8_checkpoints, mxfp4_checkpoints, write_checkpoint  # noqa: E402

RANDOM = np.random.default_rng(3)


def run(folder, layer, place, x, dtype):
    subprocess.run(["moe-import", folder, f"--layer={layer}", f"--dtype={dtype}", "-o", f"{folder}/layer.mlir"], check=True)
    subprocess.run(["moe-opt", f"{folder}/layer.mlir", f"--place={place}", "--compile-to=artifact", "-o", f"{folder}/layer.moe"],
                   check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["moe-run", f"{folder}/layer.moe", "--weights", folder, "--input", f"x=@{x}", "--output", f"y={folder}/y.safetensors"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(f"{folder}/y.safetensors", "rb") as file:
        return file.read()


def check(name, folder, config, tensors, layer, places):
    mxfp4 = config["model_type"] == "gpt_oss"
    quantized, plain, stored = (mxfp4_checkpoints if mxfp4 else fp8_checkpoints)(tensors)
    write_checkpoint(f"{folder}/{name}-quantized", {**config, "quantization_config": MXFP4 if mxfp4 else FP8}, quantized, stored)
    write_checkpoint(f"{folder}/{name}-plain", config, plain, {})
    x = f"{folder}/{name}.npy"
    np.save(x, RANDOM.standard_normal((13, config["hidden_size"])).astype(np.float32))
    for place in places:
        for dtype in ("f32", "bf16"):
            results = [run(f"{folder}/{name}-{kind}", layer, place, x, dtype) for kind in ("quantized", "plain")]
            if results[0] != results[1] or not np.any(np.frombuffer(results[0][-64:], np.uint8)):
                sys.exit(f"quantized.py: {name} in {dtype} with {place} differs from the numbers that its weights stand for")
    print(f"{name} holds")


def golden_checkpoint(golden, family):
    with open(f"{golden}/{family}/config.json") as file:
        config = json.load(file)
    return config, safetensors.read(f"{golden}/{family}/model.safetensors")


def wide_checkpoint(golden):
    """Several blocks in each direction, the last ones partial in H."""
    config, _ = golden_checkpoint(golden, "qwen3_moe")
    config.update(hidden_size=320, moe_intermediate_size=256, num_hidden_layers=1)
    experts = config["num_local_experts"]

    def random(*shape):
        return (RANDOM.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    tensors = {"model.layers.0.mlp.gate.weight": random(experts, 320)}
    for e in range(experts):
        block = f"model.layers.0.mlp.experts.{e}."
        tensors[block + "gate_proj.weight"] = random(256, 320)
        tensors[block + "up_proj.weight"] = random(256, 320)
        tensors[block + "down_proj.weight"] = random(320, 256)
    return config, tensors


def main():
    golden, folder = sys.argv[1:]
    places = ("ranks=1", "ranks=8 ep=8", "ranks=4 ep=4 dispatcher=all_gather")
    check("qwen3_moe", folder, *golden_checkpoint(golden, "qwen3_moe"), 0, places)
    check("deepseek_v3", folder, *golden_checkpoint(golden, "deepseek_v3"), 1, places)
    check("gpt_oss", folder, *golden_checkpoint(golden, "gpt_oss"), 0, (*places, "ranks=4 ep=2 etp=2"))
    check("wide", folder, *wide_checkpoint(golden), 0, ("ranks=1", "ranks=4 ep=2 etp=2"))


main()
