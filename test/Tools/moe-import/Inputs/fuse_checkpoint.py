"""fuse_checkpoint.py GOLDEN FOLDER: mixtral as version 5 of transformers holds it in memory: experts stacked, gate rows before up rows."""
import os
import re
import shutil
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "reference"))
import safetensors

golden, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
shutil.copy(os.path.join(golden, "config.json"), folder)
tensors = safetensors.read(os.path.join(golden, "model.safetensors"))
fused = {name: tensor for name, tensor in tensors.items() if "block_sparse_moe" not in name}
for gate in [name for name in tensors if name.endswith("block_sparse_moe.gate.weight")]:
    block = gate.removesuffix("gate.weight")
    mlp = re.sub("block_sparse_moe", "mlp", block)
    experts = range(len(tensors[gate]))
    fused[mlp + "gate.weight"] = tensors[gate]
    fused[mlp + "experts.gate_up_proj"] = np.stack(
        [np.concatenate([tensors[f"{block}experts.{e}.{part}.weight"] for part in ("w1", "w3")]) for e in experts])
    fused[mlp + "experts.down_proj"] = np.stack([tensors[f"{block}experts.{e}.w2.weight"] for e in experts])
safetensors.write(os.path.join(folder, "model.safetensors"), fused)
