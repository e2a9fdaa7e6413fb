"""bf16.py GOLDEN FOLDER: every golden family in bf16 without its router, on one rank and on eight, against transformers' f32 output."""

import subprocess
import sys

golden, folder = sys.argv[1:]
FIRST_LAYER = {"mixtral": 0, "qwen3_moe": 0, "qwen2_moe": 0, "olmoe": 0, "deepseek_v3": 1, "gpt_oss": 0}

for family, layer in FIRST_LAYER.items():
    values = f"@{golden}/{family}/golden.safetensors:layers.{layer}"
    subprocess.run(["moe-import", f"{golden}/{family}", f"--layer={layer}", "--no-router", "--dtype=bf16", "-o", f"{folder}/layer.mlir"],
                   check=True)
    for place in ("ranks=1", "ranks=8 ep=4 etp=2", "ranks=8 ep=2 etp=4 dispatcher=all_gather"):
        subprocess.run(["moe-opt", f"{folder}/layer.mlir", f"--place={place}", "--compile-to=artifact", "-o", f"{folder}/layer.moe"],
                       check=True, stderr=subprocess.DEVNULL)
        run = subprocess.run(["moe-run", f"{folder}/layer.moe", "--weights", f"{golden}/{family}",
                              "--input", f"x={values}.input", "--input", f"expert_ids={values}.expert_ids",
                              "--input", f"expert_weights={values}.expert_weights", "--expect", f"y={values}.output", "--rtol", "2e-2"])
        if run.returncode:
            sys.exit(f"bf16.py: {family} with {place} fails")
